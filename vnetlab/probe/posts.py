"""Stations manned: the sockets of each role, how they send a shot, and how they read what arrives.

Everything is opened while inside the station's namespace and used from outside of it: a socket
stays in the namespace that it was made in.
"""

from __future__ import annotations

import socket
from pathlib import Path
from struct import unpack_from
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field

from vnetlab.probe import filters
from vnetlab.probe.frames import CONTROL_ETHERTYPE, Frames
from vnetlab.probe.greetings import announcements
from vnetlab.probe.inbox import Inbox, Place
from vnetlab.probe.neighbours import Neighbours
from vnetlab.probe.raw import RawSender

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.probe.batch import Batch
    from vnetlab.probe.flight import Point, Shot, Station
    from vnetlab.probe.reading import Reader

ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_STATISTICS, PACKET_QDISC_BYPASS, PACKET_IGNORE_OUTGOING = 6, 20, 23
SO_RCVBUFFORCE = 33
RECEIVE_BYTES = 4 << 20
HEADERS = 512
"""Bytes read of each packet: every header, and every header in a quote."""
DONTWAIT = socket.MSG_DONTWAIT


class Notes(Struct):
    """What the wire writes down while it flies."""

    inbox: Inbox
    sources: list[tuple[int, bytes]] = field(default_factory=list)


Refused = list[tuple[int, OSError]]
"""Numbers of frames in a batch that a kernel did not take, and why."""

Readers = list[tuple[int, "Callable[[], None]"]]
"""Descriptors and what to call when they have something to read."""


class Post(Protocol):
    """A manned station."""

    def send(self, number: int, shot: Shot) -> None:
        """Send a shot. Raises OSError where the kernel does not take it."""

    def transmit(self, nic: str, frames: Batch, start: int, stop: int) -> Refused:
        """Send frames of a batch out of a NIC; return the number of each that is not taken, and why."""

    def announce(self, *, widely: bool) -> None:
        """Tell bridges where the NICs are of which everybody is told so, or those of which only some are."""

    def readers(self) -> Readers:
        """Return what to wait for."""

    def lost(self) -> int:
        """Return how many captured packets the kernel had no room for, since last asked."""

    def forget(self, *, unanswered: bool = False) -> None:
        """Forget whom the station's kernel resolved; ``unanswered``: and for whom it asks just now."""

    def give_up(self, addresses: frozenset[bytes]) -> None:
        """Stop the station's kernel from asking for addresses that nobody has."""

    def close(self) -> None:
        """Close every socket."""


def enlarge(sock: socket.socket) -> None:
    """Give a socket the largest receive buffer allowed; in a user namespace ``rmem_max`` is the
    limit.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)


FORWARDING = ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding")


def packet_socket(device: str, program: list[filters.Instruction]) -> socket.socket:
    """Open a packet socket for what a device receives; bound only once its filter is in place."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        enlarge(sock)
        filters.attach(sock, program)
        sock.bind((device, ETH_P_ALL))
    except OSError:
        sock.close()
        raise
    return sock


def concern(station: Station, nonce: int) -> list[filters.Instruction]:
    """Return the program by which a station's captures take what its verdicts may ask for."""
    return [*filters.broadcasts_for(station.wide, nonce), *filters.questions_for(station.asked)]


class Capture:
    """Frames in and out of one device."""

    def __init__(
        self,
        point: Point,
        program: list[filters.Instruction],
        station: int,
        inbox: Inbox,
        *,
        filtered: bool = False,
    ) -> None:
        """Open it, inside the namespace; ``filtered`` says that the device is a host's. Raises OSError.

        A host's frames are captured before its filters, so they show no delivery. Only answers to ARP and ND
        are taken as they are: no other socket ever sees those. The program says what is of no concern.
        """
        self.point = point
        self.socket = packet_socket(point.device, program)
        self._inbox = inbox
        self._place = inbox.place(Place(station, point.labels[0], point.mac, filtered))

    def read(self) -> None:
        """Write down everything that waits in the socket. Raises OSError."""
        self._inbox.receive(self.socket.fileno(), self._place)

    def lost(self) -> int:
        """Return how many frames found the socket's buffer full, since last asked."""
        raw = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return int(unpack_from("@II", raw)[1])


