"""What has to be done to get a State: ordered steps, as values. Nothing here acts.

The order is what makes it safe: rules are loaded before any device of their namespace is up, settings
of a device are written before it is up, addresses come when every device of the lab is up, and the
routes of a namespace after its addresses. So no packet ever passes rules that are only half there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vnetlab.state import Bridge, Tap, Veth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.state import (
        Address,
        Link,
        Namespace,
        Neighbour,
        NftTable,
        State,
        StaticRoute,
        Sysctl,
    )


@dataclass(frozen=True, slots=True)
class Step(ABC):
    """One thing to do in one namespace."""

    namespace: str

    def describe(self) -> str:
        """Return the step in one line."""
        return f"{self.namespace}: {self._what()}"

    @abstractmethod
    def _what(self) -> str: ...


@dataclass(frozen=True, slots=True)
class CreateNamespace(Step):
    """Make an empty network namespace."""

    kind: str

    def _what(self) -> str:
        return f"create network namespace of {self.kind}"


@dataclass(frozen=True, slots=True)
class SetSysctls(Step):
    """Write settings, in this order: those of the namespace, or those of its devices."""

    sysctls: tuple[Sysctl, ...]

    def _what(self) -> str:
        settings = ", ".join(f"{sysctl.key}={sysctl.value}" for sysctl in self.sysctls)
        return f"set {settings}"


@dataclass(frozen=True, slots=True)
class LoadTable(Step):
    """Load one nftables table as a transaction."""

    table: NftTable

    def _what(self) -> str:
        rules = sum(len(chain.rules) for chain in self.table.chains)
        return f"load nftables table {self.table.family} {self.table.name}, {rules} rules"


@dataclass(frozen=True, slots=True)
class CreateBridge(Step):
    """Make a bridge, down."""

    link: Bridge

    def _what(self) -> str:
        return f"create bridge {_named(self.link)}"


@dataclass(frozen=True, slots=True)
class CreateTap(Step):
    """Make a persistent tap device, down."""

    link: Tap

    def _what(self) -> str:
        return f"create tap {_named(self.link)}{_port(self.link)}"


@dataclass(frozen=True, slots=True)
class CreateVeth(Step):
    """Make a veth pair, both ends down; the near end joins its bridge."""

    link: Veth
    peer: Veth

    def _what(self) -> str:
        far = f"{self.link.peer_namespace}: {_named(self.peer)}"
        return f"create veth {_named(self.link)}{_port(self.link)}, other end in {far}"


@dataclass(frozen=True, slots=True)
class NameLink(Step):
    """Give a device its readable name."""

    device: str
    altname: str

    def _what(self) -> str:
        return f"name {self.device} {self.altname} as well"


@dataclass(frozen=True, slots=True)
class AttachPort(Step):
    """Make a device a port of a bridge."""

    device: str
    bridge: str

    def _what(self) -> str:
        return f"attach {self.device} to bridge {self.bridge}"


@dataclass(frozen=True, slots=True)
class IsolatePort(Step):
    """Stop frames between a bridge port and the other isolated ones."""

    device: str

    def _what(self) -> str:
        return f"isolate port {self.device}"


@dataclass(frozen=True, slots=True)
class LinkUp(Step):
    """Set a device up."""

    device: str

    def _what(self) -> str:
        return f"set {self.device} up"


@dataclass(frozen=True, slots=True)
class AddAddress(Step):
    """Add an address, without duplicate address detection."""

    address: Address

    def _what(self) -> str:
        return f"add address {self.address.address} to {self.address.device}"


@dataclass(frozen=True, slots=True)
class AddNeighbour(Step):
    """Add a permanent neighbour entry."""

    neighbour: Neighbour

    def _what(self) -> str:
        entry = self.neighbour
        return f"add neighbour {entry.address} at {entry.mac} on {entry.device}"


@dataclass(frozen=True, slots=True)
class AddRoute(Step):
    """Add a static route."""

    route: StaticRoute

    def _what(self) -> str:
        return f"add route to {self.route.prefix} via {self.route.via} on {self.route.device}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order in which they are to be done."""

    steps: tuple[Step, ...]


