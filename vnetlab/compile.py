"""Topology -> State, and nothing else: no kernel, no clock, no randomness."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab import garbage, names, settings
from vnetlab.cascade import outside_nics
from vnetlab.leaves import SWITCH, tree_of_segment, trees_of_host
from vnetlab.modes import OBJECTS, PROPERTIES
from vnetlab.modes.base import Context
from vnetlab.ruleset import router_table, tables_for
from vnetlab.state import (
    Address,
    Bridge,
    Link,
    Namespace,
    State,
    StaticRoute,
    Sysctl,
    Tap,
    Veth,
)
from vnetlab.topology.model import Family, Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vnetlab.leaves import Tree
    from vnetlab.modes.base import Objects
    from vnetlab.topology.model import (
        Host,
        IPAddress,
        Machine,
        Network,
        Nic,
        Route,
        Segment,
        Topology,
        Vm,
    )


def compile_topology(topology: Topology) -> State:
    """Return the kernel objects that make the topology true."""
    with garbage.paused():
        return _state(_Same(topology))


class _Same:
    """A topology, equal to nothing but that very one: whoever compiles it again has the same State."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.topology is other.topology

    def __hash__(self) -> int:
        return id(self.topology)


@lru_cache(maxsize=1)
def _state(same: _Same) -> State:
    topology = same.topology
    return State(
        (
            *(_segment(topology, segment) for segment in topology.segments.values()),
            *(_host(topology, host) for host in topology.hosts.values()),
            *(_end_node(topology, node, "machine") for node in topology.machines.values()),
            *(_end_node(topology, vm, "vm") for vm in topology.vms.values() if vm.backend == "namespace"),
        )
    )


def _segment(topology: Topology, segment: Segment) -> Namespace:
    """Return a segment: a switch in a namespace of its own, with no part in IP at all."""
    tree = tree_of_segment(topology, segment)
    ports = tuple(
        Veth(
            name=names.port(node, nic.name),
            altname=names.altname(node, nic.name),
            mac=names.port_mac(node, nic.name),
            mtu=segment.mtu,
            master=tree.master(node, nic.name),
            peer_namespace=node,
            peer=names.nic_device(nic.name),
        )
        for node, nic in outside_nics(topology)
        if nic.lan.name == segment.name
    )
    switch = Bridge(
        name=SWITCH,
        altname=names.altname(segment.name),
        mac=names.port_mac(segment.name, SWITCH),
        mtu=segment.mtu,
    )
    return Namespace(
        name=names.segment_namespace(segment.name),
        kind="segment",
        links=(switch, *tree.links(segment.mtu), *ports),
        sysctls=settings.SWITCH,
    )


def _end_node(topology: Topology, node: Machine | Vm, kind: str) -> Namespace:
    """Return a machine or VM: NICs, addresses, routes; a router forwards, nobody else does."""
    links = tuple(_plugged(topology, node.name, nic) for nic in node.nics)
    router = kind == "machine" and getattr(node, "router", False)
    return Namespace(
        name=node.name,
        kind=kind,
        links=links,
        addresses=tuple(
            Address(names.nic_device(nic.name), address) for nic in node.nics for address in nic.addresses
        ),
        routes=_routes(node.routes, {names.nic_device(n.name): n for n in node.nics}),
        sysctls=settings.merged(settings.ROUTER if router else settings.NODE, _families_on(node.nics)),
        tables=(router_table(),) if router else (),
    )


def _plugged(topology: Topology, node: str, nic: Nic) -> Veth:
    network = nic.network
    far = topology.vms[node].host if network else names.segment_namespace(nic.lan.name)
    return Veth(
        name=names.nic_device(nic.name),
        altname="" if names.nic_device(nic.name) == nic.name else names.altname(nic.name),
        mac=nic.mac,
        mtu=nic.mtu,
        peer_namespace=far,
        peer=names.port(node, nic.name),
    )


def _families_on(nics: Iterable[Nic]) -> Iterator[Sysctl]:
    """Yield the settings that turn IPv6 on for the NICs that have an IPv6 address."""
    for nic in nics:
        if nic.address(Family.IPV6):
            yield Sysctl(f"net/ipv6/conf/{names.nic_device(nic.name)}/disable_ipv6", "0")


def _routes(routes: Iterable[Route], nics: Mapping[str, Nic]) -> tuple[StaticRoute, ...]:
    return tuple(StaticRoute(route.prefix, route.via, _device_towards(route.via, nics)) for route in routes)


def _device_towards(hop: IPAddress, nics: Mapping[str, Nic]) -> str:
    """Return the device on whose link the next hop is; the loader has checked that there is one."""
    return next(
        device for device, nic in nics.items() if any(hop in address.network for address in nic.addresses)
    )


def _host(topology: Topology, host: Host) -> Namespace:
    trees = trees_of_host(topology, host)
    parts = {n.name: _part(topology, host, n, trees[n.name]) for n in host.networks.values()}
    devices = {names.host_device(host, nic): nic for nic in host.nics.values()}
    return Namespace(
        name=host.name,
        kind="host",
        links=tuple(_host_links(topology, host, parts, trees)),
        addresses=(
            *(Address(dev, address) for dev, nic in devices.items() for address in nic.addresses),
            *(address for part in parts.values() for address in part.addresses),
        ),
        routes=_routes(host.routes, devices),
        sysctls=settings.merged(
            settings.NODE,
            _forwarding(host),
            _uplink_sysctls(host),
            (sysctl for part in parts.values() for sysctl in part.sysctls),
        ),
        tables=tables_for(tuple(parts.values()), tuple(devices) if _has_private(host) else ()),
    )


