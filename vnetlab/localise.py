"""From a host in a namespace of its own to the same host on this very machine. Pure.

What was compiled stays as it is but for four things. Devices and tables get names that are the lab's own, and
altnames that begin with its mark. Nothing is written that is not a matter of the lab's own devices, but for
the forwarding that a network cannot do without. The forward chain denies what has to do with the lab's
networks, and the paths that turning that forwarding on would open; all else on the machine is not its
business. And what the machine answers to outsiders without a route stays the machine's own affair.

Rejected: a drop policy as in a namespace, since it would cut whatever else the machine forwards (Docker,
libvirt); and a mark by the devices' group, which other tools use too.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vnetlab import names
from vnetlab.modes.base import devices
from vnetlab.ruleset import OUTSIDERS
from vnetlab.settings import NODE
from vnetlab.state import Bridge, Namespace, NftChain, NftRule, NftTable, State, Sysctl, Veth
from vnetlab.topology.facts import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vnetlab.state import Link
    from vnetlab.topology.facts import Facts
    from vnetlab.topology.model import Host, Nic, Topology

MARK = "vnetlab"
"""How the altname of every device begins that a lab has on this very machine: ``vnetlab.LAB.``"""
_SIX = Sysctl("net/ipv6/conf/all/forwarding", "1")
_NETWORKS = f"{names.ON_MACHINE}b*"
_DEFAULT = re.compile(r"net/(ipv[46])/conf/default/(\w+)")
_ADDRESSED = re.compile(r"net/ipv[46]/conf/([^/]+)/\w+")


class OnMachine(Struct, frozen=True):
    """A lab that is on this very machine."""

    lab: str
    host: str
    """Name of the host that is this machine."""
    moves: Mapping[str, str]
    """NICs by the bridge that each is a port of."""
    facts: str
    """What the machine is without the lab, as JSON."""


def localise(topology: Topology, state: State, lab: str) -> State:
    """Return the State of a lab whose host is this very machine; segments are outside of it."""
    host = topology.local
    if host is None:
        return state
    here = state.namespace(host.name)
    known = {link.name: names.on_machine(lab, link.name) for link in here.links if _is_own(link, host)}
    rename = _renaming(known)
    spaces = tuple(space for space in state.namespaces if space.kind != "segment" and space is not here)
    return State(
        (
            _machine(topology, host, here, lab, known),
            *(replace(space, links=tuple(_far(link, rename) for link in space.links)) for space in spaces),
        )
    )


def place(topology: Topology, lab: str) -> OnMachine | None:
    """Return where a lab is on this very machine; None for one that is not."""
    host = topology.local
    if host is None:
        return None
    moves = {names.on_machine(lab, device): nic.name for device, nic in uplinks(host).items()}
    assert topology.facts is not None
    return OnMachine(lab, host.name, moves, json.dumps(encoded(topology.facts)))


def uplinks(host: Host) -> dict[str, Nic]:
    """Return the bridges that take NICs of a host, by the names that compile gives them."""
    pairs = {names.host_device(host, nic): nic for nic in host.nics.values()}
    return {device: nic for device, nic in pairs.items() if device != nic.name}


def _is_own(link: Link, host: Host) -> bool:
    return link.name not in host.nics


def _renaming(known: Mapping[str, str]) -> Callable[[str], str]:
    """Return what puts the new names in the place of the old in any text."""
    if not known:
        return str
    pattern = re.compile("|".join(map(re.escape, known)))
    return lambda text: pattern.sub(lambda found: known[found.group()], text)


def _far(link: Link, rename: Callable[[str], str]) -> Link:
    return replace(link, peer=rename(link.peer)) if isinstance(link, Veth) else link


def _machine(
    topology: Topology, host: Host, here: Namespace, lab: str, known: Mapping[str, str]
) -> Namespace:
    rename = _renaming(known)
    own = tuple(link for link in here.links if link.name in known)
    links = tuple(
        replace(
            link,
            name=known[link.name],
            altname=names.altname(MARK, lab, link.altname or link.name),
            master=known.get(link.master, ""),
        )
        for link in own
    )
    switches = {known[device]: nic.name for device, nic in uplinks(host).items()}
    facts = topology.facts
    sysctls = tuple(replace(s, key=rename(s.key)) for s in here.sysctls)
    tables = tuple(_table(table, rename, names.table_on_machine(lab)) for table in here.tables)
    bridges = tuple(link for link in links if isinstance(link, Bridge) and link.name not in switches)
    doors = {known.get(device, device): nic for device, nic in _doors(host)}
    opened = tuple(_opened(sysctls, doors, facts))
    return replace(
        here,
        links=links,
        addresses=tuple(
            replace(a, device=known[a.device])
            for a in here.addresses
            if a.device in known and known[a.device] not in switches
        ),
        routes=(),
        sysctls=tuple(_settings(sysctls, links, switches, facts)),
        tables=(
            *(_with_own_affairs(table, bridges, opened) for table in tables),
            *_arp_table(host, known, lab),
        ),
    )


def _arp_table(host: Host, known: Mapping[str, str], lab: str) -> Iterator[NftTable]:
    """Yield the table that keeps the host's private addresses from askers elsewhere.

    Linux answers for any of its addresses on any device; the setting against that is the NIC's, and what else
    the machine answers there is its own affair.
    """
    rules = tuple(
        NftRule(
            f'iifname != "{known[names.network_bridge(host, network)]}" arp daddr ip {subnet} drop',
            f"{network.name}: its host address is not for others",
        )
        for network in host.networks.values()
        if network.addresses
        for subnet in network.subnets
        if subnet.version == 4
    )
    if rules:
        chain = NftChain("input", "type filter hook input priority filter; policy accept;", rules)
        yield NftTable("arp", names.table_on_machine(lab), (chain,))


def _doors(host: Host) -> Iterator[tuple[str, Nic]]:
    yield from ((names.host_device(host, nic), nic) for nic in host.nics.values())


def _settings(
    sysctls: tuple[Sysctl, ...],
    links: tuple[Link, ...],
    switches: Mapping[str, str],
    facts: Facts | None,
) -> Iterator[Sysctl]:
    """Yield what is written: all that matters of the lab's own devices, and no more of the machine's.

    ``switches`` are the NICs by the bridge that takes the place of each.
    """
    own = {link.name for link in links}
    written = {s.key: s.value for s in sysctls if _device_of(s.key) in own}
    advertised = facts.advertised_to if facts else ()
    for bridge, nic in switches.items():
        if nic in advertised:
            yield Sysctl(f"net/ipv6/conf/{bridge}/accept_ra", "2" if _SIX in sysctls else "1")
    if _SIX in sysctls:
        # The kernel forgets the routers of whoever forwards, but for those of a device that says 2
        # (`rt6_purge_dflt_routers()` in net/ipv6/route.c).
        for device in advertised:
            yield Sysctl(f"net/ipv6/conf/{device}/accept_ra", "2")
        yield _SIX
    for link in links:
        if link.name in switches:
            continue  # it has the other settings of its NIC, whose place it takes
        forwards = written.get(f"net/ipv4/conf/{link.name}/forwarding", "0")
        for key, value in _of_device(link.name):
            six = "1" if forwards == "1" and _SIX in sysctls else "0"
            usual = six if key.endswith("/forwarding") and "ipv6" in key else value
            yield Sysctl(key, written.get(key, usual))
    others = {*own - switches.keys(), "all", "default", ""}
    yield from (s for s in sysctls if s.key.endswith("/forwarding") and _device_of(s.key) not in others)


def _of_device(device: str) -> Iterator[tuple[str, str]]:
    for sysctl in NODE:
        if found := _DEFAULT.fullmatch(sysctl.key):
            yield f"net/{found[1]}/conf/{device}/{found[2]}", sysctl.value


def _device_of(key: str) -> str:
    found = _ADDRESSED.fullmatch(key)
    return found[1] if found else ""


def _table(table: NftTable, rename: Callable[[str], str], name: str) -> NftTable:
    chains = tuple(
        NftChain(
            rename(chain.name),
            rename(chain.hook),
            tuple(NftRule(rename(r.text), r.comment) for r in chain.rules if r.comment != OUTSIDERS),
            chain.about,
        )
        for chain in table.chains
    )
    return replace(table, name=name, chains=tuple(chain for chain in chains if chain.rules))


def _with_own_affairs(table: NftTable, bridges: tuple[Bridge, ...], opened: tuple[NftRule, ...]) -> NftTable:
    """Return the table with a forward chain that denies what is the lab's to deny, and not all."""
    if table.family != "inet":
        return table
    own = devices(bridge.name for bridge in bridges)
    first = tuple(
        NftRule(
            f'iifname "{bridge.name}" oifname "{bridge.name}" ether daddr != {bridge.mac} accept',
            "between VMs of one network: frames, where the machine shows those to IP rules",
        )
        for bridge in bridges
    )
    last = (
        NftRule(f"iifname {own} drop", "of the lab's networks to anywhere else"),
        NftRule(f"oifname {own} drop", "from anywhere else to the lab's networks"),
        *opened,
    )
    chains = tuple(
        replace(
            chain,
            hook=chain.hook.replace("policy drop", "policy accept"),
            rules=first + chain.rules + last,
            about="What has to do with the lab's networks; the rest is not its business.",
        )
        if chain.name == "forward"
        else chain
        for chain in table.chains
    )
    return replace(table, chains=chains)


