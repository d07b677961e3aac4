"""Kernel objects and State: what a lab is made of, as values.

Desired (compiled) or present (read back), one type serves both, and equality is meaning: tuples are in a
canonical order, nothing holds an index or a handle. Everything lives in a namespace; nothing here acts.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import force_setattr

from vnetlab import switching
from vnetlab.policy import NO_POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vnetlab.policy import Policy
    from vnetlab.topology.model import IPAddress, IPInterface, IPNetwork


class Link(Struct, frozen=True, kw_only=True):
    """A network device; ``lo`` is left out: every namespace has it, up."""

    name: str
    """Kernel name, at most 15 bytes."""
    altname: str = ""
    """Readable name (`ip link property add altname`), at most 127 bytes."""
    mac: str = ""
    mtu: int = 1500
    master: str = ""
    """Name of the bridge that it is a port of."""
    isolated: bool = False
    """Bridge port flag: no frames from or to another isolated port (`bridge link set isolated on`)."""
    up: bool = True
    """Set up, and as a bridge port forwarding; a desired device always is."""
    options: tuple[switching.Option, ...] = ()
    """Of a bridge, or of a port, what is not as usual; a desired device has none."""

    @property
    def usual(self) -> Mapping[str, int]:
        """What options it could have, with their usual values."""
        return switching.PORT


class Bridge(Link, frozen=True, kw_only=True):
    """A Linux bridge; as usual without STP, forward delay, multicast snooping and netfilter calls."""

    @property
    def usual(self) -> Mapping[str, int]:
        """What options it could have, with their usual values."""
        return switching.BRIDGE


class Veth(Link, frozen=True, kw_only=True):
    """One end of a veth pair; the other end names this one."""

    peer_namespace: str
    peer: str


class Tap(Link, frozen=True, kw_only=True):
    """A persistent tap device (`ip tuntap add mode tap`)."""

    owner: str = ""
    """User who may attach to it beside root, by name or number; what is read back does not say."""
    group: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tap) and self._seen() == other._seen()

    def __hash__(self) -> int:
        return hash(self._seen())

    def _seen(self) -> tuple[object, ...]:
        """Return what is read back of it."""
        return tuple(getattr(self, name) for name in Link.__struct_fields__)


class Address(Struct, frozen=True):
    """An address of a device, usable at once (no duplicate address detection)."""

    device: str
    address: IPInterface

    def __reduce__(self) -> tuple[Any, ...]:
        own = self.address
        return _address, (self.device, own.version, int(own), own.network.prefixlen)


class Neighbour(Struct, frozen=True):
    """A permanent neighbour entry."""

    device: str
    address: IPAddress
    mac: str

    def __str__(self) -> str:
        return f"{self.address} at {self.mac} dev {self.device}"


class StaticRoute(Struct, frozen=True):
    """A unicast route of the main table."""

    prefix: IPNetwork
    via: IPAddress
    device: str
    metric: int = 0
    """The lower is taken; 0 is what a route gets that names none: 0 in IPv4, in IPv6 1024 (ip-route(8))."""

    def __reduce__(self) -> tuple[Any, ...]:
        to = self.prefix
        number = int(to.network_address)
        return _route, (to.version, number, to.prefixlen, self.via, self.device, self.metric)

    @property
    def priority(self) -> int:
        """The metric as the kernel has it."""
        return self.metric or (_IP6_RT_PRIO_USER if self.prefix.version == 6 else 0)

    def __str__(self) -> str:
        metric = f" metric {self.metric}" if self.metric else ""
        return f"{self.prefix} via {self.via} dev {self.device}{metric}"


_IP6_RT_PRIO_USER = 1024  # include/uapi/linux/ipv6_route.h


class Sysctl(Struct, frozen=True):
    """A setting below /proc/sys, its key with slashes: ``net/ipv4/conf/eth0/forwarding``."""

    key: str
    value: str


def _address(device: str, version: int, number: int, length: int) -> Address:
    """Return an address from numbers: as text, as the library would have it, it is parsed twice as long."""
    kind = IPv4Interface if version == 4 else IPv6Interface
    return Address(device, kind((number, length)))


def _route(version: int, network: int, length: int, via: IPAddress, device: str, metric: int) -> StaticRoute:
    kind = IPv4Network if version == 4 else IPv6Network
    return StaticRoute(kind((network, length)), via, device, metric)


COMMENT_BYTES = 128
"""NFTNL_UDATA_COMMENT_MAXLEN of libnftnl: nft refuses longer comments."""
_DIGEST = 12


class NftRule(Struct, frozen=True):
    """A rule as nft text, with the comment that the ruleset shows."""

    text: str
    """Without counter and comment, as `nft add rule` takes it; names may be ``$defined``."""
    comment: str
    """What nft would refuse for its length is cut, with a hash of the whole."""

    def __post_init__(self) -> None:
        if len(self.comment.encode()) > COMMENT_BYTES:
            digest = hashlib.sha256(self.comment.encode()).hexdigest()[:_DIGEST]
            short = self.comment.encode()[: COMMENT_BYTES - _DIGEST - 1].decode(errors="ignore")
            force_setattr(self, "comment", f"{short}-{digest}")

    def render(self) -> str:
        """Return the rule with its counter, which every rule carries, before its verdict."""
        return f'{_with_counter(self.text)} comment "{self.comment}"'


_VERDICTS = (
    "accept",
    "drop",
    "reject",
    "masquerade",
    "dnat",
    "snat",
    "jump",
    "goto",
    "return",
    "notrack",
    "fwd",
)


def _with_counter(text: str) -> str:
    words = text.split(" ")
    at = max((i for i, word in enumerate(words) if word in _VERDICTS), default=len(words))
    return " ".join([*words[:at], "counter", *words[at:]])


class NftChain(Struct, frozen=True):
    """A chain; ``hook`` is empty for one that is only jumped to."""

    name: str
    hook: str
    """Such as ``type filter hook forward priority filter; policy drop;``."""
    rules: tuple[NftRule, ...]
    about: str = ""
    """Why the chain is there: a comment line above it."""

    def render(self) -> str:
        """Return the chain as nft text."""
        lines = [f"  # {line}" for line in self.about.splitlines()]
        lines.append(f"  chain {self.name} {{")
        if self.hook:
            lines.append(f"    {self.hook}")
        lines += [f"    {rule.render()}" for rule in self.rules]
        lines.append("  }")
        return "\n".join(lines)


class NftSet(Struct, frozen=True):
    """A named set or map of a table, with all that is in it."""

    name: str
    kind: str
    """``set`` or ``map``."""
    type: str
    """As nft writes it: ``ipv4_addr . inet_service``, ``inet_service : verdict``, ``typeof ip saddr``."""
    elements: tuple[str, ...]
    flags: str = ""
    """Such as ``interval``."""

    def render(self) -> str:
        """Return the set as nft text."""
        named = self.type if self.type.startswith("typeof ") else f"type {self.type}"
        lines = [f"  {self.kind} {self.name} {{", f"    {named}"]
        lines += [f"    flags {self.flags}"] if self.flags else []
        lines += [f"    elements = {{ {', '.join(self.elements)} }}"] if self.elements else []
        return "\n".join([*lines, "  }"])


class NftTable(Struct, frozen=True):
    """An nftables table. ``defines`` give devices their readable names in the text."""

    family: str
    name: str
    chains: tuple[NftChain, ...]
    defines: tuple[tuple[str, str], ...] = ()
    sets: tuple[NftSet, ...] = ()

    def render(self) -> str:
        """Return text that `nft -f` takes: the table as one transaction."""
        lines = [f"define {name} = {value}" for name, value in self.defines]
        lines.append(f"table {self.family} {self.name} {{")
        parts = [each.render() for each in self.sets] + [chain.render() for chain in self.chains]
        lines.append("\n\n".join(parts))
        lines.append("}")
        return "\n".join(lines) + "\n"


class Namespace(Struct, frozen=True):
    """A network namespace and all that is in it."""

    name: str
    """The node's name; a segment's is ``segment:NAME``, which no node can have."""
    kind: str
    """``host``, ``vm``, ``machine`` or ``segment``."""
    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    routes: tuple[StaticRoute, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    tables: tuple[NftTable, ...] = ()
    policy: Policy = NO_POLICY
    beyond: tuple[str, ...] = ()
    """What was read back and has no place in a State, such as a dormant table; a desired one has none."""

    @property
    def unplanned(self) -> tuple[str, ...]:
        """What no desired State has, in words: policy routing, and what is beyond any State."""
        return (*self.policy.said(), *self.beyond)

    def link(self, name: str) -> Link:
        """Return the device of that name; raises KeyError."""
        for link in self.links:
            if link.name == name:
                return link
        raise KeyError(name)


class State(Struct, frozen=True):
    """Namespaces in the order they were declared: segments, hosts, machines, VMs."""

    namespaces: tuple[Namespace, ...] = ()

    def namespace(self, name: str) -> Namespace:
        """Return the namespace of that name; raises KeyError."""
        for namespace in self.namespaces:
            if namespace.name == name:
                return namespace
        raise KeyError(name)
