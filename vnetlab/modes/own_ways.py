"""Promises about what kernels do with their own routes: of VMs, machines and hosts, each by itself.

Crafted frames say nothing about the sender's routes. Here its kernel sends: to the edges of each prefix that
it has a route to, and to addresses beside them, which are another route's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vnetlab.guarantees import Guarantee, Outcome, Special
from vnetlab.modes.edges import beside, last, nowhere
from vnetlab.modes.journey import travel
from vnetlab.modes.packet import Fate, Packet
from vnetlab.modes.promise import ECHO, SINK, Label, from_fate, own_address
from vnetlab.modes.scopes import ALL_NODES, group_mac, link_local
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Family, Host, Vm, family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import IPAddress


def own_ways(world: World) -> Iterator[Guarantee]:
    """Yield where each kernel's own routes lead."""
    for node in world.interfaces:
        if _is_guest(world, node):
            continue  # a guest's routes are its own affair
        for target in _targets(world, node):
            yield from _own_way(world, node, target)


def _is_guest(world: World, node: str) -> bool:
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
        found |= dict.fromkeys((last(prefix), *beside(prefix)))
    excluded = world.own_addresses[node] | _group_addresses(world)
    return tuple(target for target in found if target not in excluded)


def _group_addresses(world: World) -> frozenset[IPAddress]:
    """Return the directed broadcasts and router anycasts, which more than one node may have."""
    links = {a.network for found in world.interfaces.values() for i in found for a in i.addresses}
    ends = ((link.broadcast_address, link.network_address) for link in links)
    return frozenset(address for pair in ends for address in pair)


def _bystander(world: World, source: str, fate: Fate) -> str:
    """Return a node that must not see a packet: one that it does not pass, a host if there is one."""
    passed = {source, fate.node, *fate.crossed}
    hosts = [host for host in world.topology.hosts if host != source]
    others = [n for n in world.interfaces if n not in passed and not world.is_router(n)]
    routers = [n for n in world.interfaces if n not in passed]
    return next(iter((*hosts, *others, *routers)), "")


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
        fate, special = replace(fate, outcome=Outcome.SILENT, error="", error_from=None), Special.VACANT
    witness = fate.node if fate.outcome is Outcome.DELIVERED else _bystander(world, node, fate)
    if witness:
        yield _by_kernel(from_fate(world, about, witness, hop, packet, ECHO, fate, special))


def _by_kernel(guarantee: Guarantee) -> Guarantee:
    return replace(guarantee, flow=replace(guarantee.flow, source_address=None, out_nic="", next_hop_mac=""))


def _nobody(
    world: World, about: Label, node: str, target: IPAddress, way: tuple[Interface, IPAddress] | None
) -> Iterator[Guarantee]:
    """Promise that a flow to where nobody is reaches nobody: nobody sees it."""
    family = family_of(target)
    own = way[0] if way else next((i for i in world.interfaces[node] if i.address(family)), None)
    mine = own.address(family) if own else None
    if own is None or mine is None:
        return
    packet = Packet(mine.ip, target)
    silent = Fate(Outcome.SILENT, node, packet)
    witness = _bystander(world, node, silent)
    if witness:
        guarantee = from_fate(world, about, witness, Hop(own, own), packet, ECHO, silent, Special.VACANT)
        yield _by_kernel(guarantee)


def no_relays(world: World) -> Iterator[Guarantee]:
    """Yield that neither VMs nor machines that are no routers pass on what is not for them."""
    for node, interfaces in world.interfaces.items():
        if isinstance(world.topology.node(node), Host) or world.is_router(node) or _is_guest(world, node):
            continue
        about = Label("node.no-relay", f"{node} is no router and passes nothing on")
        for own in interfaces:
            for family in Family:
                yield from _no_relay(world, about, own, family)


def _no_relay(world: World, about: Label, own: Interface, family: Family) -> Iterator[Guarantee]:
    """Hand a node a frame for a third one on the same link."""
    near = [
        i for i in world.on_lan[own.lan] if i.node != own.node and i.address(family) and _may_talk(own, i)
    ]
    senders = [i for i in near if i.node not in world.topology.hosts]
    if own.address(family) is None or not senders:
        return
    sender = senders[0]
    target = next((i for i in near if i is not sender), None)
    mine, there = sender.address(family), target.address(family) if target else None
    if target is None or mine is None or there is None:
        return
    packet = Packet(mine.ip, there.ip)
    silent = Fate(Outcome.SILENT, own.node, packet)
    hop = Hop(sender, own)
    yield from_fate(world, about, target.node, hop, packet, SINK, silent, Special.CRAFTED)


def _may_talk(own: Interface, other: Interface) -> bool:
    isolated = own.network is other.network and own.network is not None and own.network.port_isolation
    return not (isolated and own.port and other.port)


def advertisements(world: World) -> Iterator[Guarantee]:
    """Yield that router advertisements (RFC 4861, 4.2) change nobody's routes, whoever sends them.

    On every link the last node tells the first, and the first machine of a segment tells all others.
    """
    for interfaces in world.on_lan.values():
        nodes = [i for i in interfaces if i.node not in world.topology.hosts]
        if not nodes:
            continue
        pairs = [(nodes[-1], nodes[0])]
        if not nodes[0].lan.host:
            machines = [i for i in nodes if i.node in world.topology.machines]
            pairs += [(machines[0], other) for other in interfaces if machines]
        for sender, hearer in dict.fromkeys(pairs):
            yield from _advertisement(world, sender, hearer)


def _advertisement(world: World, sender: Interface, hearer: Interface) -> Iterator[Guarantee]:
    if (
        sender.node == hearer.node
        or _is_guest(world, hearer.node)
        or (hearer.port and not _may_talk(sender, hearer))
    ):
        return
    about = Label("node.router-advertisement", "an advertisement changes nobody's routes", sender.network)
    packet = Packet(link_local(sender.mac), ALL_NODES, ttl=255)
    hop = Hop(sender, replace(sender, mac=group_mac(ALL_NODES)))
    silent = Fate(Outcome.SILENT, hearer.node, packet)
    kind = replace(ECHO, answer=False)
    yield from_fate(world, about, hearer.node, hop, packet, kind, silent, Special.ADVERTISEMENT)


def proxies(world: World) -> Iterator[Guarantee]:
    """Yield that hosts and routers answer no ARP request for whom they could reach elsewhere."""
    from vnetlab.modes.pairs import resolution

    for node, interfaces in world.interfaces.items():
        if not (isinstance(world.topology.node(node), Host) or world.is_router(node)):
            continue
        about = Label("node.no-proxy", f"{node} answers for no address but its own")
        for own in interfaces:
            asker = _asker(world, own)
            far = next((f for f in (_asker(world, i) for i in interfaces if i.lan != own.lan) if f), None)
            mine = asker.address(Family.IPV4) if asker else None
            there = far.address(Family.IPV4) if far else None
            if asker and mine and there and far and far.node != asker.node and not asker.on_link(there.ip):
                yield resolution(about, asker, far.node, mine.ip, there.ip, Outcome.SILENT)


def _asker(world: World, own: Interface) -> Interface | None:
    """Return a neighbour on an interface's link."""
    near = (i for i in world.on_lan[own.lan] if i.node != own.node and i.node not in world.topology.hosts)
    return next((i for i in near if i.address(Family.IPV4)), None)
