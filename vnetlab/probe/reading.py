"""From captured bytes to sightings: which shot is this, and is it the shot, its answer, or an
error about it?

Everything here runs once per packet while others wait, so it unpacks fields in place and makes no
objects but the sighting. What carries no tag of this flight is nobody's and is passed over.
"""

from __future__ import annotations

from struct import Struct, error
from typing import TYPE_CHECKING

import numpy as np

from vnetlab.probe.columns import Shots
from vnetlab.probe.flight import Kind, Shot, Sighting, What
from vnetlab.probe.frames import (
    ANSWER,
    ARP_ETHERTYPE,
    CONTROL_ETHERTYPE,
    ETHERTYPES,
    NUMBER,
)
from vnetlab.probe.shape import DHCP6_TAG, DHCP_TAG

if TYPE_CHECKING:
    from collections.abc import Sequence

IP4, IP6 = ETHERTYPES[4], ETHERTYPES[6]
ICMP, TCP, UDP, ICMP6, FRAGMENT = 1, 6, 17, 58, 44
TCP_FLAGS, SYN, FIN = 0x17, 0x02, 0x01  # the first: ACK, RST, SYN and FIN (RFC 9293 section 3.1)

_H = Struct("!H").unpack_from
_HH = Struct("!HH").unpack_from
_II = Struct("!II").unpack_from
_UDP = Struct("!HHHHII").unpack_from
_TCP = Struct("!HHIIBB").unpack_from
_DHCP_TAGS = {67: 8 + DHCP_TAG, 547: 8 + DHCP6_TAG}
DHCP_PORTS = tuple(_DHCP_TAGS)
_ERRORS = {4: (3, 11, 12), 6: (1, 2, 3, 4)}

# shot, what, source port, destination port, icmp, quoted address, quoted port
Found = tuple[int, int, int, int, int, bytes, int]


