"""What captures read, gathered and read at once: the numpy side of `reading`.

Packets of the plain shapes are taken apart by columns. Whatever else arrives (fragments, IP options, ICMP
errors, ARP, neighbour discovery, DHCP) goes to the Reader one by one: it is the meaning of all of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from vnetlab.probe import plain
from vnetlab.probe.batch import Arena
from vnetlab.probe.columns import SIGHTING, Names, rows_of
from vnetlab.probe.flight import Kind, Sighting, What

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vnetlab.probe.columns import Rows, Shots
    from vnetlab.probe.plain import Read
    from vnetlab.probe.reading import Reader

    Bytes = NDArray[np.uint8]

SLOTS = 8192


class Place(Struct, frozen=True):
    """Where a capture is."""

    station: int
    """Index into the flight's stations."""
    nic: str
    mac: bytes
    filtered: bool
    """Its frames are seen before the filters of a host: they show no delivery."""


class Inbox:
    """The sightings of a flight as they come in."""

    def __init__(self, reader: Reader, nonce: int, shots: Shots) -> None:
        self._reader = reader
        self._nonce = nonce
        self._shots = shots
        self._arena = Arena(SLOTS)
        self._segments: list[tuple[int, int]] = []
        self._places: list[Place] = []
        self._columns = np.zeros(0, [("station", "i4"), ("nic", "i4"), ("mac", "u1", 6), ("filtered", "?")])
        self._nics = Names()
        self._rows: list[Rows] = []
        self._single: list[Sighting] = []
        self.count = 0
        """How many packets have come in, of the flight or not."""

    def place(self, place: Place) -> int:
        """Make a place known; return its number."""
        self._places.append(place)
        return len(self._places) - 1

    def receive(self, descriptor: int, place: int) -> None:
        """Read everything that waits in a socket. Raises OSError."""
        while True:
            if self._arena.room < 64:
                self._read()
            room = self._arena.room
            got = self._arena.receive(descriptor)
            if got:
                self.count += got
                self._segments.append((place, got))
            if got < room:
                return

    def note(self, sighting: Sighting) -> None:
        """Write down what somebody else has read."""
        self.count += 1
        self._single.append(sighting)

    def sightings(self) -> tuple[Rows, tuple[str, ...]]:
        """Return everything seen so far, and the words that NICs are numbers of."""
        self._read()
        self._rows.append(rows_of(self._single, self._nics))
        self._single = []
        self._rows = [np.concatenate(self._rows)]
        return self._rows[0], tuple(self._nics.words)

    def _read(self) -> None:
        """Take all that is in the arena apart."""
        if not self._arena.used:
            return
        data, lengths = self._arena.data[: self._arena.used], self._arena.lengths
        numbers, counts = np.array(self._segments, np.int64).T
        places = np.repeat(numbers, counts)
        found, rest = plain.read(data, lengths, self._nonce, len(self._shots))
        self._rows += [self._rows_of(data, places, each) for each in found]
        for at in np.flatnonzero(rest).tolist():
            self._one(data[at, : lengths[at]].tobytes(), int(places[at]))
        self._segments = []
        self._arena.clear()

    def _one(self, frame: bytes, number: int) -> None:
        place = self._places[number]
        sighting = self._reader.frame(frame, place.station, place.nic, place.mac)
        if sighting is None:
            return
        if place.filtered:
            if sighting.what == What.REQUEST:
                sighting = sighting._replace(what=What.PASSED)
            elif self._shots.rows["kind"][sighting.shot] not in (Kind.ARP, Kind.NS):
                return
        self._single.append(sighting)

    def _rows_of(self, data: Bytes, places: NDArray[np.int64], found: Read) -> Rows:
        at, size = found.at, found.size
        data, where = data[found.packets], self._known_places()[places[found.packets]]
        rows = np.zeros(len(data), SIGHTING)
        rows["shot"], rows["what"] = found.shot, found.what
        rows["source_port"], rows["destination_port"] = found.source_port, found.destination_port
        rows["station"], rows["nic"] = where["station"], where["nic"]
        rows["addressed"] = (data[:, :6] == where["mac"]).all(1) | (data[:, 0] & 1).astype(np.bool_)
        rows["source"][:, :size] = data[:, at - 2 * size : at - size]
        rows["destination"][:, :size] = data[:, at - size : at]
        rows["source_size"] = rows["destination_size"] = size
        rows["mac"], rows["mac_size"] = data[:, 6:12], 6
        rows["ttl"] = data[:, 22 if size == 4 else 21]
        filtered = where["filtered"]
        if not filtered.any():
            return rows
        rows["what"][filtered & (rows["what"] == What.REQUEST)] = What.PASSED
        passed: Rows = rows[~filtered | (rows["what"] == What.PASSED)]
        return passed

    def _known_places(self) -> NDArray[Any]:
        if len(self._columns) < len(self._places):
            made = np.zeros(len(self._places), self._columns.dtype)
            for at, place in enumerate(self._places):
                mac = np.frombuffer(place.mac, np.uint8)
                made[at] = (place.station, self._nics.number(place.nic), mac, place.filtered)
            self._columns = made
        return self._columns
