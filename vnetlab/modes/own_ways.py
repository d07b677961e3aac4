"""Promises about what kernels do with their own routes: of VMs, machines and hosts, each by itself.

Crafted frames say nothing about the sender's routes. Here its kernel sends: to the edges of each prefix that
it has a route to, and to addresses beside them, which are another route's.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.guarantees import Guarantee, Outcome, Special
from vnetlab.modes.edges import beside, group_addresses, last, nowhere
from vnetlab.modes.journey import travel
from vnetlab.modes.packet import Fate, Packet
from vnetlab.modes.pairs import BROADCAST_MAC
from vnetlab.modes.promise import ECHO, SINK, Label, from_fate, own_address
from vnetlab.modes.scopes import label, outsiders, ports_of
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Family, Vm, family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import IPAddress, Route


def own_ways(world: World) -> Iterator[Guarantee]:
    """Yield where each kernel's own routes lead."""
    for node in world.interfaces:
        if is_guest(world, node):
            continue  # a guest's routes are its own affair
        for target in _targets(world, node):
            yield from _own_way(world, node, target)
        yield from _broadcasts(world, node)
        yield from _broadcasts_stay(world, node)
        yield from _spent(world, node)


def may_talk(own: Interface, other: Interface) -> bool:
    """Tell whether the ports of two interfaces on one link let frames pass between them."""
    isolated = own.network is other.network and own.network is not None and own.network.port_isolation
    return not (isolated and own.port and other.port)


def is_guest(world: World, node: str) -> bool:
    """Tell whether a node is a VM behind a tap, whose kernel is none of the lab's."""
    vm = world.topology.vms.get(node)
    return isinstance(vm, Vm) and vm.backend != "namespace"


def _targets(world: World, node: str) -> tuple[IPAddress, ...]:
    """Return the addresses at and beside the edges of what a node has a way to; none of its own."""
    found: dict[IPAddress, None] = {}
    links = [a.network for i in world.interfaces[node] for a in i.addresses]
    for prefix in (*links, *(route.prefix for route in world.topology.node(node).routes)):
        if prefix.prefixlen == 0:
            found |= dict.fromkeys(nowhere(world, family_of(prefix)))
            continue
        found |= dict.fromkeys((last(prefix, world.taken), *beside(prefix)))
    excluded = world.own_addresses[node] | group_addresses(world)
    return tuple(target for target in found if target not in excluded)


def _bystander(world: World, source: str, fate: Fate, family: Family) -> str:
    """Return a node that must not see a packet.

    A router that the source's default route leads to, since it would get what the source takes for far; else
    a host, else anybody that the packet does not pass.
    """
    passed = {source, fate.node, *fate.crossed}
    default = next((r.via for r in world.topology.node(source).routes if _is_default(r, family)), None)
    owners = (world.owner(own.lan, default) for own in world.interfaces[source] if default is not None)
    gateways = (g.node for g in owners if g and world.is_router(g.node) and g.node not in passed)
    hosts = (host for host in world.topology.hosts if host != source)
    others = (n for n in world.interfaces if n not in passed and not world.is_router(n))
    routers = (n for n in world.interfaces if n not in passed)
    return next(chain(gateways, hosts, others, routers), "")  # of thousands, the first is enough


def _is_default(route: Route, family: Family) -> bool:
    return route.prefix.prefixlen == 0 and family_of(route.prefix) is family


def _broadcasts(world: World, node: str) -> Iterator[Guarantee]:
    """Yield that a node's directed broadcast (RFC 919, 7) is one to its neighbours."""
    about = Label("node.broadcast", f"{node}'s broadcast reaches its link")
    for own in world.interfaces[node]:
        mine = own.address(Family.IPV4)
        near = (i for i in world.on_lan[own.lan] if i.node != node and _hears(world, i))
        hearer = next((i for i in near if i.address(Family.IPV4) and may_talk(own, i)), None)
        if mine is None or hearer is None or mine.network.prefixlen > 30:
            continue
        packet = Packet(mine.ip, mine.network.broadcast_address)
        hop = Hop(own, replace(hearer, mac=BROADCAST_MAC))
        there = Fate(Outcome.DELIVERED, hearer.node, packet, Hop(own, hearer))
        kind = replace(SINK, answer=False)
        yield _by_kernel(
            from_fate(world, about, hearer.node, hop, packet, kind, there, Special.BROADCAST, returns=False)
        )


