"""Promises about the way itself: errors of its routers come back, fragments pass, flows stay apart."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.guarantees import Guarantee, Outcome, Special
from vnetlab.modes.journey import travel
from vnetlab.modes.packet import Packet
from vnetlab.modes.pairs import first_hop
from vnetlab.modes.promise import ANSWERED, ECHO, SINK, UDP, Label, from_fate, own_address, promised
from vnetlab.modes.scopes import label, outsiders, ports_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.promise import Kind
    from vnetlab.modes.world import Hop, Interface, World
    from vnetlab.topology.model import IPAddress, Network

_FRAGMENTED_SIZE = 3000
_SHARED_SOURCE_PORT = 49404


def way_errors(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that time-exceeded and fragmentation-needed errors from the way come back to the VM."""
    sender = next(iter(ports_of(world, network)), None)
    if sender is None:
        return
    for target in world.interfaces.values():
        if target[0].node not in world.topology.machines:
            continue
        for address in target[0].addresses:
            hop, special = first_hop(world, sender.node, target[0], address.ip)
            source = own_address(hop.by, address.ip, hop) if hop else None
            if hop is None or source is None or special is not Special.NONE or hop.by.network is not network:
                continue
            packet = Packet(source, address.ip)
            yield from _expiring(world, network, target[0], hop, packet)
            yield from _too_big(world, network, target[0], hop, packet)


def _expiring(
    world: World, network: Network, target: Interface, hop: Hop, packet: Packet
) -> Iterator[Guarantee]:
    about = label(network, "ttl-exceeded", "routers on the way answer a spent TTL, and the VM hears it")
    whole = travel(world, packet, hop)
    if whole.outcome is not Outcome.DELIVERED:
        return
    for ttl, _ in enumerate(whole.crossed, start=1):
        short = replace(packet, ttl=ttl)
        for kind in (ECHO, SINK):
            guarantee = promised(world, about, target.node, hop, short, kind, Special.TTL)
            if guarantee:
                yield guarantee


def _too_big(
    world: World, network: Network, target: Interface, hop: Hop, packet: Packet
) -> Iterator[Guarantee]:
    big = replace(packet, size=hop.by.mtu)
    fate = travel(world, big, hop)
    small = travel(world, packet, hop)
    if small.outcome is not Outcome.DELIVERED:
        return
    if fate.error == "frag-needed":
        about = label(network, "fragmentation-needed", "path MTU discovery works (RFC 1191, RFC 8201)")
        yield from_fate(world, about, target.node, hop, big, SINK, fate, Special.FRAG_NEEDED)
        if packet.destination.version == 6:
            return  # only the source fragments in IPv6 (RFC 8200, 5), and it learns the path's MTU as above
    about = label(network, "fragments", "a datagram in fragments arrives and is answered")
    whole = replace(packet, size=_FRAGMENTED_SIZE)
    yield from_fate(world, about, target.node, hop, whole, UDP, small, Special.FRAGMENTS)


def same_port(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that two VMs may use one source port and one ICMP id towards one destination at once."""
    about = label(network, "same-port", "two VMs with one source port each get their own answer")
    for first, second in list(pairwise(ports_of(world, network)))[:1]:
        for target in outsiders(world, network)[:1]:
            for address in target.addresses:
                for sender in (first, second):
                    for kind in ANSWERED:
                        yield from _shared(world, about, sender, target, address.ip, kind)


def _shared(
    world: World, about: Label, sender: Interface, target: Interface, address: IPAddress, kind: Kind
) -> Iterator[Guarantee]:
    hop, special = first_hop(world, sender.node, target, address)
    source = own_address(hop.by, address, hop) if hop else None
    if hop is None or source is None or special is not Special.NONE:
        return
    packet = Packet(source, address)
    guarantee = promised(world, about, target.node, hop, packet, kind, Special.SAME_PORT)
    if guarantee:
        yield replace(guarantee, flow=replace(guarantee.flow, source_port=_SHARED_SOURCE_PORT))
