"""What a packet asks of the world on its way: each question once, with its answer.

A packet's way is made of nothing but the answers. So a packet to which everything that it asked answers as
before goes the way that it went before, whatever else was changed; of a fault, only the questions are put
again that were put to what it changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from vnetlab.predict import neighbour
from vnetlab.predict.fib import Way
from vnetlab.predict.passage import Unknown

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from vnetlab.predict.neighbour import Resolved
    from vnetlab.predict.world import NeighbourKey, World

WHOLE, FIB4, FIB6 = 0, 4, 6
"""Whom a question is put to: a namespace, or its addresses and routes of a family."""
TOWARDS = "towards"
"""The question that bridges in many namespaces answer together: which ports a MAC is behind."""
RESOLVED = "resolved"
"""The question who has an address, which is made of further questions."""


class Query(NamedTuple):
    """A question to a namespace."""

    space: str
    part: int
    what: str
    """A method of `Space`, `Fib` or `World`, or one of their mappings and sets."""
    about: tuple[Hashable, ...]


class Footprint(NamedTuple):
    """Where a packet came by."""

    passages: tuple[int, ...]
    """Numbers of its passages through chains."""
    queries: frozenset[int]
    """Numbers of its questions."""


class Queries:
    """Every question that was put to one world, numbered, with its answer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers: dict[Query, int] = {}
        self._answers: list[Any] = []
        self._of_space: dict[str, list[int]] = {}
        self._towards: list[int] = []
        self._all: list[Query] = []
        self.resolved: dict[int, tuple[NeighbourKey, Resolved, Footprint]] = {}
        """Of the questions who has an address: what was asked on the way to the answer."""

    def number(self, query: Query) -> int:
        """Return the number of a question; it is answered when first put."""
        found = self._numbers.get(query)
        if found is None:
            found = self._new(query, answer(self._world, query))
            which = self._towards if query.what == TOWARDS else self._of_space.setdefault(query.space, [])
            which.append(found)
        return found

    def answer(self, number: int) -> Any:
        """Return what was answered. Raises Unknown, as it did."""
        found = self._answers[number]
        if isinstance(found, Unknown):
            raise found
        return found

    def of_neighbour(self, key: NeighbourKey) -> int | None:
        """Return the number of the question who has an address, if it was put already."""
        return self._numbers.get(Query(key[0], WHOLE, RESOLVED, key))

    def note_neighbour(self, key: NeighbourKey, found: Resolved, footprint: Footprint) -> int:
        """Write down who has an address, and what that was found by."""
        number = self._new(Query(key[0], WHOLE, RESOLVED, key), found)
        self.resolved[number] = key, found, footprint
        return number

    def _new(self, query: Query, found: Any) -> int:
        number = self._numbers[query] = len(self._answers)
        self._answers.append(found)
        self._all.append(query)
        return number

    def of_spaces(self, names: Iterable[str]) -> set[int]:
        """Return all questions to these namespaces."""
        return {number for name in names for number in self._of_space.get(name, ())}

    def otherwise(self, world: World, names: Iterable[str], since: int, *, moved: bool) -> set[int]:
        """Return the questions that another world answers otherwise, in which these namespaces differ.

        Of those put from a number on. ``moved``: devices differ, so a MAC may be behind another port.
        """
        asked = self.of_spaces(names) | (set(self._towards) if moved else set())
        return {number for number in asked if number >= since and self._differs(world, number)}

    def __len__(self) -> int:
        return len(self._answers)

    def _differs(self, world: World, number: int) -> bool:
        return _compared(answer(world, self._all[number])) != _compared(self._answers[number])


def answer(world: World, query: Query) -> Any:
    """Return what a world answers; Unknown as a value where it cannot tell."""
    space = world.spaces[query.space]
    try:
        if query.what == TOWARDS:
            return world.towards(space, *query.about)  # type: ignore[arg-type]
        target = space.fib(query.part) if query.part else space
        found = getattr(target, query.what)
        if callable(found):
            return found(*query.about)
        if isinstance(found, frozenset):
            return query.about[0] in found
        return found.get(query.about[0])
    except Unknown as why:
        return why


def _compared(value: Any) -> object:
    """Return an answer as far as a packet's way depends on it."""
    if isinstance(value, Way):
        return value.device, value.next_hop, value.via
    return str(value) if isinstance(value, Unknown) else value


def same_neighbour(world: World, key: NeighbourKey, before: Resolved) -> bool:
    """Tell whether an address is had by whom it was, and write down in the world who has it."""
    found = world.resolved(key, lambda: neighbour.ask(world, key))
    return (found.mac, found.learned, found.doubt) == (before.mac, before.learned, before.doubt)
