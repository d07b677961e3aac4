"""The topology as a packet meets it: interfaces on broadcast domains, and who routes where.

This is the promises' view. It reads the topology only, never the State, and knows no Linux.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.topology.model import Family, Host, Machine, Vm, family_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vnetlab.modes.base import Properties
    from vnetlab.topology.model import (
        IPAddress,
        IPInterface,
        IPNetwork,
        Lan,
        Mode,
        Network,
        Topology,
    )

FIRST_SOURCE_PORT = 50000
SOURCE_PORTS = 15000


class Interface(Struct, frozen=True):
    """One node's place in one broadcast domain."""

    node: str
    nic: str
    """The NIC's name; ``network:NAME`` for a host's own side of its network NAME."""
    lan: Lan
    mac: str
    addresses: tuple[IPInterface, ...]
    mtu: int
    network: Network | None = None
    """The network that a VM is plugged into, or whose host side this is; None on segments."""
    port: bool = False
    """It is a VM's port on ``network``, rather than the host's side."""

    def address(self, family: Family) -> IPInterface | None:
        """Return the first address of the family."""
        return next((a for a in self.addresses if family_of(a) is family), None)

    def on_link(self, address: IPAddress) -> IPInterface | None:
        """Return the own address in whose prefix the given one lies."""
        return next((own for own in self.addresses if address in own.network), None)


class Hop(Struct, frozen=True):
    """One frame: from an interface to another one of the same domain."""

    by: Interface
    to: Interface


