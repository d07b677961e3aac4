"""Guarantees by the million: a few patterns, and arrays that say whose turn each is.

What is promised of one pair of nodes is promised of every pair of their kinds, but for names, addresses, MACs
and the number of the source port. So a guarantee is kept as four numbers and made when somebody looks at
it. A sequence of `Guarantee` like any other to whoever does not care.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from vnetlab.guarantees import Guarantee

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv6Address

    Value = str | IPv4Address | IPv6Address

Numbers = NDArray[np.int32]
SOURCE, DESTINATION = 0, 1
PACKED = 16
"""Bytes of a value as a row has it."""
_FLOW, _SEEN = "flow", "seen"
FIELDS = (
    (_FLOW, "source_address", (SOURCE, DESTINATION)),
    (_FLOW, "destination_address", (DESTINATION, SOURCE)),
    (_FLOW, "next_hop_mac", (DESTINATION, SOURCE)),
    (_SEEN, "source_address", (SOURCE, DESTINATION)),
    (_SEEN, "source_mac", (SOURCE, DESTINATION)),
    (_SEEN, "destination_address", (DESTINATION, SOURCE)),
    ("", "error_from", (DESTINATION, SOURCE)),
)
"""Fields that may hold a node's own address or MAC: part, name, and whose it is where both ends have it."""


class Slot(NamedTuple):
    """A field that holds a value of a node's own."""

    field: int
    """Index into FIELDS."""
    end: int
    """SOURCE or DESTINATION."""
    value: int
    """Which of that node's own values."""


class Pattern(Struct, frozen=True):
    """What is promised of one pair, and which fields hold what is the nodes' own."""

    guarantee: Guarantee
    slots: tuple[Slot, ...] = ()


def pattern_of(
    guarantee: Guarantee, source: Mapping[Value, int], destination: Mapping[Value, int]
) -> Pattern:
    """Return a guarantee as a pattern of its ends, whose own values are given with their numbers."""
    own = (source, destination)
    slots = []
    for number, (_, _, ends) in enumerate(FIELDS):
        value = field_of(guarantee, number)
        if value is None:
            continue
        for end in ends:
            at = own[end].get(value)
            if at is not None:
                slots.append(Slot(number, end, at))
                break
    return Pattern(guarantee, tuple(slots))


def field_of(guarantee: Guarantee, number: int) -> Value | None:
    """Return the value of a field of FIELDS; None where it holds none."""
    part, name, _ = FIELDS[number]
    holder: Any = guarantee if not part else getattr(guarantee, part)
    return None if holder is None else getattr(holder, name) or None


def packed(value: Value) -> bytes:
    """Return the bytes of an address, or of a MAC."""
    return bytes.fromhex(value.replace(":", "")) if isinstance(value, str) else value.packed


KEPT = 20_000
"""Of so many guarantees at most, those that somebody looked at are kept: about a kilobyte each."""


