"""YAML text to plain data that remembers where it was written.

Scalars follow the core schema of YAML 1.2 (chapter 10.3), so ``no`` is text and a MAC of digits is
no base-60 number. Knows nothing of topologies; bounds what a hostile file can cost.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import yaml
from msgspec import Struct, field

from vnetlab.errors import Place, Problem
from vnetlab.topology.source import Entry, Node, Scalar, Source
from vnetlab.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CHARACTERS: Final = 4 * 1024 * 1024
MAX_DEPTH: Final = 32
MAX_NODES: Final = 250_000
SHOWN_CHARACTERS: Final = 60

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, bool | None]] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}


class _Fatal(Exception):
    """Reading cannot go on; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def read(text: str, file: str) -> Source:
    """Return the tree of a YAML (or JSON) text; what is wrong with it is in ``problems``."""
    reader = _Reader(file)
    try:
        if len(text) > MAX_CHARACTERS:
            raise _Fatal(
                Problem(
                    Place(file),
                    "file",
                    f"{len(text):,} characters",
                    f"a topology file has at most {MAX_CHARACTERS:,} characters",
                    "split the lab",
                )
            )
        reader.read(yaml.parse(text, Loader=_LOADER))
    except _Fatal as fatal:
        return Source(file, Node(Place(file)), (*reader.problems, fatal.problem), broken=True)
    except yaml.YAMLError as error:
        problem = _syntax_problem(error, text, file)
        return Source(file, Node(Place(file)), (*reader.problems, problem), broken=True)
    return Source(file, reader.root or Node(Place(file)), tuple(reader.problems))


def shorten(value: str) -> str:
    """Return a value fit for one line of an error message."""
    line = visible(value[:SHOWN_CHARACTERS])
    if len(line) == len(value):
        return line
    line += value[SHOWN_CHARACTERS:]
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 3]}..."


class _Open(Struct):
    """A collection whose end has not been read yet."""

    node: Node
    anchor: str | None
    key: tuple[str, Place] | None = None
    """Of a mapping: the key whose value comes next; None where a key comes next."""
    skip: bool = False
    """The key was refused; its value is read and dropped."""


class _Reader(Struct):
    """Builds the tree from parser events, iteratively: nesting costs no stack."""

    file: str
    root: Node | None = None
    problems: list[Problem] = field(default_factory=list)
    open: list[_Open] = field(default_factory=list)
    anchors: dict[str, Node] = field(default_factory=dict)

    def read(self, events: Iterable[yaml.Event]) -> None:
        for event in events:
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._start(event)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                self._end()
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
                raise self._fatal(event, "file", "---", "is a second document", "keep one per file")

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        assert mark is not None
        return Place(self.file, mark.line + 1, mark.column + 1)

    def _fatal(self, event: yaml.Event, thing: str, value: str, wrong: str, remedy: str) -> _Fatal:
        return _Fatal(Problem(self._place(event), thing, shorten(value), wrong, remedy))

    def _report(self, event: yaml.Event, value: str, wrong: str, remedy: str) -> None:
        thing = self._path()
        self.problems.append(Problem(self._place(event), thing, shorten(value), wrong, remedy))

    def _path(self) -> str:
        path = ""
        for level in self.open:
            if level.node.items is not None:
                path += f"[{len(level.node.items)}]"
            elif level.key is not None:
                path += f".{level.key[0]}" if path else level.key[0]
        return path or "file"

    def _expects_key(self) -> bool:
        return bool(self.open) and self.open[-1].node.entries is not None and not self.open[-1].key

    def _check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag is not None and event.tag != "!":
            self._report(event, event.tag, "tags have no meaning in a topology", "leave the tag out")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._check_tag(event)
        if self._expects_key():
            self._key(event)
            return
        plain = event.style in (None, "") and event.tag is None
        node = Node(
            self._place(event),
            _resolve(event.value) if plain else event.value,
            event.value,
        )
        self._anchor(event.anchor, node)
        self._add(node, event)

    def _key(self, event: yaml.ScalarEvent) -> None:
        level = self.open[-1]
        assert level.node.entries is not None
        key = event.value
        if event.anchor:
            self.anchors[event.anchor] = Node(self._place(event), key, key)
        if event.style in (None, "") and not isinstance(_resolve(key), str):
            self._report(event, key or "(empty)", "a key is text", f'put it in quotes: "{key}"')
        elif key == "<<" and event.style in (None, ""):
            self._report(event, key, "merge keys are not part of YAML 1.2", "write the keys out")
            level.skip = True
        elif key in level.node.entries:
            first = level.node.entries[key].key_place
            wrong = f"this key is in line {first.line} already"
            self._report(event, key, wrong, "give each thing a name of its own")
            level.skip = True
        level.key = (key, self._place(event))

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        self._check_tag(event)
        if self._expects_key():
            wrong, remedy = "a key is text, not a list or mapping", "write a plain name"
            raise self._fatal(event, self._path(), "", wrong, remedy)
        if len(self.open) >= MAX_DEPTH:
            wrong = f"nested deeper than {MAX_DEPTH} levels"
            raise self._fatal(event, "file", "", wrong, "no topology needs that; look for a stray [ or {")
        node = Node(self._place(event))
        if isinstance(event, yaml.MappingStartEvent):
            node.entries = {}
        else:
            node.items = []
        self.open.append(_Open(node, event.anchor))

    def _end(self) -> None:
        level = self.open.pop()
        self._anchor(level.anchor, level.node)
        self._add(level.node, None)

    def _anchor(self, anchor: str | None, node: Node) -> None:
        if anchor:
            self.anchors[anchor] = node

    def _alias(self, event: yaml.AliasEvent) -> None:
        name = event.anchor
        if any(level.anchor == name for level in self.open):
            wrong = "this alias stands inside of what it names"
            raise self._fatal(event, self._path(), f"*{name}", wrong, "write the value out")
        if name not in self.anchors:
            wrong = "no anchor of this name stands before it"
            raise self._fatal(event, self._path(), f"*{name}", wrong, f"mark the value with &{name}")
        if self._expects_key():
            wrong, remedy = "an alias cannot be a key", "write the key out"
            raise self._fatal(event, self._path(), f"*{name}", wrong, remedy)
        self._add(self.anchors[name], event)

    def _add(self, node: Node, event: yaml.Event | None) -> None:
        if not self.open:
            self.root = node
            return
        level = self.open[-1]
        level.node.size += node.size
        if level.node.size > MAX_NODES:
            place = self._place(event) if event else node.place
            wrong = f"more than {MAX_NODES:,} values once aliases are written out"
            raise _Fatal(Problem(place, "file", "", wrong, "use fewer aliases of aliases"))
        if level.node.items is not None:
            level.node.items.append(node)
            return
        assert level.node.entries is not None
        assert level.key is not None
        key, key_place = level.key
        if not level.skip:
            level.node.entries[key] = Entry(key_place, node)
        level.key, level.skip = None, False


def _resolve(text: str) -> Scalar:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _syntax_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    remedy = "check indentation, colons, brackets and quotes here and just above"
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        wrong = ", ".join(part for part in (error.context, error.problem) if part)
        return Problem(place, "file", "", f"is not YAML: {wrong}", remedy)
    found = re.search(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text)
    if found is None:
        return Problem(Place(file), "file", "", f"is not YAML: {error}", remedy)
    before = text[: found.start()]
    place = Place(file, before.count("\n") + 1, found.start() - before.rfind("\n"))
    value = repr(found.group())
    return Problem(place, "file", value, "is a character that YAML does not allow", "remove it")
