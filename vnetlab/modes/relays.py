"""Promises that nobody passes on, answers for, or believes what is not theirs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.guarantees import Guarantee, Outcome, Special
from vnetlab.modes.edges import last, vacant
from vnetlab.modes.journey import travel
from vnetlab.modes.own_ways import is_guest, may_talk
from vnetlab.modes.packet import Fate, Packet
from vnetlab.modes.pairs import resolution
from vnetlab.modes.promise import ECHO, SINK, Label, from_fate
from vnetlab.modes.rewriting import source_towards
from vnetlab.modes.scopes import ALL_NODES, group_mac, link_local, takes_part
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Family, family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import IPAddress


def no_relays(world: World) -> Iterator[Guarantee]:
    """Yield that VMs, machines that are no routers, and hosts with bridge networks only pass nothing on."""
    for node, interfaces in world.interfaces.items():
        host = world.topology.hosts.get(node)
        if (host and takes_part(host)) or world.is_router(node) or is_guest(world, node):
            continue
        about = Label("node.no-relay", f"{node} is no router and passes nothing on")
        for own in interfaces:
            for family in Family:
                yield from _no_relay(world, about, own, family)


def _near(world: World, own: Interface, family: Family) -> Iterator[Interface]:
    for other in world.on_lan[own.lan]:
        if other.node != own.node and other.address(family) and may_talk(own, other):
            yield other


def _no_relay(world: World, about: Label, own: Interface, family: Family) -> Iterator[Guarantee]:
    """Hand a node a frame for a third one, on the same link if there is one."""
    if own.address(family) is None:
        return
    sender = next((i for i in _near(world, own, family) if i.node not in world.topology.hosts), None)
    if sender is None:
        return
    others = (i for i in _near(world, own, family) if i is not sender)
    target = next(others, None) or _far_away(world, own, family)
    mine, there = sender.address(family), target.address(family) if target else None
    if target is None or mine is None or there is None:
        return
    # A router would take its own address as a source for a lie, and so hide what comes back to it.
    source = last(mine.network, world.taken) if world.is_router(sender.node) else mine.ip
    packet = Packet(source, there.ip)
    fate = Fate(Outcome.SILENT, own.node, packet)
    if family is Family.IPV6 and source == mine.ip and world.way(own.node, there.ip) is None:
        # Without a way there, an IPv6 node says so even where it forwards nothing (`ip6_pkt_discard`).
        speaker = source_towards(own, mine.ip)
        fate = Fate(Outcome.REJECTED, own.node, packet, error="no-route", error_from=speaker)
    hop = Hop(sender, own)
    yield from_fate(world, about, target.node, hop, packet, SINK, fate, Special.CRAFTED)


def _far_away(world: World, own: Interface, family: Family) -> Interface | None:
    """Return a host's or machine's interface that a node is not on a link with."""
    shared = {i.lan for i in world.interfaces[own.node]}
    for node in (*world.topology.hosts, *world.topology.machines):
        for other in world.interfaces.get(node, ()):
            routes = world.is_router(node)
            if other.network is None and not routes and other.lan not in shared and other.address(family):
                return other
    return None


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
        or is_guest(world, hearer.node)
        or (hearer.port and not may_talk(sender, hearer))
    ):
        return
    about = Label("node.router-advertisement", "an advertisement changes nobody's routes", sender.network)
    packet = Packet(link_local(sender.mac), ALL_NODES, ttl=255)
    hop = Hop(sender, replace(sender, mac=group_mac(ALL_NODES)))
    silent = Fate(Outcome.SILENT, hearer.node, packet)
    kind = replace(ECHO, answer=False)
    yield from_fate(world, about, hearer.node, hop, packet, kind, silent, Special.ADVERTISEMENT)


def proxies(world: World) -> Iterator[Guarantee]:
    """Yield that hosts and routers answer no ARP request but for the addresses of that very interface.

    And that what a router passes on for nobody ends there.
    """
    for node, interfaces in world.interfaces.items():
        router = world.is_router(node)
        if is_guest(world, node):
            continue
        if router and len(interfaces) == 1:
            yield from _at_the_end(world, node, interfaces[0])
        if len(interfaces) < 2:
            continue
        about = Label("node.no-proxy", f"{node} answers for no address but its own")
        yield from _vacant_by_routes(world, node, interfaces) if router else ()
        empty = Label("node.vacant", f"{node} knows its links' prefixes whole")
        for own in interfaces:
            asker = _asker(world, own)
            others = ((i, _asker(world, i, beside=own)) for i in interfaces if i.lan != own.lan)
            found = next(((i, far) for i, far in others if far), None)
            if asker is None or found is None or found[1].node == asker.node:
                continue
            beyond, far = found
            if router or node in world.topology.hosts:
                yield from _not_for(about, asker, far)
            yield from _not_for(about, asker, replace(beyond, node=far.node))
            if router:
                for family in Family:
                    yield from _vacant_beyond(world, empty, Hop(asker, own), beyond, family)


def _at_the_end(world: World, node: str, own: Interface) -> Iterator[Guarantee]:
    """Yield that a router with one link hands on by that very link what it is asked to."""
    empty = Label("node.vacant", f"{node} knows its links' prefixes whole")
    about = Label("node.hands-on", f"{node} hands on what is for elsewhere, by the link that it came by")
    asker = _asker(world, own)
    for family in Family if asker else ():
        assert asker is not None
        hop = Hop(asker, own)
        yield from _vacant_beyond(world, empty, hop, own, family)
        mine = asker.address(family)
        for target in _elsewhere(world, own, family) if mine else ():
            assert mine is not None
            # Under its own address a sender would not believe what comes back to it.
            packet = Packet(last(mine.network, world.taken), target)
            fate = travel(world, packet, hop)
            if fate.outcome is Outcome.DELIVERED and asker.node in fate.crossed:
                kind = replace(SINK, answer=False)
                yield from_fate(
                    world, about, fate.node, hop, packet, kind, fate, Special.CRAFTED, returns=False
                )
                break


def _elsewhere(world: World, own: Interface, family: Family) -> Iterator[IPAddress]:
    """Yield the addresses of machines on none of a node's links."""
    near = {i.node for i in world.on_lan[own.lan]}
    for name in world.topology.machines:
        found = next((a for i in world.interfaces[name] if (a := i.address(family))), None)
        if name not in near and found:
            yield found.ip


