"""Static routes that the file leaves open: every node knows the way to what it may reach.

Segments and routed networks are the prefixes that everybody knows. Routers join segments; a host
does not, it is only the next hop to its own routed networks.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from vnetlab.topology.model import Family, Lan, Mode, Route, family_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import networkx

    from vnetlab.topology.model import (
        Host,
        IPAddress,
        IPNetwork,
        Machine,
        Network,
        Nic,
        Topology,
        Vm,
    )

DEFAULT: Final[Mapping[Family, IPNetwork]] = {
    Family.IPV4: IPv4Network("0.0.0.0/0"),
    Family.IPV6: IPv6Network("::/0"),
}


class _Prefix(Struct, frozen=True):
    """A prefix that everybody knows, and where it is."""

    prefix: IPNetwork
    segment: Lan
    gateway: Nic | None = None
    """Of a routed network: the uplink of its host."""
    host: str = ""


class _Hop(Struct, frozen=True):
    """A next hop; ``router`` is empty where it is the host of a routed network."""

    via: IPAddress
    router: str = ""


class Routing:
    """The ways of one topology, one address family at a time."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.prefixes = _known_prefixes(topology)
        self.routers: dict[Lan, list[tuple[Machine, Nic]]] = {}
        for machine in topology.machines.values():
            if machine.router:
                for nic in machine.nics:
                    self.routers.setdefault(nic.lan, []).append((machine, nic))
        for found in self.routers.values():
            found.sort(key=lambda pair: pair[0].name)
        self._distances: dict[tuple[Family, Lan], dict[str, int]] = {}
        self._graphs: dict[Family, networkx.Graph[str | Lan]] = {}

    def of_vm(self, vm: Vm) -> tuple[Route, ...]:
        """Return the derived routes of a VM."""
        networks = self.topology.hosts[vm.host].networks
        outside = [nic for nic in vm.nics if networks[nic.network].mode is Mode.BRIDGE]
        routes: list[Route] = []
        for family in Family:
            hops = self._hops(vm.name, outside, vm.nics, family)
            via = self._vm_default(vm, hops, family)
            routes += _routes(hops, via, family)
        return ordered(routes)

    def of_host(self, host: Host) -> tuple[Route, ...]:
        """Return the derived routes of a host; its own routed networks are connected."""
        nics = tuple(host.nics.values())
        return self._of_leaf(host.name, nics)

    def of_machine(self, machine: Machine) -> tuple[Route, ...]:
        """Return the derived routes of a machine; a router has no default route."""
        if not machine.router:
            return self._of_leaf(machine.name, machine.nics)
        routes: list[Route] = []
        for family in Family:
            hops = self._hops(machine.name, machine.nics, machine.nics, family)
            routes += _routes(hops, None, family)
        return ordered(routes)

    def _of_leaf(self, name: str, nics: Sequence[Nic]) -> tuple[Route, ...]:
        routes: list[Route] = []
        for family in Family:
            hops = self._hops(name, nics, nics, family)
            routes += _routes(hops, _busiest_router(hops.values()), family)
        return ordered(routes)

    def _vm_default(self, vm: Vm, hops: Mapping[IPNetwork, _Hop], family: Family) -> IPAddress | None:
        """Return the default next hop: of the first NIC outward, else the first host-only one."""
        networks = self.topology.hosts[vm.host].networks
        fallback: IPAddress | None = None
        for nic in vm.nics:
            network = networks[nic.network]
            if network.mode is Mode.BRIDGE:
                on_nic = [hop for hop in hops.values() if _on_link(nic, hop.via)]
                via = _busiest_router(on_nic)
            else:
                via = _gateway(network, nic, family)
            if via is not None and network.mode is not Mode.HOST_ONLY:
                return via
            fallback = fallback or via
        return fallback

    def _hops(
        self, name: str, outside: Sequence[Nic], nics: Sequence[Nic], family: Family
    ) -> dict[IPNetwork, _Hop]:
        """Return the next hop to every foreign prefix reached by a node's NICs on segments."""
        here = {nic.lan: nic for nic in outside if nic.address(family)}
        connected = {address.network for nic in nics for address in nic.addresses}
        neighbours = self._neighbours(name, here.values(), family)
        found: dict[IPNetwork, _Hop] = {}
        if not here:
            return found
        for known in self.prefixes[family]:
            if known.prefix in connected or known.host == name:
                continue
            hop = (
                _direct(here[known.segment], known, family)
                if known.segment in here
                else self._nearest(neighbours, known.segment, family)
            )
            if hop is not None:
                found[known.prefix] = hop
        return found

    def _neighbours(self, name: str, nics: Iterable[Nic], family: Family) -> list[_Hop]:
        """Return the routers next to a node, by name: of equal distances the first one wins."""
        found: dict[str, _Hop] = {}
        for nic in nics:
            for router, router_nic in self.routers.get(nic.lan, ()):
                via = _address_on(router_nic, nic, family)
                if router.name != name and via is not None:
                    found.setdefault(router.name, _Hop(via, router.name))
        return [found[router] for router in sorted(found)]

    def _nearest(self, neighbours: Sequence[_Hop], target: Lan, family: Family) -> _Hop | None:
        there = {router.name for router, nic in self.routers.get(target, ()) if nic.address(family)}
        if not neighbours or not there:
            return None
        for hop in neighbours:  # nobody is nearer than who is there: small labs ask no graph
            if hop.router in there:
                return hop
        distances = self._distances_to(target, family)
        reaching = [hop for hop in neighbours if hop.router in distances]
        return min(reaching, key=lambda hop: distances[hop.router], default=None)

    def _distances_to(self, target: Lan, family: Family) -> dict[str, int]:
        """Return each router's distance to a segment, in edges between segments and routers."""
        key = (family, target)
        if key not in self._distances:
            import networkx  # a third of a second, so only where there are routers

            if family not in self._graphs:
                self._graphs[family] = self._graph(family)
            graph = self._graphs[family]
            found = networkx.single_source_shortest_path_length(graph, target) if target in graph else {}
            self._distances[key] = {
                node: distance for node, distance in found.items() if isinstance(node, str)
            }
        return self._distances[key]

    def _graph(self, family: Family) -> networkx.Graph[str | Lan]:
        import networkx

        graph: networkx.Graph[str | Lan] = networkx.Graph()
        for lan, routers in self.routers.items():
            for router, nic in routers:
                if nic.address(family):
                    graph.add_edge(lan, router.name)
        return graph


