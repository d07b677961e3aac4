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
    from collections.abc import Callable, Iterator

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

    key: ChainKey
    passage: Passage
    action: object


class Recorder:
    """What passed every chain."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        self.of_chain: dict[ChainKey, list[int]] = {}
        """Numbers of passages, by chain."""
        self.hooks: dict[str, Hooks] = {}
        """The hooks of every namespace, as they are without anybody who listens."""
        self.met: set[int] = set()
        """Passages of the packet that is on its way."""
        self._numbers: dict[tuple[object, ...], int] = {}

    def attach(self, world: World) -> None:
        """Listen at every chain of a world."""
        for name, space in world.spaces.items():
            self.hooks[name] = Hooks(base_chains(space.namespace.tables, name))
            listening = tuple(
                replace(base, ruleset=_Listening(base.ruleset, name, self)) for base in self.hooks[name].bases
            )
            space.__dict__["hooks"] = Hooks(listening)  # in the place of what would be worked out

    def meets(self, key: ChainKey, passage: Passage, run: Callable[[], Decision]) -> Decision:
        """Let a packet meet a chain, and write that down; of several equal passages the first is kept."""
        identity = _identity(key, passage)
        number = self._numbers.get(identity)
        if number is not None:
            self.met.add(number)
            return run()
        number = self._numbers[identity] = len(self.kept)
        self.of_chain.setdefault(key, []).append(number)
        self.met.add(number)
        before = _frozen(passage)
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


def _frozen(passage: Passage) -> Passage:
    """Return a passage as it is now, whatever becomes of the packet."""
    found = copy(passage)
    found.used = []
    if passage.tracked and passage.tracked.entry:
        state, entry, is_reply = passage.tracked
        found.tracked = Tracked(state, copy(entry), is_reply)
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
