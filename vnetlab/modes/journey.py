"""What is promised of one packet: it travels through the topology, and every host on the way has its say.

The decision of a host is the truth table of the five modes, worked out from the two properties of a mode:
may its machines start flows outward, may outsiders start flows inward.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vnetlab.guarantees import Outcome
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Host, family_of

if TYPE_CHECKING:
    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import IPAddress, Network

_MAX_HOPS = 64


@dataclass(frozen=True, slots=True)
class Packet:
    """The fields of a packet that decide its way."""

    source: IPAddress
    destination: IPAddress
    protocol: str = ""
    port: int = 0
    """Destination port, where the protocol has one."""
    ttl: int = 64
    size: int = 0
    """Bytes of the whole packet; 0: smaller than any MTU."""
    answer: bool = False
    """It answers a flow that was let through."""


@dataclass(frozen=True, slots=True)
class Fate:
    """Where a packet ended and how it looked there."""

    outcome: Outcome
    node: str
    """Who received, rejected or swallowed it."""
    packet: Packet
    arrived: Hop | None = None
    """The last frame, where it was delivered."""
    error: str = ""
    error_from: IPAddress | None = None
    translated_by: str = ""
    """Host that gave it an address of its own as source."""
    crossed: tuple[str, ...] = ()
    """Hosts and routers that forwarded it, in order."""
    unresolved: bool = False
    """Nobody has the next hop's address; what happens then is a matter of timers."""


@dataclass(frozen=True, slots=True)
class _Step:
    packet: Packet
    hop: Hop
    translated: bool = False


def travel(world: World, packet: Packet, hop: Hop) -> Fate:
    """Follow a packet whose first frame is ``hop`` to its end."""
    translated_by = ""
    crossed: tuple[str, ...] = ()
    for _ in range(_MAX_HOPS):
        if _isolated(hop) or _from_absent_host(world, hop):
            return Fate(Outcome.SILENT, hop.by.node, packet, crossed=crossed)
        end = _decide(world, packet, hop)
        if isinstance(end, Fate):
            return replace(end, translated_by=translated_by or end.translated_by, crossed=crossed)
        crossed = (*crossed, hop.to.node)
        if end.translated:
            translated_by = hop.to.node
        packet, hop = end.packet, end.hop
    return Fate(Outcome.SILENT, hop.to.node, packet, crossed=crossed, unresolved=True)


def answer_returns(world: World, sender: str, fate: Fate) -> bool:
    """Whether an answer to a delivered packet finds its way back to who sent it."""
    reply = Packet(fate.packet.destination, fate.packet.source, fate.packet.protocol, answer=True)
    hop = world.hop(fate.node, reply.destination)
    if hop is None:
        return False
    back = travel(world, reply, hop)
    return back.outcome is Outcome.DELIVERED and back.node == (fate.translated_by or sender)


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


def _decide(world: World, packet: Packet, hop: Hop) -> Fate | _Step:
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


def _forward(world: World, node: str, packet: Packet, way: tuple[Interface, IPAddress]) -> Fate | _Step:
    """Hand a packet on as any router does (RFC 1812, 5.3.1 and 4.2.3.2; RFC 8200, 3)."""
    out, next_hop = way
    if packet.ttl <= 1:
        return _error(world, node, packet, "ttl-exceeded")
    if packet.size > out.mtu:
        return _error(world, node, packet, "frag-needed")
    to = world.owner(out.lan, next_hop)
    if to is None:
        return Fate(Outcome.SILENT, node, packet, unresolved=True)
    return _Step(replace(packet, ttl=packet.ttl - 1), Hop(out, to))


def _error(world: World, node: str, packet: Packet, error: str) -> Fate:
    """End in an ICMP error, which comes from the address that its sender has towards the source."""
    way = world.way(node, packet.source)
    source = _address_towards(*way) if way else None
    return Fate(Outcome.REJECTED, node, packet, error=error, error_from=source)


