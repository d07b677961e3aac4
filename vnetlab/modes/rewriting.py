"""What hosts change in a packet: the source where it leaves a private network, a forward's destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.modes.packet import Step
from vnetlab.modes.world import Hop
from vnetlab.topology.model import family_of

if TYPE_CHECKING:
    from vnetlab.modes.packet import Packet
    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import Host, IPAddress, Network


def source_towards(out: Interface, next_hop: IPAddress) -> IPAddress | None:
    """Return the address that a node uses on an interface, if it is beyond doubt."""
    own = out.on_link(next_hop)
    candidates = [a for a in out.addresses if a.version == next_hop.version]
    if own and (family_of(own).version == 4 or len(candidates) == 1):
        return own.ip
    return candidates[0].ip if len(candidates) == 1 else None


def translate(world: World, step: Step, into: Interface) -> Step:
    """Give a packet that leaves a private network by its uplink the uplink's address."""
    network = into.network
    leaves = step.hop.by.network is None
    if not (network and leaves) or world.properties[network.mode].public:
        return step
    source = source_towards(step.hop.by, _next_hop_address(step))
    fallback = step.hop.by.address(family_of(step.packet.destination))
    address = source or (fallback.ip if fallback else step.packet.source)
    return replace(step, packet=replace(step.packet, source=address), translated=True)


def _next_hop_address(step: Step) -> IPAddress:
    """Return the address, of the packet's family, that the next frame was resolved for."""
    if any(step.packet.destination == a.ip for a in step.hop.to.addresses):
        return step.packet.destination
    family = family_of(step.packet.destination)
    on_link = [a.ip for a in step.hop.to.addresses if family_of(a) is family and step.hop.by.on_link(a.ip)]
    return on_link[0] if on_link else step.packet.destination


def by_forward(world: World, host: Host, packet: Packet, into: Interface) -> Step | None:
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


def _to_vm(world: World, network: Network, packet: Packet, vm: str, port: int, inside: bool) -> Step | None:
    target = next(i for i in world.interfaces[vm] if i.network is network)
    side = next(i for i in world.interfaces[network.host] if i.network is network)
    family = family_of(packet.destination)
    address, own = target.address(family), side.address(family)
    if address is None or own is None:
        return None
    # A VM on several networks may answer by another one of them: it has to see an address on this one.
    hidden = inside or len(world.interfaces[vm]) > 1
    changed = replace(
        packet,
        destination=address.ip,
        port=port,
        ttl=packet.ttl - 1,
        source=own.ip if hidden else packet.source,
    )
    return Step(changed, Hop(side, target), translated=hidden, handed=True)