class World:
    """Lookup of interfaces and routes; built once for a topology."""

    def __init__(self, topology: Topology, properties: Mapping[Mode, Properties]) -> None:
        self.topology = topology
        self.properties = properties
        self._ways: dict[tuple[str, IPAddress], tuple[Interface, IPAddress] | None] = {}
        self._flows_of: dict[str, int] = {}

    @cached_property
    def interfaces(self) -> dict[str, tuple[Interface, ...]]:
        """The interfaces of every node, NICs first."""
        found: dict[str, list[Interface]] = {}
        for interface in self._all():
            found.setdefault(interface.node, []).append(interface)
        return {node: tuple(interfaces) for node, interfaces in found.items()}

    def _all(self) -> Iterator[Interface]:
        for host in self.topology.hosts.values():
            for nic in host.nics.values():
                yield Interface(host.name, nic.name, nic.lan, nic.mac, nic.addresses, nic.mtu)
            for network in host.networks.values():
                if network.lan.host:
                    yield Interface(
                        host.name,
                        f"network:{network.name}",
                        network.lan,
                        network.mac,
                        network.addresses,
                        network.mtu,
                        network,
                    )
        ends: tuple[Vm | Machine, ...] = (*self.topology.vms.values(), *self.topology.machines.values())
        for node in ends:
            plugs = self.topology.hosts[node.host].networks if isinstance(node, Vm) else {}
            for nic in node.nics:
                plug = plugs.get(nic.network)
                yield Interface(
                    node.name,
                    nic.name,
                    nic.lan,
                    nic.mac,
                    nic.addresses,
                    nic.mtu,
                    plug,
                    port=plug is not None,
                )

    @cached_property
    def on_lan(self) -> dict[Lan, tuple[Interface, ...]]:
        """The interfaces in every broadcast domain."""
        found: dict[Lan, list[Interface]] = {}
        for interfaces in self.interfaces.values():
            for interface in interfaces:
                found.setdefault(interface.lan, []).append(interface)
        return {lan: tuple(interfaces) for lan, interfaces in found.items()}

    @cached_property
    def _owners(self) -> dict[tuple[Lan, IPAddress], Interface]:
        return {
            (interface.lan, address.ip): interface
            for interfaces in self.interfaces.values()
            for interface in interfaces
            for address in interface.addresses
        }

    def owner(self, lan: Lan, address: IPAddress) -> Interface | None:
        """Return the interface in the domain that has the address."""
        return self._owners.get((lan, address))

    @cached_property
    def own_addresses(self) -> dict[str, frozenset[IPAddress]]:
        """All addresses of every node."""
        return {
            node: frozenset(a.ip for interface in interfaces for a in interface.addresses)
            for node, interfaces in self.interfaces.items()
        }

    @cached_property
    def taken(self) -> frozenset[IPAddress]:
        """Every address that some node has."""
        return frozenset().union(*self.own_addresses.values())

    @cached_property
    def prefixes(self) -> frozenset[IPNetwork]:
        """Every prefix that some node is on."""
        every = (a for found in self.interfaces.values() for i in found for a in i.addresses)
        return frozenset(address.network for address in every)

    @cached_property
    def group_addresses(self) -> frozenset[IPAddress]:
        """The directed broadcast or router anycast of every prefix that some node is on."""
        return frozenset(n.broadcast_address if n.version == 4 else n.network_address for n in self.prefixes)

    def way(self, node: str, destination: IPAddress) -> tuple[Interface, IPAddress] | None:
        """Return the interface and next hop that a node's routes give, by longest prefix."""
        key = (node, destination)
        if key not in self._ways:
            self._ways[key] = self._find_way(node, destination)
        return self._ways[key]

    def _find_way(self, node: str, destination: IPAddress) -> tuple[Interface, IPAddress] | None:
        best: tuple[int, Interface, IPAddress] | None = None
        for interface in self.interfaces.get(node, ()):
            own = interface.on_link(destination)
            if own and (best is None or own.network.prefixlen > best[0]):
                best = (own.network.prefixlen, interface, destination)
        for route in self.topology.node(node).routes:
            if route.prefix.version != destination.version or destination not in route.prefix:
                continue
            if best is None or route.prefix.prefixlen > best[0]:
                towards = self._towards(node, route.via)
                best = (route.prefix.prefixlen, towards, route.via) if towards else best
        return best[1:] if best else None

    def _towards(self, node: str, next_hop: IPAddress) -> Interface | None:
        return next((i for i in self.interfaces[node] if i.on_link(next_hop)), None)

    def hop(self, node: str, destination: IPAddress) -> Hop | None:
        """Return the first frame of a packet from a node, if its routes and neighbours give one."""
        way = self.way(node, destination)
        if way is None:
            return None
        interface, next_hop = way
        to = self.owner(interface.lan, next_hop)
        return Hop(interface, to) if to else None

    def reachable(self, host: Host) -> frozenset[IPAddress]:
        """Return the host's addresses that outsiders may reach: on LANs and public networks."""
        return frozenset(
            address.ip
            for interface in self.interfaces.get(host.name, ())
            if interface.network is None or self.properties[interface.network.mode].public
            for address in interface.addresses
        )

    def forwards_for(self, nic: Interface, family: Family) -> bool:
        """Whether a host routes at all what comes in by a NIC.

        It does where the NIC is the uplink of a network. In IPv6 a host is a router or it is none, on all of
        its interfaces (RFC 4861, 6.2.2).
        """
        networks = self.topology.hosts[nic.node].networks.values()
        present = [n for n in networks if self.properties[n.mode].presence]
        if family is Family.IPV6:
            return any(family in n.families() for n in present)
        return any(n.uplink == nic.nic for n in present)

    def source_port(self, node: str) -> int:
        """Return a source port for the node's next flow, so that no two share a conntrack entry."""
        number = self._flows_of.get(node, 0)
        self._flows_of[node] = number + 1
        return FIRST_SOURCE_PORT + number % SOURCE_PORTS

    def take_ports(self, node: str, count: int) -> None:
        """Count so many source ports of a node as given."""
        self._flows_of[node] = self._flows_of.get(node, 0) + count

    @contextmanager
    def unchanged_ports(self, node: str) -> Iterator[None]:
        """Take back the source ports that the node's flows get meanwhile."""
        before = self._flows_of.get(node, 0)
        try:
            yield
        finally:
            self._flows_of[node] = before

    @cached_property
    def forwarded(self) -> frozenset[tuple[str, int]]:
        """Protocol and port of everything that some uplink hands on to a VM."""
        return frozenset((f.protocol, f.port) for n in self.topology.networks for f in n.forwards)

    def is_router(self, node: str) -> bool:
        """Whether the node is a router between segments."""
        found = self.topology.machines.get(node)
        return isinstance(found, Machine) and found.router
