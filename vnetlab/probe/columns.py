"""Shots and sightings by the hundred thousand: numpy rows that read like the values they stand for.

A row takes a tenth of the memory of an object, crosses a process border in one piece, and is compared with
thousands of others at once. Nobody else needs to know: both are sequences of `Shot` and `Sighting`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from vnetlab.probe.flight import Kind, Shot, Sighting

Rows = NDArray[Any]
Numbers = NDArray[np.int64]
ADDRESS = 16
"""Bytes that an address takes in a row; an IPv4 one is at the start of them."""

SHOT = np.dtype([
    ("station", "i4"), ("nic", "i4"), ("kind", "u1"), ("version", "u1"),
    ("mac", "u1", 6), ("mac_size", "u1"),
    ("source", "u1", ADDRESS), ("source_size", "u1"),
    ("destination", "u1", ADDRESS), ("destination_size", "u1"),
    ("source_port", "u2"), ("destination_port", "u2"), ("ttl", "u1"), ("size", "u2"),
    ("fragments", "?"), ("wants_answer", "?"),
])  # fmt: skip
SIGHTING = np.dtype([
    ("shot", "i4"), ("station", "i4"), ("what", "u1"), ("nic", "i4"), ("addressed", "?"),
    ("source", "u1", ADDRESS), ("source_size", "u1"),
    ("destination", "u1", ADDRESS), ("destination_size", "u1"),
    ("mac", "u1", 6), ("mac_size", "u1"),
    ("ttl", "u1"), ("source_port", "u2"), ("destination_port", "u2"), ("icmp", "u2"),
    ("quoted", "u1", ADDRESS), ("quoted_size", "u1"), ("quoted_port", "u2"),
])  # fmt: skip


def _plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a row type with bytes where another has arrays of them: such a row is one tuple of Python's."""
    parts = [(name, dtype[name]) for name in dtype.names or ()]
    return np.dtype([(name, f"V{part.itemsize}" if part.subdtype else part) for name, part in parts])


_PLAIN_SHOT, _PLAIN_SIGHTING = _plain(SHOT), _plain(SIGHTING)


