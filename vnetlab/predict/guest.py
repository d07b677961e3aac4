"""The machine behind a tap, which the State knows nothing of: it answers as the probe's guest does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vnetlab.predict import replies
from vnetlab.predict.packet import SOLICITATION, Arp, Frame, Packet, Role
from vnetlab.predict.walk import Arrival

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.predict.walk import Walk


@dataclass(frozen=True, slots=True)
class Guest:
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
    prefixes: tuple[tuple[int, int, int], ...]
    """Version, network and length of every prefix that it has a route to."""

    def routes(self, version: int, address: int) -> bool:
        """Tell whether it has a route to an address."""
        bits = 32 if version == 4 else 128
        return any(
            v == version and (network ^ address) >> (bits - length) == 0
            for v, network, length in self.prefixes
        )


def answers(walk: Walk, guest: Guest, frame: Frame) -> Iterator[Frame]:
    """Write down a frame's arrival at a guest; yield the frames that it answers with."""
    addressed = frame.destination == guest.mac or frame.is_group
    payload = frame.payload
    walk.arrivals.append(Arrival(guest.node, guest.device, False, addressed, frame.source, payload))
    if not addressed:
        return
    if isinstance(payload, Arp):
        if payload.operation == 1 and (4, payload.target) in guest.resolved:
            answer = Arp(2, guest.mac, payload.target, payload.sender_mac, payload.sender)
            yield Frame(guest.mac, payload.sender_mac, answer)
        return
    reply = _reply(walk, guest, payload)
    if reply is not None:
        yield Frame(guest.mac, frame.source, reply)


def _reply(walk: Walk, guest: Guest, packet: Packet) -> Packet | None:
    if packet.kind == SOLICITATION and packet.version == 6:
        if (6, packet.target) not in guest.resolved or not packet.source:
            return None
        return replies.advertisement(packet)
    mine = (packet.version, packet.destination) in guest.addresses
    if packet.role is not Role.REQUEST or not mine or not guest.routes(packet.version, packet.source):
        return None
    return replies.reply_to(walk.world, guest.node, packet)
