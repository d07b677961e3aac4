"""Promises of what is denied at a network's host, and heard there: no route, spent TTLs, broadcasts."""

from __future__ import annotations

from ipaddress import IPv4Address
from itertools import islice
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.guarantees import Guarantee, Outcome, Special
from vnetlab.modes.edges import beside, beyond_uplink, group_addresses, nowhere
from vnetlab.modes.journey import travel
from vnetlab.modes.packet import Fate, Packet
from vnetlab.modes.promise import CONNECT, ECHO, SINK, Label, from_fate
from vnetlab.modes.scopes import group_mac, label, outsiders, ports_of, takes_part
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Family, family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.promise import Kind
    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import IPAddress, IPNetwork, Network

_GROUPS: tuple[tuple[IPAddress, str], ...] = (
    (IPv4Address("239.255.255.250"), ""),  # RFC 2365; in the upper half of 224.0.0.0/4
    (IPv4Address("255.255.255.255"), "ff:ff:ff:ff:ff:ff"),
)


def denials(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield what is denied, and what is heard, at the host of a network on which it is present."""
    side = next((i for i in world.interfaces[network.host] if i.network is network), None)
    sender = next(iter(ports_of(world, network)), None)
    if side is None or sender is None:
        return
    hop = Hop(sender, side)
    yield from _to_host(world, network, hop)
    for family in network.families():
        if sender.address(family):
            yield from _to_nowhere(world, network, hop, family)
            yield from _beside_the_lan(world, network, hop, family)
            yield from _of_no_connection(world, network, hop, family)
            yield from _no_blame(world, network, hop, family)
    yield from _broadcast_elsewhere(world, network, hop)
    yield from _broadcast_from_outside(world, network)


def _to_host(world: World, network: Network, hop: Hop) -> Iterator[Guarantee]:
    """Yield that the host hears the network's broadcasts and groups, as any neighbour would."""
    about = label(network, "host-hears-link", "its host hears its broadcasts and groups")
    own = hop.by.address(Family.IPV4)
    subnets = [s for s in network.subnets if s.version == 4 and s.prefixlen < 31]
    if own is None:
        return
    targets = [*_GROUPS, *((s.broadcast_address, "ff:ff:ff:ff:ff:ff") for s in subnets)]
    for group, mac in targets:
        packet = Packet(own.ip, group)
        to = Hop(hop.by, replace(hop.to, mac=mac or group_mac(group)))
        there = Fate(Outcome.DELIVERED, network.host, packet, to)
        kind = replace(SINK, answer=False)
        special = Special.BROADCAST if mac else Special.MULTICAST
        yield from_fate(world, about, network.host, to, packet, kind, there, special, returns=False)


def _to_nowhere(world: World, network: Network, hop: Hop, family: Family) -> Iterator[Guarantee]:
    """Yield what becomes of a flow to an address that no route leads to, and of a TTL that is spent."""
    about = label(network, "nowhere", "what its host has no route for is denied like the rest")
    spent = label(network, "spent-ttl", "its host says that a TTL is spent, whatever else it would say")
    own = hop.by.address(family)
    assert own is not None
    for target in nowhere(world, family)[-1:]:
        yield from _denied(world, about, hop, Packet(own.ip, target), ECHO)
    for machine in beyond_uplink(world, network)[:1]:
        there = machine.address(family)
        if there:
            packet = Packet(own.ip, there.ip, ttl=1)
            fate = travel(world, packet, hop)
            if fate.outcome is Outcome.REJECTED:
                yield from_fate(world, spent, machine.node, hop, packet, ECHO, fate, Special.TTL)


def _no_blame(world: World, network: Network, hop: Hop, family: Family) -> Iterator[Guarantee]:
    """Yield that nobody outside gets an error about what a VM sends in his name (RFC 2827)."""
    about = label(network, "no-blame", "nobody is told about what its VMs send under his address")
    for machine in beyond_uplink(world, network)[:1]:
        claimed = machine.address(family)
        for target in nowhere(world, family)[-1:]:
            if claimed:
                packet = Packet(claimed.ip, target)
                silent = Fate(Outcome.SILENT, network.host, packet)
                yield from_fate(world, about, machine.node, hop, packet, SINK, silent, Special.FORGED)


def _denied(world: World, about: Label, hop: Hop, packet: Packet, kind: Kind) -> Iterator[Guarantee]:
    fate = travel(world, packet, hop)
    if not fate.unresolved and fate.outcome in (Outcome.REJECTED, Outcome.SILENT):
        yield from_fate(world, about, hop.to.node, hop, packet, kind, fate, Special.CRAFTED)


def _beside_the_lan(world: World, network: Network, hop: Hop, family: Family) -> Iterator[Guarantee]:
    """Yield what becomes of flows to addresses beside the prefixes of the host's LANs and routes."""
    about = label(network, "beside-lan", "what is beside the prefix of a LAN or a route is no part of it")
    own = hop.by.address(family)
    assert own is not None
    sides = [i for i in world.interfaces[network.host] if i.network is None]
    prefixes = [a.network for i in sides for a in i.addresses if family_of(a) is family]
    prefixes += _routed(world, network.host, family)
    groups = group_addresses(world)
    for target in dict.fromkeys(t for prefix in prefixes for t in beside(prefix) if t not in groups):
        yield from _denied(world, about, hop, Packet(own.ip, target), ECHO)


def _routed(world: World, node: str, family: Family) -> list[IPNetwork]:
    """Return the prefixes that a node has routes to, the default routes left out."""
    prefixes = (route.prefix for route in world.topology.node(node).routes)
    return [prefix for prefix in prefixes if prefix.prefixlen and family_of(prefix) is family]


def _of_no_connection(world: World, network: Network, hop: Hop, family: Family) -> Iterator[Guarantee]:
    """Yield what becomes of a packet of no connection towards where the uplink does not lead."""
    others = [
        n
        for n in world.topology.hosts[network.host].networks.values()
        if n is not network and world.properties[n.mode].presence
    ]
    inside = [port for other in others for port in ports_of(world, other)[:1]]
    # Of machines outside, those off the uplink first.
    for targets in (inside, beyond_uplink(world, network)[::-1]):
        found = (_untracked(world, network, hop, target, family) for target in targets)
        yield from islice(filter(None, found), 1)


def _untracked(
    world: World, network: Network, hop: Hop, target: Interface, family: Family
) -> Guarantee | None:
    """Return what becomes of a packet of no connection to somebody, if that is for the mode to say."""
    about = label(network, "untracked-elsewhere", "a packet of no connection is no way around its mode")
    own, there = hop.by.address(family), target.address(family)
    assert own is not None
    if there is None or hop.by.on_link(there.ip) or world.way(network.host, there.ip) is None:
        return None
    packet = Packet(own.ip, there.ip)
    fate = travel(world, packet, hop)
    translates = network.mode.value == "nat"
    if fate.unresolved or (fate.outcome is Outcome.DELIVERED and (translates or fate.node != target.node)):
        return None
    if translates:
        fate = Fate(Outcome.SILENT, network.host, packet)
    kind = replace(CONNECT, answer=False)
    return from_fate(world, about, target.node, hop, packet, kind, fate, Special.UNTRACKED)


def _broadcast_elsewhere(world: World, network: Network, hop: Hop) -> Iterator[Guarantee]:
    """Yield that VMs do not reach their host by another network's directed broadcast (RFC 2644).

    In silence: nobody is told about a broadcast (RFC 1122, 3.2.2).
    """
    about = label(network, "broadcast-elsewhere", "other networks' directed broadcasts are not for its VMs")
    own = hop.by.address(Family.IPV4)
    for other in world.topology.hosts[network.host].networks.values():
        if other is network or own is None or not world.properties[other.mode].presence:
            continue
        for subnet in other.subnets:
            if subnet.version == 4 and subnet.prefixlen < 31:
                packet = Packet(own.ip, subnet.broadcast_address)
                silent = Fate(Outcome.SILENT, network.host, packet)
                yield from_fate(world, about, network.host, hop, packet, SINK, silent, Special.CRAFTED)


def _broadcast_from_outside(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that outsiders do not reach the host by a private network's directed broadcast (RFC 2644)."""
    about = label(network, "broadcast-hidden", "its directed broadcast is not for outsiders")
    if world.properties[network.mode].public:
        return
    for machine in outsiders(world, network)[:1]:
        near = next(
            (i for i in world.interfaces[network.host] if i.lan == machine.lan and not i.network), None
        )
        mine = machine.address(Family.IPV4)
        for subnet in network.subnets:
            if near and mine and subnet.version == 4 and subnet.prefixlen < 31:
                packet = Packet(mine.ip, subnet.broadcast_address)
                silent = Fate(Outcome.SILENT, network.host, packet)
                hop = Hop(machine, near)
                yield from_fate(world, about, network.host, hop, packet, SINK, silent, Special.CRAFTED)


def outsiders_to_nowhere(world: World) -> Iterator[Guarantee]:
    """Yield that hosts and routers deny what their neighbours send them for nobody."""
    for node, interfaces in world.interfaces.items():
        host = world.topology.hosts.get(node)
        if not (takes_part(host) if host else world.is_router(node)):
            continue
        about = Label("node.nowhere", f"{node} denies what it has no route for")
        for own in interfaces:
            asker = next((i for i in world.on_lan[own.lan] if i.node in world.topology.machines), None)
            if own.network is None and asker and asker.node != node:
                for family in Family:
                    yield from _outsider_to_nowhere(world, about, Hop(asker, own), family)
                    yield from _outsider_spent(world, Hop(asker, own), family)


def _outsider_to_nowhere(world: World, about: Label, hop: Hop, family: Family) -> Iterator[Guarantee]:
    own = hop.by.address(family)
    if own is None:
        return
    near = [t for prefix in _routed(world, hop.to.node, family) for t in beside(prefix)]
    somebodys = world.taken | group_addresses(world)
    for target in dict.fromkeys((*nowhere(world, family)[-1:], *(t for t in near if t not in somebodys))):
        packet = Packet(own.ip, target)
        fate = travel(world, packet, hop)
        witness = _unconcerned(world, hop) if world.is_router(hop.to.node) else hop.to.node
        if witness and not fate.unresolved and fate.outcome is not Outcome.DELIVERED:
            yield from_fate(world, about, witness, hop, packet, ECHO, fate, Special.CRAFTED)


def _outsider_spent(world: World, hop: Hop, family: Family) -> Iterator[Guarantee]:
    """Yield that a neighbour hears of a spent TTL, where it is routed at all."""
    about = Label("node.spent-ttl", f"{hop.to.node} says that a TTL is spent")
    own = hop.by.address(family)
    near = (i for i in world.on_lan[hop.by.lan] if i.node not in (hop.by.node, hop.to.node))
    there = next((a for a in (i.address(family) for i in near) if a), None)
    if own is None or there is None:
        return
    packet = Packet(own.ip, there.ip, ttl=1)
    fate = travel(world, packet, hop)
    witness = _unconcerned(world, hop) if world.is_router(hop.to.node) else hop.to.node
    if witness and fate.outcome is Outcome.REJECTED:
        yield from_fate(world, about, witness, hop, packet, ECHO, fate, Special.TTL)


def _unconcerned(world: World, hop: Hop) -> str:
    """Return a node to which the packet must not come: neither a router nor one of the two."""
    known = (hop.by.node, hop.to.node)
    return next((n for n in world.interfaces if n not in known and not world.is_router(n)), "")
