"""A model that writes down what packets came by, so that of a fault only those are followed that it concerns.

Most faults change one rule. Whatever never meets its chain is as before; what meets it and is decided there
alike, too. So each passage of a packet through a chain is kept, once, with the packets that it belongs to;
and so is each question to anything else of the world, with its answer (see `queries`).
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from vnetlab.mutate.listening import ListeningWorld
from vnetlab.mutate.queries import Footprint, Queries, Query
from vnetlab.predict.evaluate import Ruleset
from vnetlab.predict.hooks import Hooks
from vnetlab.predict.passage import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from vnetlab.predict.evaluate import Decision
    from vnetlab.predict.neighbour import Resolved
    from vnetlab.predict.passage import Passage
    from vnetlab.predict.rules import Chain, Rule
    from vnetlab.predict.space import Space
    from vnetlab.predict.world import NeighbourKey, World


class ChainKey(NamedTuple):
    """A chain of a lab."""

    space: str
    family: str
    chain: str


class Kept(NamedTuple):
    """A packet at a chain, and what the chain said of it; None where the model could not tell."""

    key: ChainKey
    passage: Passage
    action: object


class Recorder:
    """What passed every chain of a world, and what was asked of the rest of it."""

    def __init__(self, plain: World) -> None:
        self.kept: list[Kept] = []
        self.of_chain: dict[ChainKey, list[int]] = {}
        """Numbers of passages, by chain."""
        self.hooks = {name: space.hooks for name, space in plain.spaces.items()}
        """The hooks of every namespace, as they are without anybody who listens."""
        self.queries = Queries(plain)
        self._plain = plain
        self._met: set[int] = set()
        self._asked: set[int] = set()
        self._numbers: dict[tuple[object, ...], int] = {}
        self._common: dict[frozenset[int], frozenset[int]] = {}

    def world(self) -> World:
        """Return the world with somebody who listens everywhere."""
        hooks = {name: self._listening(name, own) for name, own in self.hooks.items()}
        return ListeningWorld(self._plain, self._ask, self._resolve, hooks)

    def _listening(self, name: str, own: Hooks) -> Hooks:
        return Hooks(tuple(replace(b, ruleset=_Listening(b.ruleset, name, self)) for b in own.bases))

    def footprint(self, go: Callable[[], object]) -> Footprint:
        """Let something go its way, and return where it came by."""
        before = self._met, self._asked
        self._met, self._asked = set(), set()
        try:
            go()
            asked = frozenset(self._asked)
            return Footprint(tuple(self._met), self._common.setdefault(asked, asked))
        finally:
            self._met, self._asked = before

    def _ask(self, space: str, part: int, what: str, about: tuple[Hashable, ...]) -> Any:
        number = self.queries.number(Query(space, part, what, about))
        self._asked.add(number)
        return self.queries.answer(number)

    def _resolve(self, key: NeighbourKey, ask: Callable[[], Resolved]) -> Resolved:
        number = self.queries.of_neighbour(key)
        if number is None:
            found: list[Resolved] = []
            footprint = self.footprint(lambda: found.append(ask()))
            number = self.queries.note_neighbour(key, found[0], footprint)
        self._asked.add(number)
        return self.queries.resolved[number][1]

    def meets(self, key: ChainKey, passage: Passage, run: Callable[[], Decision]) -> Decision:
        """Let a packet meet a chain, and write that down; of several equal passages the first is kept."""
        identity = _identity(key, passage)
        number = self._numbers.get(identity)
        if number is not None:
            self._met.add(number)
            return run()
        number = self._numbers[identity] = len(self.kept)
        self.of_chain.setdefault(key, []).append(number)
        self._met.add(number)
        before = _frozen(passage, self._plain.spaces[key.space])
        self.kept.append(Kept(key, before, None))
        decision = run()
        self.kept[number] = Kept(key, before, decision.action)
        return decision


class _Listening(Ruleset):
    """A ruleset that has every run written down."""

    def __init__(self, ruleset: Ruleset, space: str, recorder: Recorder) -> None:
        self._inner = ruleset
        self._space = space
        self._recorder = recorder

    def rules(self) -> Iterator[Rule]:
        return self._inner.rules()

    def run(self, chain: Chain, passage: Passage) -> Decision:
        key = ChainKey(self._space, chain.family, chain.name)
        return self._recorder.meets(key, passage, lambda: self._inner.run(chain, passage))


def _identity(key: ChainKey, passage: Passage) -> tuple[object, ...]:
    tracked = passage.tracked
    entry = tracked.entry if tracked else None
    return (
        key,
        passage.iif,
        passage.oif,
        passage.packet,
        passage.packet_type,
        (passage.frame.source, passage.frame.destination) if passage.frame else None,
        (tracked.state, tracked.is_reply) if tracked else None,
        (entry.replied, entry.assured, entry.confirmed, entry.snat, entry.dnat) if entry else None,
        passage.untracked,
        passage.mark,
    )


def _frozen(passage: Passage, space: Space) -> Passage:
    """Return a passage as it is now, whatever becomes of the packet, in a namespace where nobody listens."""
    found = copy(passage)
    found.space = space
    found.used = []
    if passage.tracked and passage.tracked.entry:
        found.tracked = replace(passage.tracked, entry=copy(passage.tracked.entry))
    return found


def decides_otherwise(kept: Kept, ruleset: Ruleset, chain: Chain) -> bool:
    """Tell whether a changed chain says something else of a passage, or leaves another mark on it."""
    passage = kept.passage
    mark, untracked = passage.mark, passage.untracked
    try:
        now: object = ruleset.run(chain, passage).action
    except Unknown:
        now = None
    differs = now is None or now != kept.action or (passage.mark, passage.untracked) != (mark, untracked)
    passage.mark, passage.untracked = mark, untracked
    passage.used.clear()
    return differs
