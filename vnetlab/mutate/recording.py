"""A model that writes down which packets came by which chains, so that only those are asked about again.

Most faults change one rule. Whatever never meets its chain is as before; what meets it and is decided there
alike, too. So each passage of a packet through a chain is kept, once, with the packets that it belongs to.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from vnetlab.predict.conntrack import Tracked
from vnetlab.predict.evaluate import Ruleset
from vnetlab.predict.hooks import Hooks
from vnetlab.predict.passage import Unknown
from vnetlab.predict.tables import base_chains

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.predict.evaluate import Decision
    from vnetlab.predict.passage import Passage
    from vnetlab.predict.rules import Chain, Rule
    from vnetlab.predict.world import World


class ChainKey(NamedTuple):
    """A chain of a lab."""

    space: str
    family: str
    chain: str


class Kept(NamedTuple):
    """A packet at a chain, and what the chain said of it; None where the model could not tell."""

    passage: Passage
    action: object


class Recorder:
    """What passed every chain."""

    def __init__(self) -> None:
        self.passages: dict[ChainKey, list[Kept]] = {}
        self._numbers: dict[tuple[object, ...], tuple[ChainKey, int]] = {}
        self.met: set[tuple[ChainKey, int]] = set()
        """Passages of the packet that is on its way, as chain and number."""

    def attach(self, world: World) -> None:
        """Listen at every chain of a world."""
        for space in world.spaces.values():
            bases = base_chains(space.namespace.tables)
            if bases:
                listening = tuple(
                    replace(base, ruleset=_Listening(base.ruleset, space.name, self)) for base in bases
                )
                space.__dict__["hooks"] = Hooks(listening)  # in the place of what would be worked out

    def keep(self, key: ChainKey, passage: Passage, action: object) -> None:
        """Write down a passage; of several equal ones the first is kept."""
        identity = _identity(key, passage)
        found = self._numbers.get(identity)
        if found is None:
            kept = self.passages.setdefault(key, [])
            found = self._numbers[identity] = key, len(kept)
            kept.append(Kept(_frozen(passage), action))
        self.met.add(found)


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
        before = _frozen(passage)
        try:
            decision = self._inner.run(chain, passage)
        except Unknown:
            self._recorder.keep(key, before, None)
            raise
        self._recorder.keep(key, before, decision.action)
        return decision


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


def _frozen(passage: Passage) -> Passage:
    """Return a passage as it is now, whatever becomes of the packet."""
    found = copy(passage)
    if passage.tracked and passage.tracked.entry:
        state, entry, is_reply = passage.tracked
        found.tracked = Tracked(state, copy(entry), is_reply)
    return found


def differing(kept: list[Kept], ruleset: Ruleset, chain: Chain) -> Iterator[int]:
    """Yield the numbers of the passages about which a changed chain says something else."""
    for number, (passage, action) in enumerate(kept):
        mark, untracked = passage.mark, passage.untracked
        try:
            now: object = ruleset.run(chain, passage).action
        except Unknown:
            now = None
        if now is None or now != action or (passage.mark, passage.untracked) != (mark, untracked):
            yield number
        passage.mark, passage.untracked = mark, untracked