def _opened(sysctls: tuple[Sysctl, ...], doors: Mapping[str, Nic], facts: Facts | None) -> Iterator[NftRule]:
    """Yield rules against the paths that forwarding, turned on for the lab, would open by the way.

    Frames between ports of a bridge may pass here too (bridge netfilter) and are not meant: what is routed
    is addressed to the bridge's own MAC, or leaves by another device.
    """
    for device, nic in doors.items():
        before = facts.nic(nic.name) if facts else None
        if Sysctl(f"net/ipv4/conf/{device}/forwarding", "1") in sysctls and not (before and before.forwards):
            yield _closed(f'meta nfproto ipv4 iifname "{device}"{_routed(device, nic)}')
    if _SIX not in sysctls or (facts and facts.forwards_ipv6):
        return
    yield _closed('meta nfproto ipv6 meta iifkind != "bridge"')
    for device, nic in doors.items():
        if device.startswith(names.SWITCHES):
            yield _closed(f'meta nfproto ipv6 iifname "{device}"{_routed(device, nic)}')
    for each in facts.nics if facts else ():
        if each.kind == "bridge":
            yield _closed(f'meta nfproto ipv6 iifname "{each.name}" oifname != "{each.name}"')


def _routed(device: str, nic: Nic) -> str:
    return f" ether daddr {nic.mac}" if device.startswith(names.SWITCHES) else ""


def _closed(match: str) -> NftRule:
    return NftRule(
        f'{match} oifname != "{_NETWORKS}" drop', "the machine did not forward this before the lab"
    )
