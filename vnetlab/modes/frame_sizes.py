"""Promises that every link carries what its MTU says, both ways, at every NIC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.guarantees import Guarantee, Outcome, Special
from vnetlab.modes.journey import travel
from vnetlab.modes.packet import Packet
from vnetlab.modes.promise import SINK, Label, from_fate
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.world import Interface, World


def full_size(world: World) -> Iterator[Guarantee]:
    """Yield that a packet of a link's whole MTU passes from and to every NIC."""
    for interfaces in world.on_lan.values():
        # one behind a bridge of a host, if there is one
        partners = sorted(interfaces, key=lambda i: i.node not in world.topology.hosts)
        for own in interfaces:
            other = next((i for i in partners if _talks(own, i)), None)
            if other:
                yield from _between(world, own, other)
                yield from _between(world, other, own)


def _talks(own: Interface, other: Interface) -> bool:
    """Tell whether another interface on the link is one to exchange packets with."""
    isolated = own.network is not None and own.network.port_isolation
    if own.node == other.node or (isolated and other.port and other.network is own.network):
        return False
    return any(own.address(family) and other.address(family) for family in Family)


def _between(world: World, source: Interface, target: Interface) -> Iterator[Guarantee]:
    about = Label(
        "link.full-size", "a link carries packets of its whole MTU", source.network or target.network
    )
    for family in Family:
        mine, there = source.address(family), target.address(family)
        if mine is None or there is None:
            continue
        packet = Packet(mine.ip, there.ip, size=min(source.mtu, target.mtu))
        hop = Hop(source, target)
        fate = travel(world, packet, hop)
        if fate.outcome is Outcome.DELIVERED and fate.node == target.node:
            guarantee = from_fate(world, about, target.node, hop, packet, SINK, fate, Special.NONE)
            yield replace(guarantee, answered=False)
        return
