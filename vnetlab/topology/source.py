"""The tree of a topology file: plain values, each with the place where it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from vnetlab.errors import Place, Problem

Scalar = str | int | float | bool | None


class Node(Struct):
    """A value of the file, with its place. A mapping has ``entries``, a sequence ``items``."""

    place: Place
    scalar: Scalar = None
    written: str = ""
    """A scalar as written, without quotes."""
    entries: dict[str, Entry] | None = None
    items: list[Node] | None = None
    size: int = 1
    """Number of nodes with aliases expanded."""

    @property
    def is_collection(self) -> bool:
        """Whether it is a mapping or a sequence."""
        return self.entries is not None or self.items is not None

    def plain(self) -> object:
        """Return the value as dict, list and scalars."""
        if self.entries is not None:
            return {key: entry.value.plain() for key, entry in self.entries.items()}
        if self.items is not None:
            return [item.plain() for item in self.items]
        return self.scalar


class Entry(Struct, frozen=True):
    """One key of a mapping and its value."""

    key_place: Place
    value: Node


class Source(Struct, frozen=True):
    """A file as read: its tree, and what is wrong with it as YAML."""

    file: str
    root: Node
    problems: tuple[Problem, ...] = ()
    broken: bool = False
    """The text is no YAML, or reading stopped; there is no tree."""


def tree(data: object, place: Place) -> Node:
    """Return the tree of plain data that was made, not read: everything has the same place."""
    if isinstance(data, dict):
        entries = {str(key): Entry(place, tree(value, place)) for key, value in data.items()}
        return Node(place, entries=entries)
    if isinstance(data, list):
        return Node(place, items=[tree(item, place) for item in data])
    if data is None or isinstance(data, str | int | float | bool):
        return Node(place, data, str(data))
    raise TypeError(f"{type(data).__name__} is no plain data")