class Reader:
    """Knows the shots of one flight by what `frames.Frames` of the same nonce wrote into them."""

    def __init__(self, nonce: int, shots: Sequence[Shot], macs: dict[tuple[str, str], bytes]) -> None:
        self._nonce = nonce
        self._nonce_bytes = nonce.to_bytes(4, "big")
        self._count = len(shots)
        rows = Shots.of(shots)
        asks = np.flatnonzero(np.isin(rows.rows["kind"], (Kind.ARP, Kind.NS)))
        self._questions = {
            (macs.get((shot.station, shot.nic), b""), shot.source, shot.destination): number
            for number in asks.tolist()
            for shot in (rows[number],)
        }

    def frame(self, data: bytes, station: int, nic: str, mac: bytes) -> Sighting | None:
        """Read an Ethernet frame captured at a NIC of the given MAC."""
        kind = data[12:14]
        addressed = data[:6] == mac or bool(data[0] & 1)
        try:
            if kind == IP4:
                return self.ip4(data, 14, station, nic, data[6:12], addressed)
            if kind == IP6:
                return self._ip6(data, station, nic, addressed)
            if kind == ARP_ETHERTYPE:
                return self._arp(data, station, nic, addressed)
            if kind == CONTROL_ETHERTYPE:
                return self._control(data, station, nic, addressed)
        except (error, IndexError):
            return None  # shorter than its own headers claim: nothing that the flight sent
        return None

    def ip4(
        self, data: bytes, at: int, station: int, nic: str, mac: bytes, addressed: bool
    ) -> Sighting | None:
        """Read an IPv4 packet that begins at offset ``at``."""
        if _H(data, at + 6)[0] & 0x1FFF:
            return None  # the first fragment has the tag
        start = at + (data[at] & 15) * 4
        found = self._transport(data[at + 9], data, start, 4)
        if found is None:
            return None
        shot, what, sport, dport, icmp, quoted, quoted_port = found
        return Sighting(
            shot, station, what, nic, addressed, data[at + 12 : at + 16], data[at + 16 : at + 20],
            mac, data[at + 8], sport, dport, icmp, quoted, quoted_port,
        )  # fmt: skip

    def packet4(self, data: bytes, station: int, nic: str) -> Sighting | None:
        """Read what a raw IPv4 socket gives."""
        try:
            return self.ip4(data, 0, station, nic, b"", True)
        except (error, IndexError):
            return None

    def packet6(
        self, protocol: int, data: bytes, station: int, nic: str,
        source: bytes, destination: bytes, ttl: int,
    ) -> Sighting | None:  # fmt: skip
        """Read what a raw IPv6 socket gives: the packet from its transport header on."""
        try:
            return self.ip6(protocol, data, 0, station, nic, b"", True, source, destination, ttl)
        except (error, IndexError):
            return None

    def _ip6(self, data: bytes, station: int, nic: str, addressed: bool) -> Sighting | None:
        protocol, start = data[20], 54
        if protocol == FRAGMENT:
            if _H(data, 56)[0] & 0xFFF8:
                return None
            protocol, start = data[54], 62
        source, destination, mac = data[22:38], data[38:54], data[6:12]
        if protocol == ICMP6 and 134 <= data[start] <= 136:
            return self._neighbour(data, start, station, nic, addressed)
        return self.ip6(protocol, data, start, station, nic, mac, addressed, source, destination, data[21])

    def ip6(
        self, protocol: int, data: bytes, start: int, station: int, nic: str, mac: bytes,
        addressed: bool, source: bytes, destination: bytes, ttl: int,
    ) -> Sighting | None:  # fmt: skip
        """Read an IPv6 packet whose transport header begins at ``start``."""
        found = self._transport(protocol, data, start, 6)
        if found is None:
            return None
        shot, what, sport, dport, icmp, quoted, quoted_port = found
        return Sighting(
            shot, station, what, nic, addressed, source, destination,
            mac, ttl, sport, dport, icmp, quoted, quoted_port,
        )  # fmt: skip

    def _transport(self, protocol: int, data: bytes, at: int, version: int) -> Found | None:
        if protocol == UDP:
            return self._udp(data, at)
        if protocol == TCP:
            return self._tcp(data, at)
        if protocol == (ICMP if version == 4 else ICMP6):
            return self._icmp(data, at, version)
        return None

    def _udp(self, data: bytes, at: int) -> Found | None:
        sport, dport, _, _, nonce, tag = _UDP(data, at)
        if nonce != self._nonce and dport in _DHCP_TAGS:
            nonce, tag = _II(data, at + _DHCP_TAGS[dport])
        number = tag & NUMBER
        if nonce != self._nonce or number >= self._count:
            return None
        what = What.ANSWER if tag & ANSWER else What.REQUEST
        return number, what, sport, dport, 0, b"", 0

    def _tcp(self, data: bytes, at: int) -> Found | None:
        sport, dport, sequence, acknowledged, _, flags = _TCP(data, at)
        kind = flags & TCP_FLAGS
        if kind in (SYN, FIN):
            number, what = (sequence - self._nonce) & 0xFFFF_FFFF, What.REQUEST
        elif kind in (0x12, 0x14):
            number = (acknowledged - 1 - self._nonce) & 0xFFFF_FFFF
            what = What.ANSWER if kind == 0x12 else What.RESET
        else:
            return None
        return (number, what, sport, dport, 0, b"", 0) if number < self._count else None

    def _icmp(self, data: bytes, at: int, version: int) -> Found | None:
        kind = data[at]
        if kind in _ERRORS[version]:
            return self._quote(data, at, version)
        request, answer = (8, 0) if version == 4 else (128, 129)
        if kind not in (request, answer):
            return None
        nonce, number = _II(data, at + 8)
        if nonce != self._nonce or number >= self._count:
            return None
        what = What.REQUEST if kind == request else What.ANSWER
        return number, what, _H(data, at + 4)[0], 0, 0, b"", 0

    def _quote(self, data: bytes, at: int, version: int) -> Found | None:
        """Read the packet that an ICMP error quotes (RFC 792, RFC 4443 section 3)."""
        inner = at + 8
        if version == 4:
            start, protocol = inner + (data[inner] & 15) * 4, data[inner + 9]
            source = data[inner + 12 : inner + 16]
        else:
            start, protocol, source = inner + 40, data[inner + 6], data[inner + 8 : inner + 24]
            if protocol == FRAGMENT:
                start, protocol = start + 8, data[start]
        if protocol == TCP:
            if data[start + 13 : start + 14] and data[start + 13] & TCP_FLAGS not in (SYN, FIN):
                return None  # likewise: a reset that answers an answer has the next shot's number
            number, port = self._quoted_syn(data, start), _H(data, start)[0]
        else:
            found = self._transport(protocol, data, start, version)
            if found is None or found[1] != What.REQUEST:
                return None  # an error about an answer is no error about the shot
            number, port = found[0], found[2]
        if number >= self._count:
            return None
        return number, What.ERROR, 0, 0, _H(data, at)[0], source, port

    def _quoted_syn(self, data: bytes, at: int) -> int:
        """Return the number in a quoted sequence number; quotes may end after 8 transport bytes."""
        return (int(_II(data, at)[1]) - self._nonce) & 0xFFFF_FFFF

    def _arp(self, data: bytes, station: int, nic: str, addressed: bool) -> Sighting | None:
        """Read ARP (RFC 826): offsets 22 sender MAC, 28 sender, 32 target MAC, 38 target."""
        sender, target = data[28:32], data[38:42]
        if data[21] == 1:
            number, what = self._questions.get((data[22:28], sender, target)), What.REQUEST
        else:
            number, what = self._questions.get((data[32:38], target, sender)), What.ANSWER
        if number is None:
            return None
        return Sighting(number, station, what, nic, addressed, sender, target, data[22:28], 0)

    def _neighbour(self, data: bytes, at: int, station: int, nic: str, addressed: bool) -> Sighting | None:
        source, destination, mac = data[22:38], data[38:54], data[6:12]
        what = What.REQUEST
        if data[at] == 134:
            number = self._advertised(data, at)
        elif data[at] == 135:
            number = self._questions.get((mac, source, data[at + 8 : at + 24]))
        else:
            target = data[at + 8 : at + 24]
            number = self._questions.get((data[:6], destination, target))
            source, what = target, What.ANSWER
            mac = data[at + 26 : at + 32] if data[at + 24 : at + 26] == b"\x02\x01" else mac
        if number is None:
            return None
        return Sighting(number, station, what, nic, addressed, source, destination, mac, data[21])

    def _advertised(self, data: bytes, at: int) -> int | None:
        prefix = data[at + 32 : at + 40]
        if prefix[:1] != b"\xfd" or prefix[1:5] != self._nonce_bytes:
            return None
        number = int.from_bytes(prefix[5:8], "big")
        return number if number < self._count else None

    def _control(self, data: bytes, station: int, nic: str, addressed: bool) -> Sighting | None:
        nonce, number = _II(data, 14)
        if nonce != self._nonce or number >= self._count:
            return None
        return Sighting(number, station, What.REQUEST, nic, addressed, b"", b"", data[6:12], 0)
