"""What a log has to show of each guarantee, as columns: the array side of `checks`. Pure.

It finds those that are as promised in every field with nothing beside it. All others are judged one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vnetlab.guarantees import Outcome, Protocol, Special
from vnetlab.icmp import ERROR_NAMES
from vnetlab.many import FIELDS, packed
from vnetlab.probe.columns import Names, Shots, Sightings
from vnetlab.probe.flight import Kind, What

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from vnetlab.guarantees import Guarantee
    from vnetlab.many import Guarantees
    from vnetlab.probe.columns import Numbers, Rows
    from vnetlab.probe.flight import Flight, Log

    Mask = NDArray[np.bool_]

AT_ONCE = 8192
"""Sightings compared at once: their rows are looked at column by column, and stay in the cache."""
_ANY = -1
_NONE = -2
_UNPRIVILEGED = 1024
_PLAIN = (Special.NONE, Special.CRAFTED)
_BLAMED = (*_PLAIN, Special.EDGE, Special.TTL)
"""What an error is about as it is about what is plain."""
_COLUMNS = {
    ("seen", "source_address"): "source",
    ("seen", "source_mac"): "mac",
    ("seen", "destination_address"): "destination",
    ("", "error_from"): "error_from",
}
_EXPECTED = np.dtype([
    ("outcome", "u1"), ("resolves", "?"), ("plain", "?"), ("blamed", "?"), ("answered", "?"), ("told", "?"),
    ("passed", "?"), ("nic", "i4"), ("ttl", "i4"), ("port", "i4"), ("high", "?"), ("error", "i4"),
    ("source", "u1", 16), ("has_source", "?"), ("destination", "u1", 16), ("has_destination", "?"),
    ("mac", "u1", 16), ("has_mac", "?"), ("error_from", "u1", 16), ("has_error_from", "?"),
])  # fmt: skip
_OUTCOMES = tuple(Outcome)
_ERRORS = {name: number for number, name in enumerate(dict.fromkeys(ERROR_NAMES.values()))}
_PORTED = (Kind.TCP, Kind.UDP)


class Promised:
    """Guarantees and their flight, side by side: what can be said before anything has flown."""

    def __init__(self, many: Guarantees, flight: Flight) -> None:
        self.many = many
        self.flight = flight
        self.shots = Shots.of(flight.shots)
        self.of = np.asarray(flight.shot_of, np.int64)
        """The number of each guarantee's shot."""
        self.nics = Names()
        """Words that the rows' NICs are numbers of."""
        stations = {station.name: number for number, station in enumerate(flight.stations)}
        self.stations = np.array([stations.get(node, _ANY) for node in many.nodes], np.int64)
        """The flight's number for each of the guarantees' nodes."""
        self.shared = np.bincount(self.of, minlength=len(self.shots))[self.of] > 1
        """Which guarantees have their shot in common with others."""
        self.rows = self._expected()
        """What each guarantee promises, as columns."""

    def _expected(self) -> Rows:
        """Return the rows of all guarantees: those of their patterns, with the members' own values."""
        many = self.many
        base = np.zeros(len(many.patterns), _EXPECTED)
        for number in np.unique(many.pattern).tolist():
            self._fill(base[number : number + 1], many.patterns[number].guarantee)
        rows = base[many.pattern]
        for field, (part, name, _) in enumerate(FIELDS):
            column = _COLUMNS.get((part, name))
            if column:
                mask, values = many.own(field, slice(None))
                rows[column][mask] = values
        return rows

    def _fill(self, row: Rows, guarantee: Guarantee) -> None:
        seen = guarantee.seen
        row["outcome"] = _OUTCOMES.index(guarantee.expected)
        row["resolves"] = guarantee.flow.protocol is Protocol.RESOLUTION
        row["plain"], row["blamed"] = (guarantee.flow.special in some for some in (_PLAIN, _BLAMED))
        row["answered"], row["told"] = guarantee.answered, seen is not None
        row["error"] = _ERRORS.get(guarantee.error_code, _NONE) if guarantee.error_code else _ANY
        _put(row, "error_from", guarantee.error_from)
        row["nic"] = row["ttl"] = row["port"] = _ANY
        if seen is None:
            return
        row["nic"] = self.nics.number(seen.nic) if seen.nic else _ANY
        row["ttl"] = _ANY if seen.ttl is None else seen.ttl
        row["port"] = seen.destination_port or _ANY
        row["high"] = seen.source_port_unprivileged
        for column in ("source_address", "destination_address", "source_mac"):
            _put(row, _COLUMNS["seen", column], getattr(seen, column))


