"""The guest: the machine behind a tap, for as long as the probe holds the tap's other end.

It answers what a machine with these addresses answers, and nothing else: ARP, neighbour solicitations, echo,
TCP connects and UDP, for frames that its NIC takes. Answers are addressed to the MAC that asked; where the
guest's routes lead out of another NIC, `tap` sends them there.
"""

from __future__ import annotations

from struct import pack, unpack_from
from typing import TYPE_CHECKING, NamedTuple

from vnetlab.probe.exits import way_out
from vnetlab.probe.frames import ANSWER, ARP_ETHERTYPE, ETHERTYPES, WANTED, advertisement, finish

if TYPE_CHECKING:
    from vnetlab.probe.flight import Exit

ICMP, TCP, UDP, ICMP6, FRAGMENT = 1, 6, 17, 58, 44
CHECKSUM_AT = {ICMP: 2, TCP: 16, UDP: 6, ICMP6: 2}
MOST_REASSEMBLIES = 256
QUOTED_BYTES = 500
"""Of the packet in an ICMP error: all of it fits 576 bytes (RFC 1812 section 4.3.2.3)."""


class Packet(NamedTuple):
    """An IP packet taken apart."""

    source: bytes
    destination: bytes
    protocol: int
    body: bytes
    whole: bytes


