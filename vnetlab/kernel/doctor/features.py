"""Features of the kernel, each tried in scratch namespaces through the code that makes labs (detect.py)."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.errors import Absent, KernelError
from vnetlab.health import Area, Check, State
from vnetlab.kernel import detect, messages
from vnetlab.kernel.doctor import settings
from vnetlab.kernel.enclosure import RefusedError
from vnetlab.kernel.holder import absent_namespace
from vnetlab.kernel.netlink import Netlink
from vnetlab.state import NftChain, NftRule, NftTable, Sysctl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnetlab.kernel.spaces import Spaces

PRELOAD = ("vnetlab.kernel.doctor.features", *detect.PRELOAD)
_NOTHING = detect.Needs(False, False, False, False, (), ())
_MADE = "made in a scratch namespace"
_NO_SUCH_KIND = "Operation not supported"
_LIBRARY_FIRST = "install the library first"


class Try(Struct, frozen=True):
    """A line of the table: what is tried, and what its state is where the kernel refuses."""

    area: Area
    name: str
    needs: detect.Needs
    otherwise: State = State.MISSING
    told: str = _MADE


def _nft(family: str, *chains: tuple[str, str]) -> detect.Needs:
    table = NftTable(
        family,
        "doctor",
        tuple(
            NftChain(f"c{number}", f"type {hook};", (NftRule(rule, "tried"),) if rule else ())
            for number, (hook, rule) in enumerate(chains)
        ),
    )
    devices = ("tried",) if family == "netdev" else ()
    return detect.Needs(False, False, False, False, (), (detect.Ruleset((table,), devices),))


_LOADED = "loaded in a scratch namespace"
TRIES = (
    Try(Area.KERNEL, "bridges", detect.Needs(True, False, False, False, (), ())),
    Try(Area.KERNEL, "veth pairs", detect.Needs(False, True, False, False, (), ())),
    Try(Area.KERNEL, "isolated bridge ports", detect.Needs(True, True, True, False, (), ())),
    Try(Area.KERNEL, "tap devices", detect.Needs(False, False, False, True, (), ()), State.ABSENT),
    Try(
        Area.KERNEL,
        "nftables filters",
        _nft("inet", ("filter hook forward priority filter", "reject with icmpx admin-prohibited")),
        told=_LOADED,
    ),
    Try(
        Area.KERNEL,
        "connection tracking",
        _nft("inet", ("filter hook forward priority filter", "ct state established,related accept")),
        told=_LOADED,
    ),
    Try(
        Area.KERNEL,
        "address translation",
        _nft(
            "inet",
            ("nat hook postrouting priority srcnat", "meta nfproto ipv4 masquerade"),
            ("nat hook postrouting priority srcnat", "meta nfproto ipv6 masquerade"),
            ("nat hook prerouting priority dstnat", "dnat ip to 192.0.2.1"),
        ),
        told=_LOADED,
    ),
    Try(
        Area.KERNEL,
        "walls around a device",
        _nft(
            "netdev",
            ('filter hook ingress device "tried" priority 0', ""),
            ('filter hook egress device "tried" priority 0', ""),
        ),
        told=_LOADED,
    ),
    Try(
        Area.KERNEL,
        "nftables on bridges",
        _nft("bridge", ("filter hook forward priority filter", "ether type arp accept")),
        told=_LOADED,
    ),
    Try(
        Area.KERNEL,
        "bridge name in rules",
        _nft("bridge", ("filter hook forward priority filter", 'meta ibrname "tried" accept')),
        State.ABSENT,
        _LOADED,
    ),
)
"""Each part of the kernel that some mode is made of, then those that only certain uses need."""

KINDS = (
    ("dummy", "dummy", "addresses that belong to no link"),
    ("vlan", "8021q", "802.1Q tags"),
    ("vrf", "vrf", "several routing tables for several tenants"),
    ("vxlan", "vxlan", "Ethernet over UDP"),
    ("macvlan", "macvlan", "several MAC addresses on one device"),
)
"""Kinds of devices that no mode needs and people miss when they work inside of a lab."""


class Wanted(Struct, frozen=True):
    """What is to be tried: the modes' needs, and settings that every namespace of a lab gets."""

    modes: tuple[Try, ...]
    sysctls: tuple[Sysctl, ...]


