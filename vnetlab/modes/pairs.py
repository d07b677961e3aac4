"""Guarantees of an ordered pair of endpoints: resolution, echo, TCP, UDP with and without answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.guarantees import Flow, Guarantee, Outcome, Protocol, Seen, Special
from vnetlab.modes.journey import travel
from vnetlab.modes.labels import label_for
from vnetlab.modes.packet import Packet
from vnetlab.modes.promise import every_kind, own_address
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Family, family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.packet import Fate
    from vnetlab.modes.promise import Label
    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import IPAddress

BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"


def promises_of_pair(world: World, source: str, destination: str) -> Iterator[Guarantee]:
    """Yield what is promised of flows from one node to another, for each address of the other."""
    for interface in world.interfaces[destination]:
        for address in interface.addresses:
            yield from _to_address(world, source, interface, address.ip)


def _to_address(world: World, source: str, target: Interface, address: IPAddress) -> Iterator[Guarantee]:
    for own in world.interfaces[source]:
        if own.lan == target.lan:
            yield from _resolution(world, own, target, address)
    hop, special = first_hop(world, source, target, address)
    if hop is None:
        return
    sender = own_address(hop.by, address, hop)
    if sender is None:
        return
    label = label_for(world, hop.by, target)
    yield from every_kind(world, label, target.node, hop, Packet(sender, address), special)


def first_hop(world: World, source: str, target: Interface, address: IPAddress) -> tuple[Hop | None, Special]:
    """Return the first frame by which a sender tries to reach an address.

    By its own routes where they lead somewhere that decides; else straight at the host that stands before
    the destination, or at its own host: as a sender does that adds a route or neighbour of its own.
    """
    natural = world.hop(source, address)
    gate = _gate(world, source, target, address)
    if natural is None:
        return gate, Special.CRAFTED
    sender = own_address(natural.by, address, natural)
    if sender is None:
        return gate, Special.CRAFTED
    fate = travel(world, Packet(sender, address), natural)
    if gate and not _decides(fate, target, gate):
        return gate, Special.CRAFTED
    return natural, Special.NONE


def _decides(fate: Fate, target: Interface, gate: Hop) -> bool:
    """Whether the natural journey says something about the destination."""
    if fate.outcome is Outcome.DELIVERED:
        return fate.node == target.node
    return not fate.unresolved and (gate.to.node in fate.crossed or gate.to.node == fate.node)


def _gate(world: World, source: str, target: Interface, address: IPAddress) -> Hop | None:
    """Return the frame that puts the question to the host that must answer it."""
    family = family_of(address)
    for own in world.interfaces[source]:
        if own.port and own.network and own.network.lan.host and own.address(family):
            host_side = next(i for i in world.on_lan[own.lan] if not i.port)
            return Hop(own, host_side)
    guard = target.network.host if target.network else target.node
    for own in world.interfaces[source]:
        if not own.address(family) or own.lan.host:
            continue
        for side in world.interfaces.get(guard, ()):
            if guard in world.topology.hosts and side.lan == own.lan and guard != source:
                return Hop(own, side)
    return None


def _resolution(world: World, own: Interface, target: Interface, address: IPAddress) -> Iterator[Guarantee]:
    """Yield the ARP or ND question between two interfaces of one broadcast domain."""
    mine = own.on_link(address)
    if mine is None:
        return
    isolated = (
        (own.port and target.port and own.network is target.network)
        and own.network is not None
        and own.network.port_isolation
    )
    yield resolution(
        label_for(world, own, target),
        own,
        target.node,
        mine.ip,
        address,
        Outcome.SILENT if isolated else Outcome.DELIVERED,
        mac=target.mac,
    )


def solicited_group(address: IPAddress) -> str:
    """Return the MAC of the group by which an IPv6 address is asked for (RFC 2464, 7; RFC 4291, 2.7.1)."""
    return "33:33:ff:" + ":".join(f"{byte:02x}" for byte in address.packed[-3:])


def resolution(
    label: Label,
    own: Interface,
    destination: str,
    source: IPAddress,
    address: IPAddress,
    expected: Outcome,
    mac: str = "",
) -> Guarantee:
    """Return the promise about one ARP request (RFC 826) or neighbour solicitation (RFC 4861, 7.2)."""
    family = family_of(address)
    group = BROADCAST_MAC
    if family is Family.IPV6:
        group = solicited_group(address)
    delivered = expected is Outcome.DELIVERED
    return Guarantee(
        id=label.id,
        mode=label.mode,
        network=label.network_name,
        source=own.node,
        destination=destination,
        flow=Flow(
            family,
            Protocol.RESOLUTION,
            address,
            source,
            out_nic=own.nic,
            next_hop_mac=group,
            ttl=255,
        ),
        expected=expected,
        promise=label.promise,
        seen=Seen(source_mac=mac) if delivered else None,
        answered=delivered,
    )


def host_to_isolated(world: World) -> Iterator[Guarantee]:
    """Yield that no frame of a host gets into its isolated networks."""
    for host in world.topology.hosts:
        for side in world.interfaces.get(host, ()):
            if side.network is None or world.properties[side.network.mode].presence:
                continue
            for target in world.on_lan[side.lan]:
                if not target.port:
                    continue
                for address in target.addresses:
                    yield from _from_nowhere(world, side, target, address.ip)


def _from_nowhere(
    world: World, side: Interface, target: Interface, address: IPAddress
) -> Iterator[Guarantee]:
    own = world.own_addresses[side.node]
    source = next((a for a in sorted(own, key=str) if a.version == address.version), None)
    if source is None:
        return
    label = label_for(world, side, target)
    packet = Packet(source, address)
    yield from every_kind(world, label, target.node, Hop(side, target), packet, Special.CRAFTED)