class Guest:
    """One NIC of the guest. Pure: a frame in, frames out."""

    def __init__(
        self,
        mac: bytes,
        resolved: tuple[bytes, ...],
        addresses: tuple[bytes, ...],
        exits: tuple[Exit, ...],
        open_ports: frozenset[tuple[int, int]],
        nonce: int,
    ) -> None:
        """Take the NIC's own addresses, all of the guest's, and pairs of IP protocol and open
        port.
        """
        self._mac = mac
        self._resolved = resolved
        self._addresses = addresses
        self._exits = exits
        self._open = open_ports
        self._nonce = nonce
        self._pieces: dict[tuple[bytes, bytes, int, int], dict[int, tuple[bytes, bool]]] = {}

    def answers(self, frame: bytes) -> list[bytes]:
        """Return the frames that the guest answers a frame with, mostly one or none."""
        if frame[:6] != self._mac and not frame[0] & 1:
            return []
        kind, asker = frame[12:14], frame[6:12]
        if kind == ARP_ETHERTYPE:
            return self._arp(frame)
        if kind == ETHERTYPES[4] and len(frame) >= 34:
            packet = self._packet4(frame[14:])
        elif kind == ETHERTYPES[6] and len(frame) >= 54:
            packet = self._packet6(frame[14:])
        else:
            return []
        if packet is None or len(packet.body) < 8:
            return []
        if packet.protocol == ICMP6 and packet.body[0] == 135:
            return self._solicited(packet, asker)
        if packet.destination not in self._addresses or not way_out(self._exits, packet.source):
            return []
        return [asker + self._mac + answer for answer in self._served(packet)]

    def _arp(self, frame: bytes) -> list[bytes]:
        if len(frame) < 42 or frame[21] != 1 or frame[38:42] not in self._resolved:
            return []
        asker = frame[22:28]
        body = bytes.fromhex("0001080006040002") + self._mac + frame[38:42] + frame[22:32]
        return [asker + self._mac + ARP_ETHERTYPE + body]

    def _solicited(self, packet: Packet, asker: bytes) -> list[bytes]:
        target = packet.body[8:24]
        if target not in self._resolved or not any(packet.source):
            return []
        return [advertisement(self._mac, target, asker, packet.source, solicited=True)]

    def _packet4(self, data: bytes) -> Packet | None:
        head = (data[0] & 15) * 4
        length, identifier, flags = unpack_from("!HHH", data, 2)
        source, destination, protocol = data[12:16], data[16:20], data[9]
        body = data[head:length]
        if flags & 0x3FFF:
            key = (source, destination, identifier, protocol)
            return self._reassembled(key, (flags & 0x1FFF) << 3, body, bool(flags & 0x2000), data)
        return Packet(source, destination, protocol, body, data[:length])

    def _packet6(self, data: bytes) -> Packet | None:
        source, destination, protocol = data[8:24], data[24:40], data[6]
        length = 40 + unpack_from("!H", data, 4)[0]
        body = data[40:length]
        if protocol == FRAGMENT and len(body) >= 8:
            offset, identifier = unpack_from("!HI", body, 2)
            key = (source, destination, identifier, body[0])
            return self._reassembled(key, offset & 0xFFF8, body[8:], bool(offset & 1), data)
        return Packet(source, destination, protocol, body, data[:length])

    def _reassembled(
        self, key: tuple[bytes, bytes, int, int], at: int, piece: bytes, more: bool, whole: bytes
    ) -> Packet | None:
        if key not in self._pieces and len(self._pieces) >= MOST_REASSEMBLIES:
            self._pieces.pop(next(iter(self._pieces)))
        pieces = self._pieces.setdefault(key, {})
        pieces[at] = (piece, more)
        body = b""
        while len(body) in pieces:
            part, more = pieces[len(body)]
            body += part
            if not more:
                del self._pieces[key]
                return Packet(key[0], key[1], key[3], body, whole)
            if not part:
                return None
        return None

    def _served(self, packet: Packet) -> list[bytes]:
        if packet.protocol == UDP:
            return self._udp(packet)
        if packet.protocol == TCP and len(packet.body) >= 20:
            return self._tcp(packet)
        request, reply = (8, 0) if packet.protocol == ICMP else (128, 129)
        if packet.protocol in (ICMP, ICMP6) and packet.body[0] == request:
            return [self._reply(packet, packet.protocol, bytes([reply]) + packet.body[1:])]
        return []

    def _udp(self, packet: Packet) -> list[bytes]:
        source, destination = unpack_from("!HH", packet.body)
        if (UDP, destination) not in self._open:
            return [self._unreachable(packet)]
        answer = udp_answer(packet.body[8:], self._nonce)
        if answer is None:
            return []
        header = pack("!HHHH", destination, source, 8 + len(answer), 0)
        return [self._reply(packet, UDP, header + answer)]

    def _tcp(self, packet: Packet) -> list[bytes]:
        source, destination, sequence, _, _, flags = unpack_from("!HHIIBB", packet.body)
        if flags & 0x17 != 0x02:
            return []
        flags = 0x12 if (TCP, destination) in self._open else 0x14
        acknowledged = (sequence + 1) & 0xFFFF_FFFF
        ours = 1 if flags == 0x12 else 0
        body = pack("!HHIIBBHHH", destination, source, ours, acknowledged, 0x50, flags, 0, 0, 0)
        return [self._reply(packet, TCP, body)]

    def _unreachable(self, packet: Packet) -> bytes:
        """Return port unreachable (RFC 792, RFC 4443 section 3.1)."""
        quote = packet.whole[:QUOTED_BYTES]
        if len(packet.source) == 4:
            return self._reply(packet, ICMP, bytes([3, 3, 0, 0, 0, 0, 0, 0]) + quote)
        return self._reply(packet, ICMP6, bytes([1, 4, 0, 0, 0, 0, 0, 0]) + quote)

    def _reply(self, packet: Packet, protocol: int, body: bytes) -> bytes:
        """Return ethertype and IP packet back to where a packet came from."""
        if len(packet.source) == 4:
            head = pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, protocol, 0)
            at, ethertype = 20, ETHERTYPES[4]
        else:
            head, at = pack("!IHBB", 6 << 28, len(body), protocol, 64), 40
            ethertype = ETHERTYPES[6]
        reply = bytearray(head + packet.destination + packet.source + body)
        finish(reply, protocol, at, at + CHECKSUM_AT[protocol])
        return ethertype + reply


def udp_answer(payload: bytes, nonce: int) -> bytes | None:
    """Return the payload that answers a tagged one; None where it asks for no answer, or is not
    ours.
    """
    if len(payload) < 8:
        return None
    flight, tag = unpack_from("!II", payload)
    if flight != nonce or tag & ANSWER or not tag & WANTED:
        return None
    return pack("!II", flight, (tag & ~WANTED) | ANSWER)