class Guarantees(Sequence[Guarantee]):
    """Guarantees in their order."""

    def __init__(
        self,
        patterns: Sequence[Pattern],
        nodes: Sequence[str],
        values: Sequence[Sequence[Value]],
        pattern: Numbers,
        source: Numbers,
        destination: Numbers,
        source_port: Numbers,
    ) -> None:
        """Take patterns; nodes and what is their own; and of each guarantee pattern, ends and port."""
        self.patterns = tuple(patterns)
        self.nodes = tuple(nodes)
        self.values = tuple(values)
        self.pattern = pattern
        self.source = source
        self.destination = destination
        self.source_port = source_port
        self._kept: dict[int, Guarantee] = {}

    @classmethod
    def of(cls, guarantees: Iterable[Guarantee]) -> Guarantees:
        """Return guarantees as patterns, each of one pair; those that are patterns already as they are."""
        if isinstance(guarantees, Guarantees):
            return guarantees
        found = tuple(guarantees)
        nodes = dict.fromkeys(node for g in found for node in (g.source, g.destination))
        numbers = {node: at for at, node in enumerate(nodes)}
        return cls(
            [Pattern(guarantee) for guarantee in found],
            tuple(numbers),
            [()] * len(numbers),
            np.arange(len(found), dtype=np.int32),
            np.array([numbers[g.source] for g in found], np.int32),
            np.array([numbers[g.destination] for g in found], np.int32),
            np.array([g.flow.source_port for g in found], np.int32),
        )

    def __len__(self) -> int:
        return len(self.pattern)

    @overload
    def __getitem__(self, at: int) -> Guarantee: ...
    @overload
    def __getitem__(self, at: slice) -> Guarantees: ...
    def __getitem__(self, at: int | slice) -> Guarantee | Guarantees:
        if isinstance(at, slice):
            return self.chosen(np.arange(len(self))[at])
        pattern: Pattern = self.patterns[self.pattern[at]]
        if not pattern.slots:
            return pattern.guarantee
        if len(self) > KEPT:
            return self._made(pattern, at)
        if at not in self._kept:
            self._kept[at] = self._made(pattern, at)
        return self._kept[at]

    def __iter__(self) -> Iterator[Guarantee]:
        return (self[at] for at in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash((len(self), self.patterns))

    def __add__(self, other: Iterable[Guarantee]) -> Guarantees:
        """Return these guarantees and others behind them."""
        more = Guarantees.of(other)
        numbers = {name: at for at, name in enumerate(self.nodes)}
        nodes, values = list(self.nodes), list(self.values)
        for name, own in zip(more.nodes, more.values, strict=True):
            if name not in numbers:
                numbers[name] = len(nodes)
                nodes.append(name)
                values.append(own)
            elif own and own != values[numbers[name]]:
                return Guarantees.of((*self, *more))  # of two topologies: nobody's values are known here
        moved = np.array([numbers[name] for name in more.nodes], np.int32)
        return Guarantees(
            (*self.patterns, *more.patterns),
            nodes,
            values,
            np.concatenate([self.pattern, more.pattern + np.int32(len(self.patterns))]),
            np.concatenate([self.source, moved[more.source]]),
            np.concatenate([self.destination, moved[more.destination]]),
            np.concatenate([self.source_port, more.source_port]),
        )

    def chosen(self, numbers: Any) -> Guarantees:
        """Return the guarantees of these numbers, or those of a mask."""
        return Guarantees(
            self.patterns,
            self.nodes,
            self.values,
            self.pattern[numbers],
            self.source[numbers],
            self.destination[numbers],
            self.source_port[numbers],
        )

    def firsts(self, *columns: NDArray[Any]) -> NDArray[np.int64]:
        """Return the number of the first guarantee for each pattern and value of the columns, in order."""
        if not len(self):
            return np.zeros(0, np.int64)
        key = self.pattern.astype(np.int64)
        for column in columns:
            key = key * (int(column.max()) + 1) + column
        return np.sort(np.unique(key, return_index=True)[1])

    def ends(self) -> NDArray[np.int64]:
        """Return so many numbers that each pattern is there with each of its sources and destinations."""
        return np.union1d(self.by_source(), self.by_destination())

    def by_source(self) -> NDArray[np.int64]:
        """Return one number for each pattern and source."""
        return self.firsts(self.source)

    def by_destination(self) -> NDArray[np.int64]:
        """Return one number for each pattern and destination."""
        return self.firsts(self.destination)

    def own(self, field: int, numbers: Any) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
        """Return which of these guarantees hold a node's own value in a field of FIELDS, and these packed."""
        pattern = self.pattern[numbers]
        value, end = self._slots[0][field][pattern], self._slots[1][field][pattern]
        mask = value >= 0
        ends = np.where(end == SOURCE, self.source[numbers], self.destination[numbers])
        rows, offsets = self._packed
        return mask, rows[offsets[ends[mask]] + value[mask]]

    @cached_property
    def _slots(self) -> tuple[list[Numbers], list[Numbers]]:
        """Return by field and pattern which own value it holds (below 0: none) and whose."""
        values = [np.full(len(self.patterns), -1, np.int32) for _ in FIELDS]
        ends = [np.zeros(len(self.patterns), np.int32) for _ in FIELDS]
        for number, pattern in enumerate(self.patterns):
            for slot in pattern.slots:
                values[slot.field][number], ends[slot.field][number] = slot.value, slot.end
        return values, ends

    @cached_property
    def _packed(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return the values of all nodes packed, a row each, and where those of each node begin."""
        every = [packed(value).ljust(PACKED, b"\0") for own in self.values for value in own]
        rows = np.frombuffer(b"".join(every), np.uint8).reshape(-1, PACKED)
        return rows, np.cumsum([0, *(len(own) for own in self.values)])

    def _made(self, pattern: Pattern, at: int) -> Guarantee:
        source, destination, port = (int(c[at]) for c in (self.source, self.destination, self.source_port))
        known = pattern.guarantee
        if (known.source, known.destination, known.flow.source_port) == (
            self.nodes[source], self.nodes[destination], port,
        ):  # fmt: skip
            return known  # the pair that it is the pattern of
        ends = (self.values[source], self.values[destination])
        changes: dict[str, dict[str, Any]] = {"": {}, _FLOW: {"source_port": port}, _SEEN: {}}
        for slot in pattern.slots:
            part, name, _ = FIELDS[slot.field]
            changes[part][name] = ends[slot.end][slot.value]
        return replace(
            known,
            source=self.nodes[source],
            destination=self.nodes[destination],
            flow=replace(known.flow, **changes[_FLOW]),
            seen=replace(known.seen, **changes[_SEEN]) if known.seen and changes[_SEEN] else known.seen,
            **changes[""],
        )
