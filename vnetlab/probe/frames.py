"""Shots as bytes: Scapy's templates with addresses, ports, tag and checksums filled in.

A shot is known again wherever it turns up, NAT or not: by 8 bytes of payload (UDP, echo, DHCP), by
its sequence number (TCP, whose SYN-ACK and RST acknowledge it plus one), or by a prefix nobody
else has (router advertisements). ARP and neighbour solicitations carry nothing of one's own: who
asks for what tells them.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from vnetlab.probe.flight import Kind, Shot

if TYPE_CHECKING:
    from vnetlab.probe.shape import Template

ANSWER = 0x8000_0000
"""Flag of the tag's second word: this is the answer to the shot."""
WANTED = 0x4000_0000
"""Flag: whoever has the port open is asked for an answer."""
NUMBER = 0x3FFF_FFFF

CONTROL_ETHERTYPE = b"\x88\xb5"
"""Local experimental ethertype 1 (IEEE 802)."""
ETHERTYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
ARP_ETHERTYPE = b"\x08\x06"
LINK_LOCAL = b"\xfe\x80" + bytes(6)

FRAGMENT_BYTES = 1280
"""Largest fragment: every IPv6 link carries it (RFC 8200 section 5), and no router may cut it smaller."""
FIRST_PORT, PORTS = 32768, 28000
"""Source ports (and echo identifiers) of flows that name none."""

_H = Struct("!H").pack_into
_HH = Struct("!HH").pack_into
_II = Struct("!II").pack_into
_I = Struct("!I").pack_into


def checksum(data: bytes | bytearray, start: int = 0) -> int:
    """Return the Internet checksum (RFC 1071) of ``data``, added to the sum ``start``.

    The ones' complement sum of 16-bit words is the remainder of the whole number modulo 65535.
    """
    number = int.from_bytes(data, "big")
    if len(data) & 1:
        number <<= 8
    return 0xFFFF - (number + start) % 0xFFFF


def finish(packet: bytearray, protocol: int, transport: int, at: int) -> None:
    """Fill in the checksums of an IP packet: the IPv4 header's, and the transport's at offset
    ``at``.
    """
    if packet[0] >> 4 == 4:
        _H(packet, 10, 0)
        _H(packet, 10, checksum(packet[:transport]))
        addresses = int.from_bytes(packet[12:20], "big")
        pseudo = 0 if protocol == 1 else addresses + protocol + len(packet) - transport
    else:
        pseudo = int.from_bytes(packet[8:40], "big") + protocol + len(packet) - transport
    _H(packet, at, 0)
    _H(packet, at, checksum(packet[transport:], pseudo))


class Frames:
    """The builder of one flight, which ``nonce`` (32 bits) tells from all others."""

    def __init__(self, nonce: int) -> None:
        self.nonce = nonce
        # Scapy takes a quarter of a second to import, and only who builds packets needs it
        from vnetlab.probe.templates import make_template

        self._make_template = make_template
        self._templates: dict[tuple[Kind, int, int], Template] = {}

    def frames(self, number: int, shot: Shot, source_mac: bytes) -> list[bytes]:
        """Return the Ethernet frames of a shot that leaves by a NIC of the given MAC."""
        if shot.kind is Kind.ARP:
            return [shot.mac + source_mac + ARP_ETHERTYPE + self._arp(shot, source_mac)]
        if shot.kind is Kind.CONTROL:
            payload = bytearray(46)
            _II(payload, 0, self.nonce, number)
            return [shot.mac + source_mac + CONTROL_ETHERTYPE + payload]
        header = shot.mac + source_mac + ETHERTYPES[shot.version]
        packets = self.packets(number, shot, shot.source, source_mac)
        return [header + packet for packet in packets]

    def packets(self, number: int, shot: Shot, source: bytes, source_mac: bytes = bytes(6)) -> list[bytes]:
        """Return the IP packets of a shot, more than one only where it is to go in fragments."""
        template = self.template(shot.kind, shot.version, shot.size)
        packet = bytearray(template.data)
        if shot.version == 4:
            packet[12:20] = source + shot.destination
            packet[8] = shot.ttl
        else:
            packet[8:40] = source + shot.destination
            packet[7] = shot.ttl
        _FILL[shot.kind](self, packet, template, number, shot, source_mac)
        finish(packet, template.protocol, template.transport, template.checksum)
        if shot.fragments:
            return fragments(bytes(packet), number)
        return [bytes(packet)]

    def prefix(self, number: int) -> bytes:
        """Return the 8 bytes of the prefix that a router advertisement announces."""
        return b"\xfd" + self.nonce.to_bytes(4, "big") + number.to_bytes(3, "big")

    def router(self, number: int, shot: Shot) -> bytes:
        """Return the link-local address that a router advertisement comes from."""
        if shot.source[:8] == LINK_LOCAL:
            return shot.source
        return LINK_LOCAL + self.prefix(number)

    def template(self, kind: Kind, version: int, size: int) -> Template:
        """Return the mould of a shape."""
        key = (kind, version, size)
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = self._make_template(*key)
        return template

    def _arp(self, shot: Shot, source_mac: bytes) -> bytes:
        packet = bytearray(self.template(shot.kind, shot.version, shot.size).data)
        packet[8:18] = source_mac + shot.source
        packet[24:28] = shot.destination
        return bytes(packet)

    def _fill_ports(
        self, packet: bytearray, template: Template, number: int, shot: Shot, source_mac: bytes
    ) -> None:
        source_port = shot.source_port or FIRST_PORT + number % PORTS
        _HH(packet, template.transport, source_port, shot.destination_port)
        if shot.kind in (Kind.TCP, Kind.FIN):
            _I(packet, template.tag, (self.nonce + number) & 0xFFFF_FFFF)
        else:
            _II(packet, template.tag, self.nonce, number | (WANTED if shot.wants_answer else 0))

    def _fill_echo(
        self, packet: bytearray, template: Template, number: int, shot: Shot, source_mac: bytes
    ) -> None:
        identifier = shot.source_port or FIRST_PORT + number % PORTS
        _HH(packet, template.transport + 4, identifier, number & 0xFFFF)
        _II(packet, template.tag, self.nonce, number)

    def _fill_dhcp(
        self, packet: bytearray, template: Template, number: int, shot: Shot, source_mac: bytes
    ) -> None:
        if shot.version == 4:
            bootp = template.transport + 8
            _I(packet, bootp + 4, number)
            packet[bootp + 28 : bootp + 34] = source_mac
        _II(packet, template.tag, self.nonce, number)

    def _fill_solicitation(
        self, packet: bytearray, template: Template, number: int, shot: Shot, source_mac: bytes
    ) -> None:
        packet[24:40] = bytes.fromhex("ff0200000000000000000001ff") + shot.destination[-3:]
        packet[48:64] = shot.destination
        packet[66:72] = source_mac

    def _fill_advertisement(
        self, packet: bytearray, template: Template, number: int, shot: Shot, source_mac: bytes
    ) -> None:
        packet[8:24] = self.router(number, shot)
        packet[72:80] = self.prefix(number)
        packet[-6:] = source_mac