def ordered(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Return routes in their canonical order: IPv4 first, then by prefix."""
    return tuple(
        sorted(
            routes,
            key=lambda r: (r.prefix.version, int(r.prefix.network_address), r.prefix.prefixlen),
        )
    )


def _known_prefixes(topology: Topology) -> dict[Family, list[_Prefix]]:
    found: dict[Family, list[_Prefix]] = {family: [] for family in Family}
    for segment in topology.segments.values():
        for prefix in segment.subnets:
            found[family_of(prefix)].append(_Prefix(prefix, Lan(segment.name)))
    for network in topology.networks:
        if network.mode is Mode.ROUTED:
            uplink = topology.hosts[network.host].nics[network.uplink]
            for prefix in network.subnets:
                found[family_of(prefix)].append(_Prefix(prefix, uplink.lan, uplink, network.host))
    return found


def _direct(here: Nic, known: _Prefix, family: Family) -> _Hop | None:
    """Return the next hop to a prefix on a segment that the node is on: a routed network's host."""
    if known.gateway is None:
        return None
    via = _address_on(known.gateway, here, family)
    return None if via is None else _Hop(via)


def _address_on(target: Nic, here: Nic, family: Family) -> IPAddress | None:
    """Return the target's first address that is on a subnet of the NIC next to it."""
    for address in target.addresses:
        if family_of(address) is family and _on_link(here, address.ip):
            return address.ip
    return None


def _on_link(nic: Nic, address: IPAddress) -> bool:
    return any(address in own.network for own in nic.addresses)


def _gateway(network: Network, nic: Nic, family: Family) -> IPAddress | None:
    """Return the host's address on a private network that a VM's NIC can use as next hop."""
    for address in network.addresses:
        if family_of(address) is family and _on_link(nic, address.ip):
            return address.ip
    return None


def _busiest_router(hops: Iterable[_Hop]) -> IPAddress | None:
    """Return the address of the router that serves most prefixes, of several the first by name."""
    served = Counter(hop for hop in hops if hop.router)
    best = min(served, key=lambda hop: (-served[hop], hop.router, str(hop.via)), default=None)
    return None if best is None else best.via


def _routes(hops: Mapping[IPNetwork, _Hop], default: IPAddress | None, family: Family) -> list[Route]:
    specific = [Route(prefix, hop.via) for prefix, hop in hops.items() if hop.via != default]
    return specific if default is None else [Route(DEFAULT[family], default), *specific]