class MachinePost:
    """A VM or machine in a namespace: frames by its NICs, everything else by its own kernel."""

    def __init__(
        self, station: Station, index: int, frames: Frames, notes: Notes, routed: list[Shot]
    ) -> None:
        """Open every socket, inside the namespace; its kernel routes some shots. Raises OSError."""
        self._frames = frames
        self._notes = notes
        self._captures: dict[str, Capture] = {}
        self._neighbours = Neighbours()
        self._forwards = any(Path(key).read_text(encoding="ascii").strip() != "0" for key in FORWARDING)
        devices = {point.labels[0]: point.device for point in station.points}
        self._sender = RawSender((s, devices.get(s.nic, "")) for s in routed)
        program = concern(station, frames.nonce)
        try:
            for point in station.points:
                capture = Capture(point, program, index, notes.inbox)
                self._captures[point.labels[0]] = capture
        except OSError:
            self.close()
            raise

    def send(self, number: int, shot: Shot) -> None:
        """Send a shot as frames, or through the kernel where it names no MAC. Raises OSError."""
        if not shot.mac:
            device = self._captures[shot.nic].point.device if shot.nic else ""
            source = self._sender.source(shot, device)
            if not shot.source:
                self._notes.sources.append((number, source))
            for packet in self._frames.packets(number, shot, source):
                self._sender.send(packet, shot, device)
            return
        capture = self._captures[shot.nic]
        for frame in self._frames.frames(number, shot, capture.point.mac):
            capture.socket.send(frame)

    def transmit(self, nic: str, frames: Batch, start: int, stop: int) -> Refused:
        """Send frames of a batch out of a NIC; return what is not taken."""
        return frames.send(self._captures[nic].socket.fileno(), start, stop)

    def announce(self, *, widely: bool) -> None:
        """Say on each NIC where it is."""
        for capture in self._captures.values():
            for frame in announcements(capture.point, widely=widely):
                capture.socket.send(frame)

    def readers(self) -> Readers:
        """Return the captures."""
        return [(c.socket.fileno(), c.read) for c in self._captures.values()]

    def lost(self) -> int:
        """Return how many frames were captured but lost."""
        return sum(capture.lost() for capture in self._captures.values())

    def forget(self, *, unanswered: bool = False) -> None:
        """Forget whom the kernel resolved."""
        self._neighbours.forget(unanswered=unanswered)

    def give_up(self, addresses: frozenset[bytes]) -> None:
        """Stop asking for addresses that nobody has.

        A router goes on: it asks for others, and would tell them at once that there is nobody.
        """
        if not self._forwards:
            self._neighbours.give_up(addresses)

    def close(self) -> None:
        """Close every socket."""
        self._neighbours.close()
        self._sender.close()
        for capture in self._captures.values():
            capture.socket.close()


class PortsPost:
    """The far ends of NICs in one namespace, for control frames."""

    def __init__(self, station: Station, index: int, frames: Frames, reader: Reader, notes: Notes) -> None:
        self._index = index
        self._frames = frames
        self._reader = reader
        self._notes = notes
        self._macs = {point.device: point.mac for point in station.points}
        # Of all devices at once: bind() takes one only. And of this one protocol: a bridge hands frames for
        # its group to the port's own stack, where one that nobody takes counts as dropped.
        ethertype = int.from_bytes(CONTROL_ETHERTYPE, "big")
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        # past the filters of the port: the control is about the NIC behind it
        self._socket.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)

    def send(self, number: int, shot: Shot) -> None:
        """Send a control frame out of a port. Raises OSError."""
        for frame in self._frames.frames(number, shot, self._macs[shot.nic]):
            self._socket.sendto(frame, (shot.nic, 0))

    def transmit(self, nic: str, frames: Batch, start: int, stop: int) -> Refused:
        """Send frames of a batch out of a port; return what is not taken."""
        refused: Refused = []
        for number in range(start, stop):
            try:
                self._socket.sendto(frames.packets[number].tobytes(), (nic, 0))
            except OSError as error:
                refused.append((number, error))
        return refused

    def announce(self, *, widely: bool) -> None:
        """Ports announce nothing."""

    def readers(self) -> Readers:
        """Return the capture."""
        return [(self._socket.fileno(), self._read)]

    def _read(self) -> None:
        try:
            while True:
                data, address = self._socket.recvfrom(HEADERS, DONTWAIT)
                sighting = self._reader.frame(data, self._index, address[0], b"")
                if sighting is not None:
                    self._notes.inbox.note(sighting)
        except BlockingIOError:
            return

    def lost(self) -> int:
        """Return how many frames were captured but lost."""
        raw = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return int(unpack_from("@II", raw)[1])

    def forget(self, *, unanswered: bool = False) -> None:
        """Ports resolve nobody."""

    def give_up(self, addresses: frozenset[bytes]) -> None:
        """Ports ask for nobody."""

    def close(self) -> None:
        """Close the capture."""
        self._socket.close()
