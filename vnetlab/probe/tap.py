"""The station of a VM behind a tap: the probe opens the tap and lets `guest.Guest` be the
machine.
"""

from __future__ import annotations

import errno
import os
import time
from functools import partial
from typing import TYPE_CHECKING

from vnetlab.kernel.tap import attach
from vnetlab.probe.bridging import is_forwarding
from vnetlab.probe.exits import way_out
from vnetlab.probe.frames import ETHERTYPES, Frames
from vnetlab.probe.greetings import announcements
from vnetlab.probe.guest import ICMP6, TCP, UDP, Guest

if TYPE_CHECKING:
    from vnetlab.probe.batch import Batch
    from vnetlab.probe.flight import Listener, Point, Shot, Station
    from vnetlab.probe.posts import Notes, Readers, Refused
    from vnetlab.probe.reading import Reader

FRAME_BYTES = 65_550
READY_SECONDS = 5.0
ADVERTISED = 136
"""ICMPv6 type of a neighbour advertisement (RFC 4861 section 4.4)."""
_DESTINATIONS = {ETHERTYPES[4]: (30, 4), ETHERTYPES[6]: (38, 16)}
"""Offset and length of the destination in a frame, by ethertype."""
_PROTOCOLS = {"tcp": TCP, "udp": UDP}


class GuestPost:
    """A tap VM, played by the guest."""

    def __init__(
        self,
        station: Station,
        index: int,
        frames: Frames,
        reader: Reader,
        notes: Notes,
        listeners: tuple[Listener, ...],
    ) -> None:
        """Open the taps and wait until their ports forward. Raises OSError."""
        self._index = index
        self._frames = frames
        self._reader = reader
        self._notes = notes
        self._taps: dict[str, tuple[int, Point, Guest]] = {}
        self._exits = station.exits
        self._macs = {(nic, address): mac for nic, address, mac in station.neighbours}
        open_ports = frozenset(
            (_PROTOCOLS[one.protocol], one.port) for one in listeners if one.station == station.name
        )
        every = tuple(a for point in station.points for a in point.addresses)
        try:
            for point in station.points:
                guest = Guest(point.mac, point.addresses, every, station.exits, open_ports, frames.nonce)
                self._taps[point.labels[0]] = (attach(point.device), point, guest)
            for point in station.points:
                _wait_forwarding(point.device)
        except OSError:
            self.close()
            raise

    def send(self, number: int, shot: Shot) -> None:
        """Send a shot as frames. Raises OSError; ENETUNREACH where it names nobody to send to."""
        if not shot.mac:
            raise OSError(errno.ENETUNREACH, "the guest has no next hop for it")
        descriptor, point, _ = self._taps[shot.nic]
        for frame in self._frames.frames(number, shot, point.mac):
            os.write(descriptor, frame)

    def transmit(self, nic: str, frames: Batch, start: int, stop: int) -> Refused:
        """Send frames of a batch out of a NIC; return what is not taken."""
        refused: Refused = []
        for number in range(start, stop):
            try:
                os.write(self._taps[nic][0], frames.packets[number].tobytes())
            except OSError as error:
                refused.append((number, error))
        return refused

    def announce(self, *, widely: bool) -> None:
        """Say on each NIC where it is."""
        for descriptor, point, _ in self._taps.values():
            for frame in announcements(point, widely=widely):
                os.write(descriptor, frame)

    def readers(self) -> Readers:
        """Return the taps."""
        return [(tap[0], partial(self._read, label, *tap)) for label, tap in self._taps.items()]

    def _read(self, label: str, descriptor: int, point: Point, guest: Guest) -> None:
        try:
            while True:
                frame = os.read(descriptor, FRAME_BYTES)
                sighting = self._reader.frame(frame, self._index, label, point.mac)
                if sighting is not None:
                    self._notes.inbox.note(sighting)
                for answer in guest.answers(frame):
                    self._leave(label, answer)
        except BlockingIOError:
            return

    def _leave(self, label: str, answer: bytes) -> None:
        """Send an answer by the NIC that the guest's routes say, or back where its question came from.

        ARP and neighbour advertisements belong to the link of the question.
        """
        at, size = _DESTINATIONS.get(answer[12:14], (0, 0))
        out = way_out(self._exits, answer[at : at + size]) if size and self._macs else None
        if out is None or out.nic == label or (answer[20] == ICMP6 and answer[54] == ADVERTISED):
            os.write(self._taps[label][0], answer)
            return
        mac = out.mac or self._macs.get((out.nic, answer[at : at + size]))
        if mac:
            descriptor, point, _ = self._taps[out.nic]
            os.write(descriptor, mac + point.mac + answer[12:])

    def lost(self) -> int:
        """Return nothing: a tap's losses are counted by its device."""
        return 0

    def forget(self, *, unanswered: bool = False) -> None:
        """Nothing to forget: the guest answers to where a question came from."""

    def give_up(self, addresses: frozenset[bytes]) -> None:
        """Nothing to give up: the guest asks for nobody."""

    def close(self) -> None:
        """Let go of the taps."""
        for descriptor, _, _ in self._taps.values():
            os.close(descriptor)


def _wait_forwarding(device: str) -> None:
    """Wait until a port forwards, on the bridge's own word. Raises OSError (ETIMEDOUT)."""
    deadline = time.monotonic() + READY_SECONDS
    while not is_forwarding(device):
        if time.monotonic() > deadline:
            raise OSError(errno.ETIMEDOUT, f"bridge port {device} does not forward")
        time.sleep(0.002)
