"""Plain data to Document: pydantic's complaints as Problems, and the sound rest of a faulty file.

A faulty element is reported and left out, and the rest is read again, so that one wrong value hides
no other problem of the file.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from vnetlab.topology.document import (
    TAGS,
    AttachmentDoc,
    Document,
    Element,
    ExpectDoc,
    ForwardDoc,
    HostDoc,
    MachineDoc,
    NetworkDoc,
    NicDoc,
    RouteDoc,
    SegmentDoc,
    VmDoc,
)
from vnetlab.topology.report import nearest
from vnetlab.topology.values import CUSTOM

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from vnetlab.topology.report import Path, Report

_ANY: Final = "*"
_ELEMENTS: Final[tuple[tuple[tuple[str, ...], type[Element]], ...]] = (
    ((), Document),
    (("segments", _ANY), SegmentDoc),
    (("hosts", _ANY), HostDoc),
    (("hosts", _ANY, "nics", _ANY), NicDoc),
    (("hosts", _ANY, "networks", _ANY), NetworkDoc),
    (("hosts", _ANY, "networks", _ANY, "forwards", _ANY), ForwardDoc),
    (("hosts", _ANY, "vms", _ANY), VmDoc),
    (("hosts", _ANY, "vms", _ANY, "networks", _ANY), AttachmentDoc),
    (("hosts", _ANY, "vms", _ANY, "routes", _ANY), RouteDoc),
    (("hosts", _ANY, "routes", _ANY), RouteDoc),
    (("machines", _ANY), MachineDoc),
    (("machines", _ANY, "segments", _ANY), AttachmentDoc),
    (("machines", _ANY, "routes", _ANY), RouteDoc),
    (("expect", _ANY), ExpectDoc),
)
_LEFT_OUT: Final = (
    ("hosts", _ANY, "nics", _ANY),
    ("hosts", _ANY, "networks", _ANY),
    ("hosts", _ANY, "vms", _ANY),
    ("hosts", _ANY, "routes"),
    ("hosts", _ANY, "backend"),
    ("segments", _ANY),
    ("machines", _ANY),
    ("hosts", _ANY),
    ("expect", _ANY),
)
_WANTED: Final = {
    "int_type": ("is not a whole number", "write digits without quotes"),
    "bool_type": ("is neither true nor false", "write true or false, without quotes"),
    "string_type": ("is not a name", "write one plain word (in quotes if it looks like a number)"),
    "dict_type": ("is not a map", "write `key: value` pairs"),
    "model_type": ("is not a map", "write `key: value` pairs"),
    "list_type": ("is not a list", "write [..., ...]"),
}


def document_of(report: Report) -> Document:
    """Return the sound part of the source as a Document; what is wrong with the rest is reported."""
    data = report.source.root.plain()
    if data is None:
        report.add((), "is empty", "describe segments, hosts or machines; see `vnetlab schema`", "")
        return Document()
    while True:
        try:
            return Document.model_validate(data)
        except ValidationError as error:
            details = error.errors(include_url=False)
        for detail in details:
            _explain(detail, report)
        paths = {_left_out(detail) for detail in details}
        for path in paths:
            report.refuse(path)
        # back to front, so that the indices of list items stay what they are
        removed = [path and _remove(data, path) for path in sorted(paths, key=_order, reverse=True)]
        if not any(removed):
            report.refuse(())
            return Document()


def _order(path: Path) -> tuple[tuple[int, str], ...]:
    return tuple((step, "") if isinstance(step, int) else (0, step) for step in path)


def _path(detail: ErrorDetails) -> Path:
    """Return where an error is, without what pydantic adds: the mark of a key, the tag of a union."""
    location = detail["loc"]
    if _is_of_key(detail):
        location = location[:-1]
    return tuple(
        step
        for before, step in zip((None, *location), location, strict=False)
        if not (before == "routes" and step in TAGS)
    )


def _is_of_key(detail: ErrorDetails) -> bool:
    return detail["type"] == CUSTOM and detail["loc"][-1] == "[key]"


def _explain(detail: ErrorDetails, report: Report) -> None:
    if report.is_full:
        return
    path, kind, context = _path(detail), detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        keys = _keys(path[:-1])
        report.add_to_key(path, "is not a key of this element", nearest(str(path[-1]), keys, "key"))
    elif kind == "missing":
        report.add(path, "is missing", f"add `{path[-1]}:`", value="")
    elif kind == "literal_error":
        words = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        report.add(path, "is not a word that is known here", _word(detail["input"], words))
    elif kind in ("greater_than_equal", "less_than_equal"):
        bound = context.get("ge", context.get("le"))
        wrong, remedy = ("smaller", "more") if "ge" in context else ("greater", "less")
        report.add(path, f"is {wrong} than {bound}", f"write {bound} or {remedy}")
    elif _is_of_key(detail):
        report.add_to_key(path, context["wrong"], context["remedy"])
    elif kind == CUSTOM:
        report.add(path, context["wrong"], context["remedy"])
    else:
        wrong, remedy = _WANTED.get(kind, (detail["msg"], "see `vnetlab schema`"))
        report.add(path, wrong, remedy)


def _word(written: object, words: list[str]) -> str:
    close = difflib.get_close_matches(written, words, n=1) if isinstance(written, str) else ()
    if len(words) == 1:
        return f"write {words[0]}"
    listed = f"choose one of {', '.join(words)}"
    return f"did you mean {close[0]}? Else {listed}" if close else listed


def _keys(path: Path) -> list[str]:
    for pattern, element in _ELEMENTS:
        if _matches(pattern, path):
            fields = element.model_fields.items()
            return [info.alias or name for name, info in fields]
    return []


def _matches(pattern: tuple[str, ...], path: Path) -> bool:
    return len(pattern) == len(path) and _begins(pattern, path)


def _begins(pattern: tuple[str, ...], path: Path) -> bool:
    pairs = zip(pattern, path, strict=False)
    return len(path) >= len(pattern) and all(a in (_ANY, b) for a, b in pairs)


def _left_out(detail: ErrorDetails) -> Path:
    path = _path(detail)
    if detail["type"] == "extra_forbidden":
        return path
    for pattern in _LEFT_OUT:
        if _begins(pattern, path):
            return path[: len(pattern)]
    return path[:1]


def _remove(data: Any, path: Path) -> bool:
    """Remove what the path leads to, or the last element on the way; returns whether it could."""
    step, rest = path[0], path[1:]
    if isinstance(data, list):
        if isinstance(step, int):
            inner = data[step] if step < len(data) else None
            if rest and isinstance(inner, dict | list):
                return _remove(inner, rest)
            del data[step : step + 1]
            return inner is not None
        named = [item for item in data if isinstance(item, dict) and step in item]
        return [_remove(item, path) for item in named].count(True) > 0
    if not isinstance(data, dict) or step not in data:
        return False
    if rest and isinstance(data[step], dict | list):
        return _remove(data[step], rest)
    del data[step]
    return True