class Expectations:
    """What was promised and a log, side by side."""

    def __init__(self, promised: Promised, log: Log) -> None:
        self._many = promised.many
        self._shots, self._of = promised.shots, promised.of
        self._stations, self._rows, self._shared = promised.stations, promised.rows, promised.shared
        seen = Sightings.of(log.sightings)
        numbers = Names(promised.nics.words)
        self._nics = np.array([numbers.number(word) for word in seen.nics], np.int32)
        """The number of each of the log's NICs among those that are promised."""
        self._failed = self._failures({failure.station for failure in log.failures})
        refused = np.zeros(len(self._shots), np.bool_)
        refused[[error.shot for error in log.send_errors]] = True
        self._refused = refused[self._of]
        self._compare(seen.rows)

    def delivered(self) -> Mask:
        """Tell which arrived as promised, were answered as promised, and showed nothing else."""
        rows, wanted = self._rows, self._is(Outcome.DELIVERED)
        answered = rows["answered"].astype(np.int64)
        flew = wanted & ~rows["resolves"] & rows["plain"] & rows["told"] & (self._requests == 1)
        flew &= (self._answers == answered) & (self._total == 1 + answered)
        resolved = wanted & rows["resolves"] & rows["answered"] & (self._answers == 1) & (self._requests < 2)
        resolved &= self._total == 1 + self._requests
        found: Mask = (flew | resolved) & self._proper
        return found

    def rejected(self) -> Mask:
        """Tell of which one error came back, as promised, and nothing else was seen."""
        wanted = self._is(Outcome.REJECTED) & ~self._rows["resolves"] & self._rows["blamed"]
        found: Mask = wanted & (self._errors == 1) & (self._total == 1) & self._proper
        return found

    def silent(self) -> Mask:
        """Tell of which nothing at all was seen, as promised."""
        kind = self._shots.rows["kind"][self._of]
        found: Mask = self._is(Outcome.SILENT) & (self._total == 0) & (kind != Kind.RA) & self._proper
        return found

    @property
    def _proper(self) -> Mask:
        return ~(self._failed | self._refused | self._shared)

    def _is(self, outcome: Outcome) -> Mask:
        found: Mask = self._rows["outcome"] == _OUTCOMES.index(outcome)
        return found

    def _failures(self, failed: set[str]) -> Mask:
        lost = np.array([node in failed for node in self._many.nodes], np.bool_)
        return lost[self._many.source] | lost[self._many.destination]

    def _compare(self, seen: Rows) -> None:
        """Count for each guarantee the sightings at its ends, and those that are as promised."""
        many, size = self._many, len(self._many)
        of = np.full(len(self._shots), -1, np.int64)
        of[self._of] = np.arange(size)
        number = of[seen["shot"]]
        mine = number >= 0
        # What others see on the way is not about it; an answer that strays is. What passes a host's devices
        # counts where it arrives, and tells the MAC that it came from.
        ends = [self._stations[end][number] == seen["station"] for end in (many.source, many.destination)]
        about = mine & (ends[0] | ends[1] | (seen["what"] == What.ANSWER)) & (seen["what"] != What.PASSED)
        self._total = np.bincount(number[about], minlength=size)
        self._rows["passed"] = (
            self._good(seen, number, mine & (seen["what"] == What.PASSED), None, _passed) > 0
        )
        self._requests, self._answers, self._errors = (
            self._good(seen, number, mine & (seen["what"] == what), many.source if back else None, good)
            for what, back, good in (
                (What.REQUEST, False, _arrived),
                (What.ANSWER, True, _answered),
                (What.ERROR, True, _refused),
            )
        )

    def _good(
        self,
        seen: Rows,
        number: Numbers,
        of: Mask,
        ends: NDArray[np.int32] | None,
        good: Callable[[Rows, Rows, Rows], Mask],
    ) -> Numbers:
        """Count the good sightings of one sort at an end: the one given, else the destination."""
        end = self._many.destination if ends is None else ends
        found = [np.zeros(0, np.int64)]
        chosen = np.flatnonzero(of)
        for start in range(0, len(chosen), AT_ONCE):
            part = chosen[start : start + AT_ONCE]
            which, some = number[part], seen[part]
            some["nic"] = self._nics[some["nic"]]
            there = some["station"] == self._stations[end[which]]
            rows, shots = self._rows[which], self._shots.rows[self._of[which]]
            found.append(which[there & good(rows, some, shots)])
        return np.bincount(np.concatenate(found), minlength=len(self._many))


