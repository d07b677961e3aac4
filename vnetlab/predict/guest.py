"""The machine behind a tap, which the State knows nothing of: it answers as the probe's guest does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.predict import replies
from vnetlab.predict.packet import ADVERTISEMENT, SOLICITATION, Arp, Frame, Packet, Role
from vnetlab.predict.walk import Arrival

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vnetlab.predict.walk import Walk


class Exit(Struct, frozen=True):
    """A subnet or route of a guest."""

    version: int
    network: int
    length: int
    device: str
    """The tap of the NIC that it leads out of."""
    mac: str
    """Of that NIC."""
    next_hop: str
    """MAC of the next hop; empty where the prefix is on the link."""
    neighbours: Mapping[int, str]
    """MAC by address of those on that NIC's link."""


class Guest(Struct, frozen=True):
    """A VM's NIC behind a tap."""

    node: str
    host: str
    """Namespace of the tap."""
    device: str
    """The tap."""
    mac: str
    resolved: frozenset[tuple[int, int]]
    """Version and number of each address that it answers ARP or ND for."""
    addresses: frozenset[tuple[int, int]]
    """Those that it takes packets for: of all its NICs."""
    exits: tuple[Exit, ...]
    """Its own subnets and routes."""

    def way(self, version: int, address: int) -> Exit | None:
        """Return the exit that its routes give for an address."""
        bits = 32 if version == 4 else 128
        fitting = (
            e for e in self.exits if e.version == version and (e.network ^ address) >> (bits - e.length) == 0
        )
        return max(fitting, key=lambda e: e.length, default=None)


def answers(walk: Walk, guest: Guest, frame: Frame) -> Iterator[tuple[str, Frame]]:
    """Write down a frame's arrival at a guest; yield its answers, with the tap that each leaves by."""
    addressed = frame.destination == guest.mac or frame.is_group
    payload = frame.payload
    walk.arrivals.append(
        Arrival(guest.node, guest.device, False, addressed, frame.source, payload, len(walk.hops))
    )
    if not addressed:
        return
    if isinstance(payload, Arp):
        if payload.operation == 1 and (4, payload.target) in guest.resolved:
            answer = Arp(2, guest.mac, payload.target, payload.sender_mac, payload.sender)
            yield guest.device, Frame(guest.mac, payload.sender_mac, answer)
        return
    reply = _reply(walk, guest, payload)
    way = guest.way(reply.version, reply.destination) if reply else None
    if reply is None:
        return
    if way is None or way.device == guest.device or reply.kind == ADVERTISEMENT:
        yield guest.device, Frame(guest.mac, frame.source, reply)
        return
    next_hop = way.next_hop or way.neighbours.get(reply.destination, "")
    if next_hop:
        yield way.device, Frame(way.mac, next_hop, reply)


def _reply(walk: Walk, guest: Guest, packet: Packet) -> Packet | None:
    if packet.kind == SOLICITATION and packet.version == 6:
        if (6, packet.target) not in guest.resolved or not packet.source:
            return None
        return replies.advertisement(packet)
    mine = (packet.version, packet.destination) in guest.addresses
    if packet.role is not Role.REQUEST or not mine or not guest.way(packet.version, packet.source):
        return None
    return replies.reply_to(walk.world, guest.node, packet)