def _broadcasts_stay(world: World, node: str) -> Iterator[Guarantee]:
    """Yield that a host's broadcast on a network is heard by none of its VMs that are elsewhere."""
    for own in world.interfaces[node]:
        mine, network = own.address(Family.IPV4), own.network
        if network is None or own.port or mine is None or mine.network.prefixlen > 30:
            continue
        if not ports_of(world, network):
            continue  # a host hears its own broadcasts there, and nobody else is to
        about = label(network, "host-broadcast", "its host's broadcasts there are heard nowhere else")
        packet = Packet(mine.ip, mine.network.broadcast_address)
        hop = Hop(own, replace(own, mac=BROADCAST_MAC))
        inside = {i.node for i in world.on_lan[own.lan]}
        for vm in world.topology.vms.values():
            if vm.host == node and vm.name not in inside:
                silent = Fate(Outcome.SILENT, node, packet)
                yield _by_kernel(
                    from_fate(world, about, vm.name, hop, packet, SINK, silent, Special.BROADCAST)
                )


def _hears(world: World, interface: Interface) -> bool:
    """Tell whether a node is there to hear: a host is not on an isolated network."""
    network = interface.network
    return interface.port or network is None or world.properties[network.mode].presence


def _spent(world: World, node: str) -> Iterator[Guarantee]:
    """Yield that a VM's own default route leads to its host even where that denies without a word."""
    about = Label("node.own-routes", f"{node}'s own routes lead where the file says")
    for own in world.interfaces[node]:
        network = own.network
        if not (own.port and network and network.deny == "drop" and network.lan.host):
            continue
        for family in network.families():
            target = next((m.address(family) for m in outsiders(world, network) if m.address(family)), None)
            hop = world.hop(node, target.ip) if target else None
            mine = own.address(family)
            if target is None or hop is None or hop.by is not own or mine is None:
                continue
            packet = Packet(mine.ip, target.ip, ttl=1)
            fate = travel(world, packet, hop)
            if fate.outcome is Outcome.REJECTED:
                yield _by_kernel(from_fate(world, about, hop.to.node, hop, packet, ECHO, fate, Special.TTL))


def _own_way(world: World, node: str, target: IPAddress) -> Iterator[Guarantee]:
    about = Label("node.own-routes", f"{node}'s own routes lead where the file says")
    way = world.way(node, target)
    hop = world.hop(node, target)
    if way is None or hop is None:
        yield from _nobody(world, about, node, target, way)
        return
    source = own_address(hop.by, target, hop)
    if source is None:
        return
    packet = Packet(source, target)
    fate = travel(world, packet, hop)
    special = Special.NONE
    if fate.unresolved:
        yield from _by_router(world, about, hop, packet)
        fate, special = replace(fate, outcome=Outcome.SILENT, error="", error_from=None), Special.VACANT
    witness = (
        fate.node if fate.outcome is Outcome.DELIVERED else _bystander(world, node, fate, family_of(target))
    )
    if witness:
        yield _by_kernel(from_fate(world, about, witness, hop, packet, ECHO, fate, special))


def _by_router(world: World, about: Label, hop: Hop, packet: Packet) -> Iterator[Guarantee]:
    """Yield who says that the TTL is spent: nothing else tells which router a packet for nobody goes to."""
    spent = replace(packet, ttl=1)
    fate = travel(world, spent, hop)
    is_host = hop.to.node in world.topology.hosts
    # A host does not hear what it is to pass on; of a router, its device sees it.
    witness = hop.to.node if is_host else _bystander(world, hop.by.node, fate, family_of(packet.destination))
    if fate.outcome is Outcome.REJECTED and witness:
        yield _by_kernel(from_fate(world, about, witness, hop, spent, ECHO, fate, Special.TTL))


def _by_kernel(guarantee: Guarantee) -> Guarantee:
    return replace(guarantee, flow=replace(guarantee.flow, source_address=None, out_nic="", next_hop_mac=""))


def _nobody(
    world: World, about: Label, node: str, target: IPAddress, way: tuple[Interface, IPAddress] | None
) -> Iterator[Guarantee]:
    """Promise that a flow to where nobody is reaches nobody: nobody sees it, and no router gets it."""
    family = family_of(target)
    own = way[0] if way else next((i for i in world.interfaces[node] if i.address(family)), None)
    mine = own.address(family) if own else None
    if own is None or mine is None:
        return
    packet = Packet(mine.ip, target, ttl=1)
    silent = Fate(Outcome.SILENT, node, packet)
    witness = _bystander(world, node, silent, family)
    if witness:
        guarantee = from_fate(world, about, witness, Hop(own, own), packet, ECHO, silent, Special.VACANT)
        yield _by_kernel(guarantee)