_FILL = {
    Kind.UDP: Frames._fill_ports,
    Kind.TCP: Frames._fill_ports,
    Kind.FIN: Frames._fill_ports,
    Kind.ICMP: Frames._fill_echo,
    Kind.DHCP: Frames._fill_dhcp,
    Kind.NS: Frames._fill_solicitation,
    Kind.RA: Frames._fill_advertisement,
}


def fragments(packet: bytes, identifier: int) -> list[bytes]:
    """Cut an IP packet into at least two fragments that fit the MTU (RFC 791, RFC 8200 section
    4.5).
    """
    v4 = packet[0] >> 4 == 4
    head, room = (20, FRAGMENT_BYTES - 20) if v4 else (40, FRAGMENT_BYTES - 48)
    body = packet[head:]
    step = min(room, (len(body) + 1) // 2 + 7) & ~7
    pieces = [(at, body[at : at + step]) for at in range(0, len(body), step)]
    make = _fragment4 if v4 else _fragment6
    return [make(packet[:head], at, piece, at + step < len(body), identifier) for at, piece in pieces]


def _fragment4(head: bytes, at: int, piece: bytes, more: bool, identifier: int) -> bytes:
    header = bytearray(head)
    _HH(header, 2, 20 + len(piece), (identifier & 0xFFFF) or 1)
    _H(header, 6, at >> 3 | (0x2000 if more else 0))
    _H(header, 10, 0)
    _H(header, 10, checksum(header))
    return bytes(header) + piece


def _fragment6(head: bytes, at: int, piece: bytes, more: bool, identifier: int) -> bytes:
    header = bytearray(head)
    _H(header, 4, 8 + len(piece))
    extension = bytearray(8)
    extension[0], header[6] = header[6], 44
    _H(extension, 2, at | more)
    _I(extension, 4, identifier)
    return bytes(header + extension) + piece


def gratuitous(mac: bytes, address: bytes, to: bytes = b"") -> bytes:
    """Return the frame by which a NIC tells all bridges where it is: ARP for itself, or an
    unsolicited NA.

    By one to a single MAC, the bridges on the way are told.

    Nobody answers it, and nobody makes a neighbour entry of it by default (``arp_accept`` and
    ``accept_untracked_na`` in the kernel's ip-sysctl document).
    """
    if len(address) == 4:
        body = bytes.fromhex("0001080006040001") + mac + address + bytes(6) + address
        return (to or b"\xff" * 6) + mac + ARP_ETHERTYPE + body
    return advertisement(mac, address, to or b"\x33\x33\x00\x00\x00\x01", _ALL_NODES, solicited=False)


_ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")


def advertisement(mac: bytes, address: bytes, to_mac: bytes, to: bytes, *, solicited: bool) -> bytes:
    """Return a neighbour advertisement frame for ``address`` at ``mac`` (RFC 4861 section 4.4)."""
    flags = 0x60 if solicited else 0x20
    body = bytes([136, 0, 0, 0, flags, 0, 0, 0]) + address + b"\x02\x01" + mac
    packet = bytearray(b"\x60\x00\x00\x00" + len(body).to_bytes(2, "big") + b"\x3a\xff")
    packet += address + to + body
    finish(packet, 58, 40, 42)
    return to_mac + mac + ETHERTYPES[6] + packet
