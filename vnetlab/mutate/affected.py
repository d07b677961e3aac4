"""Which packets a fault can make a difference to.

A packet is as before unless some chain that it met says something else of it now, or something that it asked
of the world is answered otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from vnetlab.mutate.queries import same_neighbour
from vnetlab.mutate.recording import ChainKey, decides_otherwise
from vnetlab.predict.nat import tracks
from vnetlab.predict.rules import Translate, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from vnetlab.mutate.queries import Footprint
    from vnetlab.mutate.recording import Recorder
    from vnetlab.predict.hooks import Hooks
    from vnetlab.predict.model import Model
    from vnetlab.predict.tables import Base
    from vnetlab.state import Namespace

_DESTINATION = ((-200, "conntrack"), (-100, "translation"))
_SOURCE = ((100, "translation"),)
_KERNELS_OWN = {
    "prerouting": _DESTINATION, "output": _DESTINATION, "input": _SOURCE, "postrouting": _SOURCE,
}  # fmt: skip
"""What the kernel does by itself at a hook, and at which priority."""
_Name = tuple[str, str]
"""Family and name of a chain; no family: a step of the kernel's own."""


class _Changed(NamedTuple):
    """What is to be said of the passages of a chain."""

    now: Base | None
    """The chain that is asked again; None: it meets its packets at another time."""
    only: tuple[str, ...] = ()
    """The verdicts that may come to something else; the chain itself is as it was, or gone."""


_STOPS = ("drop", "reject", "translate")
"""What is let pass is let pass in any order, and without the chain too."""


class Affected:
    """Tells which packets a fault can make a difference to."""

    def __init__(
        self, before: Mapping[str, Namespace], changes: tuple[Namespace, ...], broken: Model, known: Recorder
    ) -> None:
        self._recorder = known
        self._broken = broken
        self._pairs = tuple((before[changed.name], changed) for changed in changes)
        self._chains: dict[ChainKey, _Changed] = {}
        self._differs: dict[int, bool] = {}
        self._queries: set[int] = set()
        self._compared = 0
        self.learn()

    def learn(self) -> None:
        """Compare what was asked since; to be called when the recorder has seen more packets."""
        asked = len(self._recorder.queries)
        if asked == self._compared:
            return
        for before, after in self._pairs:
            self._compare(before, after)
        self._compare_neighbours()
        self._compared = asked

    def _compare(self, before: Namespace, after: Namespace) -> None:
        """Find what is decided or answered otherwise in a changed namespace."""
        name, queries = after.name, self._recorder.queries
        was, now = self._recorder.hooks[name], self._broken.world.spaces[name]
        same_rules = before.tables == after.tables
        only_rules = replace(before, tables=()) == replace(after, tables=())
        if now.beyond or not (same_rules or (only_rules and was.tracks == now.hooks.tracks)):
            self._queries |= queries.of_spaces([name])
        elif not same_rules:
            self._chains |= dict(_changed(name, was, now.hooks))
        else:
            moved = before.links != after.links
            self._queries |= queries.otherwise(self._broken.world, [name], self._compared, moved=moved)

    def _compare_neighbours(self) -> None:
        """Ask again who has an address where that came by what changed; else it is known."""
        world = self._broken.world
        for number, (key, found, footprint) in self._recorder.queries.resolved.items():
            if number < self._compared:
                continue
            if not self.may_differ(footprint):
                world.neighbours.setdefault(key, found)
            elif not same_neighbour(world, key, found):
                self._queries.add(number)

    def may_differ(self, footprint: Footprint) -> bool:
        """Tell whether a packet that came by here may be affected."""
        return not self._queries.isdisjoint(footprint.queries) or (
            bool(self._chains) and any(self._of_passage(number) for number in footprint.passages)
        )

    def among(self, index: Index) -> list[int]:
        """Return the numbers of the packets of an index that may be affected."""
        found = set(index.by_queries(self._queries))
        for key in self._chains:
            for passage in self._recorder.of_chain.get(key, ()):
                packets = index.by_passage.get(passage)
                if packets and self._of_passage(passage):
                    found.update(packets)
        return sorted(found)

    def _of_passage(self, number: int) -> bool:
        found = self._differs.get(number)
        if found is None:
            found = self._differs[number] = self._judge(number)
        return found

    def _judge(self, number: int) -> bool:
        kept = self._recorder.kept[number]
        changed = self._chains.get(kept.key)
        if changed is None:
            return False
        if changed.only:
            return _told(kept.action) in changed.only
        return changed.now is None or decides_otherwise(kept, changed.now.ruleset, changed.now.chain)