def build(desired: State) -> Plan:
    """Return the steps that make a whole State out of nothing.

    Raises ValueError for a veth whose other end the State does not have.
    """
    namespaces = desired.namespaces
    creations = tuple(_creations(desired))
    joined = {(s.namespace, s.link.name) for s in creations if isinstance(s, CreateVeth)}
    steps: list[Step] = [CreateNamespace(each.name, each.kind) for each in namespaces]
    for each in namespaces:
        steps += _settings(each, of_devices=False)
        steps += (LoadTable(each.name, t) for t in each.tables if t.family != "netdev")
    steps += creations
    for each in namespaces:
        steps += _completions(each, joined)
        # Tables of the netdev family hook into devices by name, so those have to exist.
        steps += (LoadTable(each.name, t) for t in each.tables if t.family == "netdev")
        steps += _settings(each, of_devices=True)
    for each in namespaces:
        steps += (LinkUp(each.name, device) for device in ("lo", *(link.name for link in each.links)))
    for each in namespaces:
        steps += (AddAddress(each.name, address) for address in each.addresses)
        steps += (AddNeighbour(each.name, neighbour) for neighbour in each.neighbours)
        steps += (AddRoute(each.name, route) for route in each.routes)
    return Plan(tuple(steps))


def _settings(namespace: Namespace, of_devices: bool) -> Iterator[Step]:
    devices = {link.name for link in namespace.links}
    last: dict[str, Sysctl] = {}
    # In the order of the State: writing `all` changes `default` too (forwarding, disable_ipv6). Of a
    # key that is given twice only the last value counts.
    for sysctl in namespace.sysctls:
        if _is_of_device(sysctl, devices) is of_devices:
            last.pop(sysctl.key, None)
            last[sysctl.key] = sysctl
    if last:
        yield SetSysctls(namespace.name, tuple(last.values()))


def _is_of_device(sysctl: Sysctl, devices: set[str]) -> bool:
    parts = sysctl.key.split("/")  # such as net/ipv4/conf/eth0/forwarding
    return len(parts) > 3 and parts[2] in ("conf", "neigh") and parts[3] in devices


def _creations(desired: State) -> Iterator[Step]:
    for each in desired.namespaces:
        yield from (CreateBridge(each.name, b) for b in each.links if isinstance(b, Bridge))
    for each in desired.namespaces:
        yield from (CreateTap(each.name, t) for t in each.links if isinstance(t, Tap))
    ends = {
        (each.name, link.name): link
        for each in desired.namespaces
        for link in each.links
        if isinstance(link, Veth)
    }
    for (namespace, name), near in ends.items():
        far = ends.get((near.peer_namespace, near.peer))
        if far is None or (far.peer_namespace, far.peer) != (namespace, name):
            raise ValueError(f"{namespace}: veth {name} has no other end {near.peer_namespace}: {near.peer}")
        if _creates(namespace, near, far):
            yield CreateVeth(namespace, near, far)


def _creates(namespace: str, near: Veth, far: Veth) -> bool:
    """Tell which of two ends makes the pair: the bridge port, as it joins its bridge in one go."""
    if bool(near.master) != bool(far.master):
        return bool(near.master)
    return (namespace, near.name) < (near.peer_namespace, near.peer)


def _completions(namespace: Namespace, joined: set[tuple[str, str]]) -> Iterator[Step]:
    for link in namespace.links:
        if link.altname:
            yield NameLink(namespace.name, link.name, link.altname)
        if link.master and isinstance(link, Veth) and (namespace.name, link.name) not in joined:
            yield AttachPort(namespace.name, link.name, link.master)
        if link.isolated:
            yield IsolatePort(namespace.name, link.name)


def _named(link: Link) -> str:
    return f"{link.name} ({link.altname})" if link.altname else link.name


def _port(link: Link) -> str:
    return f" on bridge {link.master}" if link.master else ""