def _uninvolved(world: World, *involved: str) -> str:
    """Return a node that must not see a packet of these: a host, else anybody; empty for none."""
    others = (n for n in (*world.topology.hosts, *world.interfaces) if n not in involved)
    return next(others, "")


def _vacant_by_routes(world: World, node: str, interfaces: tuple[Interface, ...]) -> Iterator[Guarantee]:
    """Yield where a router's routes lead what goes to the last address of each, which nobody has."""
    about = Label("node.vacant", f"{node} knows the prefixes of its routes whole")
    for route in world.topology.node(node).routes:
        target = last(route.prefix, world.taken)
        if route.prefix.prefixlen == 0 or target in world.taken:
            continue
        for own in interfaces:
            near = (i for i in world.on_lan[own.lan] if i.node in world.topology.machines and i.node != node)
            mine = next((a for a in (i.address(family_of(target)) for i in near) if a), None)
            asker = world.owner(own.lan, mine.ip) if mine else None
            witness = _uninvolved(world, asker.node, node) if asker else ""
            if asker and mine and witness:
                yield from vacant(world, about, witness, Hop(asker, own), Packet(mine.ip, target))
                break


def _not_for(about: Label, asker: Interface, far: Interface) -> Iterator[Guarantee]:
    """Yield that nobody answers for an address on another link; who has it is not even asked."""
    mine, there = asker.address(Family.IPV4), far.address(Family.IPV4)
    if mine and there and not asker.on_link(there.ip):
        yield resolution(about, asker, far.node, mine.ip, there.ip, Outcome.SILENT)


def _vacant_beyond(
    world: World, about: Label, hop: Hop, beyond: Interface, family: Family
) -> Iterator[Guarantee]:
    mine, there = hop.by.address(family), beyond.address(family)
    if mine is None or there is None or world.owner(beyond.lan, last(there.network, world.taken)):
        return
    witness = _uninvolved(world, hop.by.node, hop.to.node)
    if witness:
        yield from vacant(world, about, witness, hop, Packet(mine.ip, last(there.network, world.taken)))


def _asker(world: World, own: Interface, beside: Interface | None = None) -> Interface | None:
    """Return a neighbour on an interface's link, which is not on the link of the one beside."""
    there = {i.node for i in world.on_lan[beside.lan]} if beside else set()
    away = {own.node, *world.topology.hosts, *there}
    near = (i for i in world.on_lan[own.lan] if i.node not in away)
    return next((i for i in near if i.address(Family.IPV4)), None)
