"""Collects problems by path; finds each path's place, value and declared names in the source."""

from __future__ import annotations

import difflib
import itertools
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from vnetlab.errors import Place, Problem
from vnetlab.topology.yaml_source import shorten

if TYPE_CHECKING:
    from collections.abc import Collection

    from vnetlab.topology.source import Node, Source

Path = tuple[str | int, ...]
"""Keys and list indices from the top of the file down to an element."""


MAX_PROBLEMS: Final = 500
MAX_COMPARISONS: Final = 50_000
"""Comparing two names takes some 15 us; past this many the remedy lists names instead."""


class Found(Struct, frozen=True):
    """Where a path leads: as far as it can be followed."""

    node: Node
    key_place: Place | None
    path: Path
    whole: bool
    """The whole path was followed; otherwise its rest is not written in the file."""


class Report:
    """The problems of one file, the first few hundred of them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._problems = dict.fromkeys(source.problems)
        self._refused: set[Path] = set()
        self._marred: set[Path] = set()
        self._comparisons = 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return what was found; where that is a lot, the last one says that there may be more."""
        if not self.is_full:
            return tuple(self._problems)
        last = Problem(
            Place(self.source.file), "file", "", "has too many problems to list", "begin with these"
        )
        return (*itertools.islice(self._problems, MAX_PROBLEMS), last)

    @property
    def is_full(self) -> bool:
        """Whether further problems are no longer listed, so need not be looked for."""
        return len(self._problems) > MAX_PROBLEMS

    def add(self, path: Path, wrong: str, remedy: str, value: str | None = None) -> None:
        """Add a problem of the value at the path; ``value`` replaces what is written there."""
        found = self._find(path)
        thing = path if found.whole or found.node.is_collection else found.path
        if value is None:
            value = "" if found.node.is_collection else shorten(found.node.written)
        if found.whole or not found.node.is_collection:
            place = found.node.place
        else:
            place = found.key_place or found.node.place
            value = value if value else ""
        if found.whole and found.node.is_collection and found.key_place:
            place = found.key_place
        self._append(Problem(place, dotted(thing), value, wrong, remedy))

    def add_to_key(self, path: Path, wrong: str, remedy: str) -> None:
        """Add a problem of the key that the path ends in."""
        found = self._find(path)
        place = found.key_place or found.node.place
        self._append(Problem(place, dotted(path), shorten(str(path[-1])), wrong, remedy))

    def add_unknown(self, path: Path, what: str, name: str, known: Collection[str], where: str = "") -> None:
        """Add a problem of a name that stands for nothing; the remedy is the nearest that does."""
        if self.is_full:
            return
        self._comparisons += len(known)
        alike = name if self._comparisons <= MAX_COMPARISONS else ""
        wrong = f"there is no {what} {shorten(name)}{f' on {where}' if where else ''}"
        self.add(path, wrong, nearest(alike, known, what), value=shorten(name))

    def place(self, path: Path) -> Place:
        """Return the place of an element: of its name where it has one."""
        found = self._find(path)
        return found.key_place or found.node.place

    def declared(self, path: Path) -> tuple[str, ...]:
        """Return the keys that the file has there, those of refused elements included."""
        found = self._find(path)
        if not found.whole or found.node.entries is None:
            return ()
        return tuple(found.node.entries)

    def refuse(self, path: Path) -> None:
        """Note that an element or key was left out of the document because of its problems."""
        self._refused.add(path)
        self._marred |= {path[:length] for length in range(len(path) + 1)}

    def kept(self, path: Path) -> list[int]:
        """Return the indices, as in the file, of the items of a list that were not refused."""
        found = self._find(path)
        ways = (path[:length] for length in range(len(path) + 1))
        if not found.whole or any(way in self._refused for way in ways):
            return []
        items = found.node.items or ()
        return [index for index in range(len(items)) if (*path, index) not in self._refused]

    def is_marred(self, path: Path) -> bool:
        """Return whether an element or something inside of it was refused."""
        return path in self._marred

    def _append(self, problem: Problem) -> None:
        if not self.is_full:
            self._problems[problem] = None

    def _find(self, path: Path) -> Found:
        node, key_place, walked = self.source.root, None, 0
        for step in path:
            reached = _step(node, step)
            if reached is None:
                break
            node, place = reached
            key_place = place or node.place
            walked += 1
        return Found(node, key_place, path[:walked], walked == len(path))


def _step(node: Node, step: str | int) -> tuple[Node, Place | None] | None:
    if node.entries is not None and isinstance(step, str):
        entry = node.entries.get(step)
        return (entry.value, entry.key_place) if entry else None
    if node.items is None:
        return None
    if isinstance(step, int):
        return (node.items[step], None) if step < len(node.items) else None
    for item in node.items:
        if item.scalar == step:
            return item, None
        if item.entries is not None and step in item.entries:
            return item.entries[step].value, item.entries[step].key_place
    return None


def dotted(path: Path) -> str:
    """Return a path as people write it: ``hosts.hv1.networks.home.subnets[0]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{shorten(step)}" if text else shorten(step)
    return text or "file"


def nearest(name: str, known: Collection[str], what: str) -> str:
    """Return a remedy for an unknown name: the one most like it, else all of them."""
    names = list(known)
    if not names:
        return f"there are none here; declare the {what} first"
    close = difflib.get_close_matches(name, names, n=1) if name else []
    if close:
        return f"did you mean {close[0]}?"
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"choose one of {shown}"