class Names:
    """Words by number, each once, in the order in which they were first used."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.words: list[str] = []
        self._numbers: dict[str, int] = {}
        for word in words:
            self.number(word)

    def number(self, word: str) -> int:
        """Return the number of a word, a new one where it has none."""
        found = self._numbers.get(word)
        if found is None:
            found = self._numbers[word] = len(self.words)
            self.words.append(word)
        return found


class Shots(Sequence[Shot]):
    """The shots of a flight."""

    def __init__(self, rows: Rows, stations: Sequence[str], nics: Sequence[str]) -> None:
        """Take rows of `SHOT`, and the words that their stations and NICs are numbers of."""
        self.rows = rows
        self.stations = tuple(stations)
        self.nics = tuple(nics)

    @classmethod
    def of(cls, shots: Iterable[Shot]) -> Shots:
        """Return shots as rows; those that are rows already as they are."""
        if isinstance(shots, Shots):
            return shots
        found = tuple(shots)
        stations, nics = Names(), Names()
        rows = np.zeros(len(found), SHOT)
        for at, shot in enumerate(found):
            rows[at] = shot_row(shot, stations, nics)
        return cls(rows, stations.words, nics.words)

    def __add__(self, other: Iterable[Shot]) -> Shots:
        """Return these shots and others behind them."""
        more = Shots.of(other)
        stations, nics = Names(self.stations), Names(self.nics)
        rows = more.rows.copy()
        rows["station"] = np.array([stations.number(w) for w in more.stations], "i4")[rows["station"]]
        rows["nic"] = np.array([nics.number(w) for w in more.nics], "i4")[rows["nic"]]
        return Shots(np.concatenate([self.rows, rows]), stations.words, nics.words)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> Shot: ...
    @overload
    def __getitem__(self, at: slice) -> Shots: ...
    def __getitem__(self, at: int | slice) -> Shot | Shots:
        if isinstance(at, slice):
            return Shots(self.rows[at], self.stations, self.nics)
        (
            station, nic, kind, version, mac, mac_size, source, source_size, destination, destination_size,
            source_port, destination_port, ttl, size, fragments, wants_answer,
        ) = self.rows.view(_PLAIN_SHOT).item(at)  # fmt: skip
        return Shot(
            self.stations[station],
            Kind(kind),
            version,
            self.nics[nic],
            mac[:mac_size],
            source[:source_size],
            destination[:destination_size],
            source_port,
            destination_port,
            ttl,
            size,
            fragments,
            wants_answer,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(other) != len(self):
            return NotImplemented if not isinstance(other, Sequence) else False
        if isinstance(other, Shots) and (self.stations, self.nics) == (other.stations, other.nics):
            return self.rows.tobytes() == other.rows.tobytes()
        return all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class Sightings(Sequence[Sighting]):
    """What was seen on a flight."""

    def __init__(self, rows: Rows, nics: Sequence[str]) -> None:
        """Take rows of `SIGHTING`, and the words that their NICs are numbers of."""
        self.rows = rows
        self.nics = tuple(nics)

    @classmethod
    def of(cls, sightings: Iterable[Sighting]) -> Sightings:
        """Return sightings as rows; those that are rows already as they are."""
        if isinstance(sightings, Sightings):
            return sightings
        nics = Names()
        rows = rows_of(tuple(sightings), nics)
        return cls(rows, nics.words)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> Sighting: ...
    @overload
    def __getitem__(self, at: slice) -> Sightings: ...
    def __getitem__(self, at: int | slice) -> Sighting | Sightings:
        if isinstance(at, slice):
            return Sightings(self.rows[at], self.nics)
        (
            shot, station, what, nic, addressed, source, source_size, destination, destination_size,
            mac, mac_size, ttl, source_port, destination_port, icmp, quoted, quoted_size, quoted_port,
        ) = self.rows.view(_PLAIN_SIGHTING).item(at)  # fmt: skip
        return Sighting(
            shot,
            station,
            what,
            self.nics[nic],
            addressed,
            source[:source_size],
            destination[:destination_size],
            mac[:mac_size],
            ttl,
            source_port,
            destination_port,
            icmp,
            quoted[:quoted_size],
            quoted_port,
        )

    def __iter__(self) -> Iterator[Sighting]:
        return (self[at] for at in range(len(self)))


def rows_of(sightings: Sequence[Sighting], nics: Names) -> Rows:
    """Return sightings as rows of `SIGHTING`."""
    rows = np.zeros(len(sightings), SIGHTING)
    for at, one in enumerate(sightings):
        rows[at] = (
            one.shot, one.station, one.what, nics.number(one.nic), one.addressed,
            padded(one.source), len(one.source), padded(one.destination), len(one.destination),
            padded(one.mac, 6), len(one.mac), one.ttl, one.source_port, one.destination_port, one.icmp,
            padded(one.quoted), len(one.quoted), one.quoted_port,
        )  # fmt: skip
    return rows


def shot_row(shot: Shot, stations: Names, nics: Names) -> tuple[object, ...]:
    """Return a shot as a row of `SHOT`."""
    return (
        stations.number(shot.station), nics.number(shot.nic), shot.kind, shot.version,
        padded(shot.mac, 6), len(shot.mac), padded(shot.source), len(shot.source),
        padded(shot.destination), len(shot.destination),
        shot.source_port, shot.destination_port, shot.ttl, shot.size, shot.fragments, shot.wants_answer,
    )  # fmt: skip


def padded(packed: bytes, size: int = ADDRESS) -> Rows:
    """Return bytes as a row takes them."""
    return np.frombuffer(packed.ljust(size, b"\0"), np.uint8)
