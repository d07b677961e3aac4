"""What is promised of one packet: it travels through the topology, and every host on the way has its say.

The decision of a host is the truth table of the five modes, worked out from the two properties of a mode:
may its machines start flows outward, may outsiders start flows inward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.guarantees import Outcome
from vnetlab.modes.packet import Fate, Packet, Step
from vnetlab.modes.rewriting import by_forward, source_towards, translate
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Host, family_of

if TYPE_CHECKING:
    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import IPAddress, Network

_MAX_HOPS = 64


def travel(world: World, packet: Packet, hop: Hop) -> Fate:
    """Follow a packet whose first frame is ``hop`` to its end."""
    asked, handed_by = packet.destination, ""
    crossed: tuple[str, ...] = ()
    translations: tuple[tuple[str, IPAddress], ...] = ()
    for _ in range(_MAX_HOPS):
        if _isolated(hop) or _from_absent_host(world, hop):
            return Fate(Outcome.SILENT, hop.by.node, packet, crossed=crossed)
        end = _decide(world, packet, hop)
        if isinstance(end, Fate):
            return replace(end, translations=translations, handed_by=handed_by, asked=asked, crossed=crossed)
        crossed = (*crossed, hop.to.node)
        if end.translated:
            translations = (*translations, (hop.to.node, packet.source))
        handed_by = hop.to.node if end.handed else handed_by
        packet, hop = end.packet, end.hop
    return Fate(Outcome.SILENT, hop.to.node, packet, crossed=crossed, unresolved=True)


def answer_returns(world: World, sender: str, fate: Fate) -> bool:
    """Whether an answer to a delivered packet finds its way back to who sent it.

    Where a host changed an address on the way, the answer has to pass it to be known for what it is, and
    goes on from there under the addresses of before.
    """
    restored = (fate.handed_by, fate.asked) if fate.handed_by and fate.asked else None
    reply = Packet(
        fate.packet.destination, fate.packet.source, fate.packet.protocol, answer=True, restored=restored
    )
    hop = world.hop(fate.node, reply.destination)
    passed: tuple[str, ...] = ()
    for translator, before in reversed(fate.translations):
        back = travel(world, reply, hop) if hop else None
        if back is None or back.outcome is not Outcome.DELIVERED or back.node != translator:
            return False
        passed = (*passed, *back.crossed)
        reply, hop = replace(back.packet, destination=before), back.arrived
    back = travel(world, reply, hop) if hop else None
    if back is None or back.outcome is not Outcome.DELIVERED or back.node != sender:
        return False
    return not fate.handed_by or fate.handed_by in (*passed, *back.crossed)


def _isolated(hop: Hop) -> bool:
    """Two VMs on ports of one network that isolates its ports."""
    network = hop.by.network
    return bool(
        network and network.port_isolation and network is hop.to.network and hop.by.port and hop.to.port
    )


def _from_absent_host(world: World, hop: Hop) -> bool:
    """Tell a host's frame into a network on which it is not present."""
    network = hop.by.network
    return bool(network and not hop.by.port and not world.properties[network.mode].presence)


def _decide(world: World, packet: Packet, hop: Hop) -> Fate | Step:
    node = hop.to.node
    host = world.topology.hosts.get(node)
    if host:
        return _host(world, host, packet, hop)
    if packet.destination in world.own_addresses[node]:
        return Fate(Outcome.DELIVERED, node, packet, hop)
    if not world.is_router(node):
        return Fate(Outcome.SILENT, node, packet)
    way = world.way(node, packet.destination)
    if way is None:
        return _error(world, node, packet, "no-route")
    return _forward(world, node, packet, way)


def _forward(world: World, node: str, packet: Packet, way: tuple[Interface, IPAddress]) -> Fate | Step:
    """Hand a packet on as any router does (RFC 1812, 5.3.1 and 4.2.3.2; RFC 8200, 3)."""
    out, next_hop = way
    if packet.ttl <= 1:
        return _error(world, node, packet, "ttl-exceeded")
    if packet.size > out.mtu:
        return _error(world, node, packet, "frag-needed")
    to = world.owner(out.lan, next_hop)
    if to is None:
        return Fate(Outcome.SILENT, node, packet, unresolved=True)
    return Step(replace(packet, ttl=packet.ttl - 1), Hop(out, to))


def _error(world: World, node: str, packet: Packet, error: str) -> Fate:
    """End in an ICMP error, which comes from the address that its sender has towards the source."""
    way = world.way(node, packet.source)
    source = source_towards(*way) if way else None
    return Fate(Outcome.REJECTED, node, packet, error=error, error_from=source)