def _address_towards(out: Interface, next_hop: IPAddress) -> IPAddress | None:
    """Return the address that a node uses on an interface, if it is beyond doubt."""
    own = out.on_link(next_hop)
    candidates = [a for a in out.addresses if a.version == next_hop.version]
    if own and (family_of(own).version == 4 or len(candidates) == 1):
        return own.ip
    return candidates[0].ip if len(candidates) == 1 else None


source_towards = _address_towards


def _host(world: World, host: Host, packet: Packet, hop: Hop) -> Fate | _Step:
    into = hop.to
    if into.network and not world.properties[into.network.mode].presence:
        return Fate(Outcome.SILENT, host.name, packet)
    forwarded = _by_forward(world, host, packet, into)
    if forwarded:
        return forwarded
    if packet.destination in world.own_addresses[host.name]:
        return _local(world, host, packet, hop)
    way = world.way(host.name, packet.destination)
    if into.network is None and not world.forwards_for(into):
        return Fate(Outcome.SILENT, host.name, packet)
    if way is None:
        if into.network:
            return _refusal(world, host.name, packet, into.network)
        return Fate(Outcome.SILENT, host.name, packet)
    if not _permitted(world, into, way[0], packet):
        step = _forward(world, host.name, packet, way)
        early = isinstance(step, Fate) and step.error in ("ttl-exceeded", "frag-needed")
        return step if early and isinstance(step, Fate) else _denied(world, packet, into, way[0])
    step = _forward(world, host.name, packet, way)
    if isinstance(step, Fate) or packet.answer:
        return step
    return _translate(world, step, into)


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
    allowed = _may_begin(world, into, out, packet)
    return allowed or (packet.answer and _may_begin(world, out, into, packet))


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


def _translate(world: World, step: _Step, into: Interface) -> _Step:
    """Give a packet that leaves a private network by its uplink the uplink's address."""
    network = into.network
    leaves = step.hop.by.network is None
    if not (network and leaves) or world.properties[network.mode].public:
        return step
    source = _address_towards(step.hop.by, next_hop_address(step))
    fallback = step.hop.by.address(family_of(step.packet.destination))
    address = source or (fallback.ip if fallback else step.packet.source)
    return replace(step, packet=replace(step.packet, source=address), translated=True)


def next_hop_address(step: _Step) -> IPAddress:
    """Return the address, of the packet's family, that the next frame was resolved for."""
    if any(step.packet.destination == a.ip for a in step.hop.to.addresses):
        return step.packet.destination
    family = family_of(step.packet.destination)
    on_link = [a.ip for a in step.hop.to.addresses if family_of(a) is family and step.hop.by.on_link(a.ip)]
    return on_link[0] if on_link else step.packet.destination


def _by_forward(world: World, host: Host, packet: Packet, into: Interface) -> _Step | None:
    """Hand a packet to a forwarded port to its VM."""
    for network in host.networks.values():
        inside = into.network is network and not network.port_isolation
        uplink = host.nics.get(network.uplink)
        if uplink is None or not (inside or (into.network is None and into.nic == uplink.name)):
            continue
        if packet.answer or all(packet.destination != a.ip for a in uplink.addresses):
            continue
        for forward in network.forwards:
            if (forward.protocol, forward.port) == (packet.protocol, packet.port):
                return _to_vm(world, network, packet, forward.to, forward.to_port, inside)
    return None


def _to_vm(world: World, network: Network, packet: Packet, vm: str, port: int, inside: bool) -> _Step | None:
    target = next(i for i in world.interfaces[vm] if i.network is network)
    side = next(i for i in world.interfaces[network.host] if i.network is network)
    family = family_of(packet.destination)
    address, own = target.address(family), side.address(family)
    if address is None or own is None:
        return None
    changed = replace(
        packet,
        destination=address.ip,
        port=port,
        ttl=packet.ttl - 1,
        source=own.ip if inside else packet.source,
    )
    return _Step(changed, Hop(side, target), translated=inside)