def examine(context: Spaces | RefusedError, wanted: Wanted) -> tuple[Check, ...]:
    """Try everything, in an agent without a lab."""
    tries = (*wanted.modes, *TRIES)
    if isinstance(context, RefusedError):
        absent = absent_namespace(context.step, context.number)
        untried = f"not tried: {absent.evidence}"
        return (
            _from_absent(Area.PRIVILEGES, "namespaces", State.MISSING, absent),
            *(Check(t.area, t.name, State.UNKNOWN, untried, absent.remedy) for t in tries),
        )
    made = "user, mount, PID and network namespaces as a lab has them: made"
    return (
        Check(Area.PRIVILEGES, "namespaces", State.OK, made),
        *(_tried(context, each) for each in tries),
        *_scratch(context, _packet_sockets),
        *_scratch(context, lambda: settings.inherited(wanted.sysctls)),
        *_scratch(context, _device_kinds),
    )


def _tried(spaces: Spaces, wanted: Try) -> Check:
    try:
        absents = detect.attempt(spaces, wanted.needs)
    except ImportError as error:
        return _untried(wanted, error)
    if not absents:
        told = f"/dev/net/tun opened, and {_MADE}" if wanted.needs.tap else wanted.told
        return Check(wanted.area, wanted.name, State.OK, told)
    first, *others = absents
    more = f" (and {len(others)} more)" if others else ""
    evidence = f"{first.feature}: {first.evidence}{more}"
    return Check(wanted.area, wanted.name, wanted.otherwise, evidence, first.remedy)


def _untried(wanted: Try, error: ImportError) -> Check:
    return Check(wanted.area, wanted.name, State.UNKNOWN, f"not tried: {error}", _LIBRARY_FIRST)


def _from_absent(area: Area, name: str, state: State, absent: Absent) -> Check:
    return Check(area, name, state, absent.evidence, absent.remedy)


def _scratch(spaces: Spaces, look: Callable[[], Iterator[Check]]) -> tuple[Check, ...]:
    """Look at something inside of a namespace that is new."""
    name = f"look-{len(spaces.names())}"
    spaces.create(name)
    with spaces.inside(name):
        return tuple(look())


def _packet_sockets() -> Iterator[Check]:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    except OSError as error:
        remedy = "`modprobe af_packet`, or a container that may use raw sockets (CAP_NET_RAW)"
        yield Check(Area.KERNEL, "packet sockets", State.MISSING, error.strerror or str(error), remedy)
    else:
        yield Check(Area.KERNEL, "packet sockets", State.OK, "opened in a scratch namespace")


def _device_kinds() -> Iterator[Check]:
    for kind, module, purpose in KINDS:
        yield _device_kind(kind, module, purpose)


def _device_kind(kind: str, module: str, purpose: str) -> Check:
    name = f"{kind} devices"
    try:
        with Netlink() as netlink:
            netlink.add(messages.create_bare(kind, "tried"), _Named(name))
            netlink.flush()
    except ImportError as error:
        return Check(Area.KERNEL, name, State.UNKNOWN, f"not tried: {error}", _LIBRARY_FIRST)
    except KernelError as error:
        answer = str(error).removeprefix(f"{name}: ")
        if _NO_SUCH_KIND in answer:
            remedy = f"`modprobe {module}`, or a kernel that has it; for {purpose}, which no mode needs"
            return Check(Area.KERNEL, name, State.ABSENT, answer, remedy)
        # Some kinds want a parent device or an option, and the kernel asks for it only where it has them.
        return Check(Area.KERNEL, name, State.OK, f"known to the kernel, which asks for options: {answer}")
    return Check(Area.KERNEL, name, State.OK, _MADE)


class _Named(Struct, frozen=True):
    name: str

    def describe(self) -> str:
        return self.name