def _host(world: World, host: Host, packet: Packet, hop: Hop) -> Fate | Step:
    into = hop.to
    if into.network and not world.properties[into.network.mode].presence:
        return Fate(Outcome.SILENT, host.name, packet)
    if not _believable(world, host, packet, into):
        return Fate(Outcome.SILENT, host.name, packet)
    forwarded = by_forward(world, host, packet, into)
    if forwarded:
        return forwarded
    if packet.destination in world.own_addresses[host.name]:
        return _local(world, host, packet, hop)
    way = world.way(host.name, packet.destination)
    if into.network is None and not world.forwards_for(into, family_of(packet.destination)):
        return Fate(Outcome.SILENT, host.name, packet)
    if way is None:
        if into.network:
            return _refusal(world, host.name, packet, into.network)
        return Fate(Outcome.SILENT, host.name, packet)
    if not _permitted(world, into, way[0], packet):
        step = _forward(world, host.name, packet, way)
        early = isinstance(step, Fate) and step.error in ("ttl-exceeded", "frag-needed")
        return step if early and isinstance(step, Fate) else _denied(world, packet, into, way[0])
    if packet.restored and packet.restored[0] == host.name:
        packet = replace(packet, source=packet.restored[1])
    step = _forward(world, host.name, packet, way)
    if isinstance(step, Fate) or packet.answer:
        return step
    return translate(world, step, into)


def _believable(world: World, host: Host, packet: Packet, into: Interface) -> bool:
    """Whether a source can be where it claims to be, as far as the host's own networks tell.

    It is not where a VM on two networks answers by one of them under its address on the other.
    """
    if into.network:
        return any(packet.source in subnet for subnet in into.network.subnets)
    private = (n for n in host.networks.values() if world.properties[n.mode].presence)
    return not any(packet.source in subnet for network in private for subnet in network.subnets)


def _local(world: World, host: Host, packet: Packet, hop: Hop) -> Fate:
    """Judge a packet to an address of the host itself."""
    network = hop.to.network
    reachable = world.reachable(host)
    delivered = Fate(Outcome.DELIVERED, host.name, packet, hop)
    if packet.answer:
        return delivered
    if network is None:
        ok = packet.destination in reachable
        return delivered if ok else Fate(Outcome.SILENT, host.name, packet)
    own = {address.ip for address in network.addresses}
    if packet.destination in own:
        return delivered
    if world.properties[network.mode].outward and packet.destination in reachable:
        return delivered
    refusal = _refusal(world, host.name, packet, network)
    # An ICMP error about a packet to an address of one's own comes from that address (RFC 1122, 3.2.1.3).
    return replace(refusal, error_from=packet.destination) if refusal.error else refusal


def _permitted(world: World, into: Interface, out: Interface, packet: Packet) -> bool:
    if _may_begin(world, into, out, packet):
        return True
    if not packet.answer:
        return False
    forwarded = packet.restored is not None and packet.restored[0] == into.node
    hairpin = forwarded and into.network is not None and into.network is out.network
    return hairpin or _may_begin(world, out, into, packet)


def _may_begin(world: World, into: Interface, out: Interface, packet: Packet) -> bool:
    """Whether flows may begin from one interface of a host to another one."""
    source, target = into.network, out.network
    if source and target:
        return _between(world, source, target)
    if source:
        uplink = source.uplink == out.nic and world.properties[source.mode].outward
        family = family_of(packet.destination)
        translatable = world.properties[source.mode].public or out.address(family) is not None
        return uplink and translatable
    if target:
        return target.uplink == into.nic and world.properties[target.mode].inward
    return False


def _between(world: World, source: Network, target: Network) -> bool:
    if source is target:
        several = any(sum(family_of(s) is family for s in source.subnets) > 1 for family in source.families())
        return several and not source.port_isolation
    both_public = world.properties[source.mode].public and world.properties[target.mode].public
    return both_public or target.name in source.reach


def _denied(world: World, packet: Packet, into: Interface, out: Interface) -> Fate:
    """Say how a denied flow ends: VM-begun by its own network's word, else by the public target's."""
    if into.network:
        return _refusal(world, into.node, packet, into.network)
    if out.network and world.properties[out.network.mode].public:
        return _refusal(world, into.node, packet, out.network)
    return Fate(Outcome.SILENT, into.node, packet)


def _refusal(world: World, node: str, packet: Packet, network: Network) -> Fate:
    if network.deny == "drop":
        return Fate(Outcome.SILENT, node, packet)
    return _error(world, node, packet, "admin-prohibited")
