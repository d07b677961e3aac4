"""A hypervisor host's station: packets through its own kernel, so routing, filters and NAT have
their say.

What a host received is what its raw IP sockets get: they are served after the input hooks, while a
packet socket sees frames before every filter.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from functools import partial
from struct import Struct, pack
from typing import TYPE_CHECKING

from vnetlab.probe.counters import has_carrier
from vnetlab.probe.flight import ELSEWHERE
from vnetlab.probe.greetings import announcements
from vnetlab.probe.neighbours import Neighbours
from vnetlab.probe.posts import DONTWAIT, HEADERS, Capture, Notes, Readers, concern, enlarge
from vnetlab.probe.raw import RawSender

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnetlab.probe.batch import Batch
    from vnetlab.probe.flight import Shot, Sighting, Station
    from vnetlab.probe.frames import Frames
    from vnetlab.probe.posts import Refused
    from vnetlab.probe.reading import Reader

IP_PKTINFO = 8
ANCILLARY_BYTES = 128
V4 = (socket.IPPROTO_ICMP, socket.IPPROTO_TCP, socket.IPPROTO_UDP)
V6 = (socket.IPPROTO_ICMPV6, socket.IPPROTO_TCP, socket.IPPROTO_UDP)
ANYWHERE4, ANYWHERE6 = bytes(4), bytes(16)
_INT = Struct("@i").unpack_from


class HostPost:
    """A hypervisor host: raw IP sockets, and packet sockets at its devices where frames are asked
    for.
    """

    def __init__(
        self,
        station: Station,
        index: int,
        frames: Frames,
        reader: Reader,
        notes: Notes,
        routed: list[Shot],
    ) -> None:
        """Open every socket, inside the namespace; its kernel routes some shots. Raises OSError."""
        self._index = index
        self._frames = frames
        self._reader = reader
        self._notes = notes
        self._points = station.points
        self._devices = {label: p.device for p in station.points for label in p.labels}
        self._captures: dict[str, Capture] = {}
        with ExitStack() as stack:
            self._receivers4 = [stack.enter_context(_receiver4(p)) for p in V4]
            self._receivers6 = [(stack.enter_context(_receiver6(p)), p) for p in V6]
            self._labels = {socket.if_nametoindex("lo"): "lo"}
            for point in station.points:
                device = socket.if_nametoindex(point.device)
                self._labels[device] = point.labels[0]
                for member in _members([g for name, g in station.groups if name == point.device], device):
                    stack.enter_context(member)
            self._sender = RawSender((s, self._devices.get(s.nic, "")) for s in routed)
            stack.callback(self._sender.close)
            program = concern(station, frames.nonce)
            for point in station.points if station.captures else ():
                capture = Capture(point, program, index, notes.inbox, filtered=True)
                stack.callback(capture.socket.close)
                self._captures[point.device] = capture
            self._senders = {p.device: stack.enter_context(_frame_sender(p.device)) for p in self._points}
            self._neighbours = Neighbours()
            stack.callback(self._neighbours.close)
            self._stack = stack.pop_all()

    def send(self, number: int, shot: Shot) -> None:
        """Send a shot: as frames where it names a MAC, else as a packet of the host's own."""
        device = self._devices.get(shot.nic, "")
        if shot.mac:
            capture = self._captures[device]
            for frame in self._frames.frames(number, shot, capture.point.mac):
                capture.socket.send(frame)
            return
        source = self._sender.source(shot, device)
        if not shot.source:
            self._notes.sources.append((number, source))
        for packet in self._frames.packets(number, shot, source):
            self._sender.send(packet, shot, device)

    def transmit(self, nic: str, frames: Batch, start: int, stop: int) -> Refused:
        """Send frames of a batch out of a device; return what is not taken."""
        return frames.send(self._senders[self._devices[nic]].fileno(), start, stop)

    def announce(self, *, widely: bool) -> None:
        """Say on each segment where the host is."""
        for point in self._points:
            # A device without carrier, such as a bridge without VMs, would count it as dropped.
            sender = self._senders[point.device]
            heard = point.announces and has_carrier(sender, point.device)
            for frame in announcements(point, widely=widely) if heard else ():
                sender.send(frame)

    def readers(self) -> Readers:
        """Return the raw sockets and captures."""
        found: Readers = [(c.socket.fileno(), c.read) for c in self._captures.values()]
        found += [(sock.fileno(), partial(self._read4, sock)) for sock in self._receivers4]
        found += [(s.fileno(), partial(self._read6, s, proto)) for s, proto in self._receivers6]
        return found

    def _read4(self, sock: socket.socket) -> None:
        """Raw IPv4 sockets give the whole packet, its header included (raw(7))."""
        try:
            while True:
                data, ancillary, _, _ = sock.recvmsg(HEADERS, ANCILLARY_BYTES, DONTWAIT)
                label = self._labels.get(_INT(ancillary[0][2])[0], ELSEWHERE) if ancillary else ELSEWHERE
                self._note(self._reader.packet4(data, self._index, label))
        except BlockingIOError:
            return

    def _read6(self, sock: socket.socket, protocol: int) -> None:
        """Raw IPv6 sockets give what follows the header, and its fields on request (RFC 3542)."""
        try:
            while True:
                data, ancillary, _, sender = sock.recvmsg(HEADERS, ANCILLARY_BYTES, DONTWAIT)
                label, ttl, destination = ELSEWHERE, 0, ANYWHERE6
                for _, kind, value in ancillary:
                    if kind == socket.IPV6_HOPLIMIT:
                        ttl = _INT(value)[0]
                    elif kind == socket.IPV6_PKTINFO:
                        destination = value[:16]
                        label = self._labels.get(_INT(value, 16)[0], ELSEWHERE)
                source = socket.inet_pton(socket.AF_INET6, sender[0].partition("%")[0])
                self._note(self._reader.packet6(protocol, data, self._index, label, source, destination, ttl))
        except BlockingIOError:
            return

    def _note(self, sighting: Sighting | None) -> None:
        if sighting is not None:
            self._notes.inbox.note(sighting)

    def lost(self) -> int:
        """Return how many frames were captured but lost."""
        return sum(capture.lost() for capture in self._captures.values())

    def forget(self, *, unanswered: bool = False) -> None:
        """Forget whom the kernel resolved."""
        self._neighbours.forget(unanswered=unanswered)

    def give_up(self, addresses: frozenset[bytes]) -> None:
        """Go on asking: a host asks for others too, and would tell them at once that there is nobody."""

    def close(self) -> None:
        """Close every socket."""
        self._stack.close()


def _frame_sender(device: str) -> socket.socket:
    """Open a packet socket that sends by a device and receives nothing: of no protocol (packet(7))."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((device, 0))
    return sock


def _receiver4(protocol: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
    enlarge(sock)
    sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    return sock


def _receiver6(protocol: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol)
    enlarge(sock)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    return sock


def _members(groups: Iterable[bytes], device: int) -> Iterator[socket.socket]:
    """Yield sockets that keep a device in the groups (`ip_mreqn` of ip(7), `ipv6_mreq` of
    ipv6(7)).
    """
    for group in groups:
        family = socket.AF_INET if len(group) == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_DGRAM)
        yield sock
        if family == socket.AF_INET:
            request = group + ANYWHERE4 + pack("@i", device)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        else:
            request = group + pack("@I", device)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