def _part(topology: Topology, host: Host, network: Network, tree: Tree) -> Objects:
    """Return what a network adds to its host: its mode's objects, and what leaves need in any mode."""
    part = OBJECTS[network.mode](_context(topology, host, network, tree))
    return replace(part, netdev_chains=(*part.netdev_chains, *tree.walls()))


def _forwarding(host: Host) -> Iterator[Sysctl]:
    """Yield IPv6's switch for all devices: it has none for one device (ip-sysctl, `forwarding`)."""
    six = any(PROPERTIES[n.mode].presence and Family.IPV6 in n.families() for n in host.networks.values())
    if six:
        yield Sysctl("net/ipv6/conf/all/forwarding", "1")


def _has_private(host: Host) -> bool:
    return any(network.lan.host for network in host.networks.values())


def _forwarding_uplinks(host: Host) -> tuple[str, ...]:
    used = {n.uplink for n in host.networks.values() if PROPERTIES[n.mode].presence}
    return tuple(names.host_device(host, nic) for nic in host.nics.values() if nic.name in used)


def _uplink_sysctls(host: Host) -> Iterator[Sysctl]:
    for device in _forwarding_uplinks(host):
        yield Sysctl(f"net/ipv4/conf/{device}/forwarding", "1")
    for nic in host.nics.values():
        device = names.host_device(host, nic)
        if nic.address(Family.IPV6):
            yield Sysctl(f"net/ipv6/conf/{device}/disable_ipv6", "0")


def _host_links(
    topology: Topology, host: Host, parts: Mapping[str, Objects], trees: Mapping[str, Tree]
) -> Iterator[Link]:
    for nic in host.nics.values():
        device = names.host_device(host, nic)
        bridged = device != names.nic_device(nic.name)
        if bridged:
            alt = names.altname(host.name, nic.name, "switch")
            yield Bridge(name=device, altname=alt, mac=nic.mac, mtu=nic.mtu)
        yield Veth(
            name=names.nic_device(nic.name),
            altname="" if names.nic_device(nic.name) == nic.name else names.altname(nic.name),
            mac=nic.mac,
            mtu=nic.mtu,
            master=device if bridged else "",
            peer_namespace=names.segment_namespace(nic.lan.name),
            peer=names.port(host.name, nic.name),
        )
    yield from (part.bridge for part in parts.values() if part.bridge)
    for network in host.networks.values():
        tree = trees[network.name]
        # Bridge networks of one uplink share a bridge, whose isolated flag cannot tell them apart.
        isolated = network.port_isolation and network.mode is not Mode.BRIDGE
        yield from tree.links(network.mtu, isolated=isolated)
        for vm, nic in topology.vms_of(network):
            yield _vm_port(vm, nic, tree.master(vm.name, nic.name), isolated=isolated)


def _vm_port(vm: Vm, nic: Nic, bridge: str, *, isolated: bool) -> Link:
    name, mac = names.port(vm.name, nic.name), names.port_mac(vm.name, nic.name)
    alt = names.altname(vm.name, nic.name)
    if vm.backend == "tap":
        return Tap(
            name=name, altname=alt, mac=mac, mtu=nic.mtu, master=bridge, isolated=isolated,
            owner=vm.owner, group=vm.group,
        )  # fmt: skip
    return Veth(
        name=name,
        altname=alt,
        mac=mac,
        mtu=nic.mtu,
        master=bridge,
        isolated=isolated,
        peer_namespace=vm.name,
        peer=names.nic_device(nic.name),
    )


def _context(topology: Topology, host: Host, network: Network, tree: Tree) -> Context:
    uplink = host.nics.get(network.uplink)
    public = [
        n for n in host.networks.values() if PROPERTIES[n.mode].public and n.lan.host and n is not network
    ]
    vms = topology.vms_of(network)
    return Context(
        host=host,
        network=network,
        device=names.network_bridge(host, network),
        uplink_device=names.host_device(host, uplink) if uplink else "",
        uplink_addresses=uplink.addresses if uplink else (),
        reachable=tuple(_reachable(host)),
        public_devices=tuple(names.network_bridge(host, n) for n in public),
        reach=tuple(
            (names.network_bridge(host, host.networks[name]), host.networks[name]) for name in network.reach
        ),
        vm_addresses={vm.name: nic.addresses for vm, nic in vms},
        elsewhere=frozenset(vm.name for vm, _ in vms if len(vm.nics) > 1),
        inner_ports=(*(names.port(vm.name, nic.name) for vm, nic in vms), *tree.trunks),
    )


def _reachable(host: Host) -> Iterator[IPAddress]:
    for nic in host.nics.values():
        yield from (address.ip for address in nic.addresses)
    for network in host.networks.values():
        if PROPERTIES[network.mode].public:
            yield from (address.ip for address in network.addresses)