def _arrived(rows: Rows, seen: Rows, shots: Rows) -> Mask:
    """Tell which requests have every field that is promised; a question that is heard has none."""
    ported = np.isin(shots["kind"], _PORTED)
    good = (rows["nic"] == _ANY) | (rows["nic"] == seen["nic"])
    good &= (rows["ttl"] == _ANY) | (rows["ttl"] == seen["ttl"])
    good &= ~ported | (rows["port"] == _ANY) | (rows["port"] == seen["destination_port"])
    good &= ~ported | ~rows["high"] | (seen["source_port"] >= _UNPRIVILEGED)
    for column in ("source", "destination"):
        good &= ~rows[f"has_{column}"] | _same(seen[column], rows[column])
    # A host's raw sockets see no MAC, its devices do.
    good &= ~rows["has_mac"] | _passed(rows, seen, shots) | ((seen["mac_size"] == 0) & rows["passed"])
    found: Mask = seen["addressed"] & (rows["resolves"] | good)
    return found


def _passed(rows: Rows, seen: Rows, _: Rows) -> Mask:
    """Tell which frames have the MAC that is promised."""
    found: Mask = (seen["mac_size"] == 6) & _same(seen["mac"], rows["mac"][:, :6])
    return found


def _answered(rows: Rows, seen: Rows, shots: Rows) -> Mask:
    """Tell which answers come from who was asked; of ARP and ND, with the MAC that is promised."""
    told = ~rows["resolves"] | ~rows["has_mac"] | _same(seen["mac"], rows["mac"][:, :6])
    found: Mask = told & _same(seen["source"], shots["destination"])
    return found


def _refused(rows: Rows, seen: Rows, shots: Rows) -> Mask:
    """Tell which ICMP errors are as promised and quote what was sent."""
    told = np.full(0x1_0000 * 2, _ANY, np.int64)  # which no promised name is
    for (version, code), name in ERROR_NAMES.items():
        told[(version == 6) << 16 | code] = _ERRORS[name]
    name = told[(shots["version"].astype(np.int64) == 6) << 16 | seen["icmp"]]
    good = (rows["error"] == _ANY) | ((rows["error"] == name) & (name != _ANY))
    good &= ~rows["has_error_from"] | _same(seen["source"], rows["error_from"])
    good &= (shots["source_size"] > 0) & _same(seen["quoted"], shots["source"])
    found: Mask = good & ((shots["source_port"] == 0) | (shots["source_port"] == seen["quoted_port"]))
    return found


def _put(row: Rows, column: str, value: Any) -> None:
    if value is not None and value != "":
        row[column] = np.frombuffer(packed(value).ljust(16, b"\0"), np.uint8)
        row[f"has_{column}"] = True


def _same(one: Rows, other: Rows) -> Mask:
    found = np.ones(len(one), np.bool_)
    for column in range(one.shape[1]):  # twice as fast as all(axis=1) of so short rows
        found &= one[:, column] == other[:, column]
    return found