class Index:
    """Packets by what they came by."""

    def __init__(self, footprints: Iterable[Footprint]) -> None:
        self.by_passage: dict[int, list[int]] = {}
        self._of_set: dict[frozenset[int], list[int]] = {}
        for number, footprint in enumerate(footprints):
            for passage in footprint.passages:
                self.by_passage.setdefault(passage, []).append(number)
            self._of_set.setdefault(footprint.queries, []).append(number)
        self._sets: dict[int, list[list[int]]] = {}
        for queries, packets in self._of_set.items():
            for query in queries:
                self._sets.setdefault(query, []).append(packets)

    def by_queries(self, queries: Collection[int]) -> Iterator[int]:
        """Yield the packets that put any of these questions."""
        for query in queries:
            for packets in self._sets.get(query, ()):
                yield from packets


def _told(action: object) -> str:
    """Return what a chain said; what the model could not tell counts as a reject."""
    if isinstance(action, Verdict) and action.kind in ("accept", "drop"):
        return action.kind
    return "translate" if isinstance(action, Translate) else "reject"


def _changed(namespace: str, before: Hooks, after: Hooks) -> Iterator[tuple[ChainKey, _Changed]]:
    """Yield the chains whose passages are not all as they were."""
    new = {_name(base): base for base in after.bases}
    moved = _moved(before, after)
    for base in before.bases:
        key = ChainKey(namespace, *_name(base))
        now = new.get(_name(base))
        if now is None:
            yield key, _Changed(None, _STOPS if _is_plain(base) else ())
        elif _name(base) in moved.past_kernel:
            yield key, _Changed(None)
        elif _name(base) in moved.past_filters:
            # Its own rules are as they were: a fault is one change.
            yield key, _Changed(now, _STOPS)
        elif _name(base) in moved.past_tracking:
            yield key, _Changed(now, ("reject",))
        elif now.chain != base.chain:
            yield key, _Changed(now)
        elif moved.past_tracking and base.hook.kind == "nat":
            yield key, _Changed(now, ("translate",))


class _Moves(NamedTuple):
    """The chains of which the order at their hook is another."""

    past_kernel: frozenset[_Name]
    """In respect of conntrack or translation, or with chains that do more than let pass and stop."""
    past_tracking: frozenset[_Name]
    """So, but they ask nothing that would be answered otherwise there, of a packet that is not translated.

    Nor does it matter whether conntrack saw what is dropped: it keeps what got through. Only an ICMP error
    that is said in between may be known to it or not."""
    past_filters: frozenset[_Name]


def _moved(before: Hooks, after: Hooks) -> _Moves:
    was, now = _orders(before), _orders(after)
    found: tuple[set[_Name], set[_Name], set[_Name]] = (set(), set(), set())
    bases = {_name(base): base for base in before.bases}
    for hook, steps in was.items():
        shared = [step for step in steps if step in now.get(hook, ())]
        if shared == [step for step in now.get(hook, ()) if step in shared]:
            continue
        plain = all(_is_plain(b) for b in before.bases if b.hook.name == hook)
        for chain in (step for step in shared if step[0]):
            past = set(_kernels_before(steps, chain)) ^ set(_kernels_before(now[hook], chain))
            if not plain:
                found[0].add(chain)
            elif past:
                found[1 if ("", "conntrack") not in past or not _asks_conntrack(bases[chain]) else 0].add(
                    chain
                )
            else:
                found[2].add(chain)
    return _Moves(*(frozenset(each) for each in found))


def _kernels_before(order: list[_Name], chain: _Name) -> list[_Name]:
    """Return which of the kernel's own steps come before a chain."""
    return [step for step in order[: order.index(chain)] if not step[0]]


def _asks_conntrack(base: Base) -> bool:
    """Tell a chain of which some rule looks at what conntrack says, or may."""
    return any(tracks(rule, version) for rule in base.ruleset.rules() for version in (4, 6))


def _is_plain(base: Base) -> bool:
    """Tell a chain that only lets pass and stops from one that leaves something on a packet."""
    return base.hook.kind == "nat" or not any(rule.effects or rule.rest for rule in base.chain.rules)


def _orders(hooks: Hooks) -> dict[str, list[_Name]]:
    """Return, by hook, what a packet meets there: chains by family and name, and the kernel's own steps.

    The kernel translates at a time of its own: the priorities of nat chains order these among themselves.
    """
    steps: dict[str, list[tuple[int, _Name]]] = {}
    for base in hooks.bases:
        if base.hook.kind == "nat":
            steps.setdefault(f"{base.hook.name} nat", []).append((base.hook.priority, _name(base)))
            continue
        kernels = _KERNELS_OWN.get(base.hook.name, ()) if hooks.tracks else ()
        own = steps.setdefault(base.hook.name, [(at, ("", name)) for at, name in kernels])
        own.append((base.hook.priority, _name(base)))
    return {hook: [name for _, name in sorted(found)] for hook, found in steps.items()}


def _name(base: Base) -> _Name:
    return base.chain.family, base.chain.name
