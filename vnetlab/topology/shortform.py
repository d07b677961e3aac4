"""Short forms of the topology file: what a plain name, a list or nothing stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema

from vnetlab.topology.values import refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue


@dataclass(frozen=True, eq=False)
class ShortForm:
    """Annotation: a value may be written in these shorter ways too, which ``expand`` writes out."""

    expand: Callable[[object], object]
    schemas: tuple[JsonSchemaValue, ...]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.expand, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [*self.schemas, handler(schema)]}


def nothing_to_map(value: object) -> object:
    """Write out an element with nothing behind its colon."""
    return {} if value is None else value


def one_to_list(value: object) -> object:
    """Write out one value that stands for a list of one."""
    return [value] if isinstance(value, str | int | float) else value


def text_to(key: str) -> Callable[[object], object]:
    """Return what writes ``NAME`` out as ``{key: NAME}``."""

    def expand(value: object) -> object:
        return {key: value} if isinstance(value, str) else nothing_to_map(value)

    return expand


def names_to(key: str) -> Callable[[object], object]:
    """Return what writes ``NAME`` or a list of names out as ``{key: ...}``."""

    def expand(value: object) -> object:
        return {key: value} if isinstance(value, str | list) else nothing_to_map(value)

    return expand


def attachments(value: object) -> object:
    """Write out ``[home, {bench: {...}}]`` as ``{home: {}, bench: {...}}``."""
    if isinstance(value, str):
        return {value: {}}
    if not isinstance(value, list):
        return value
    found: dict[str, object] = {}
    for item in value:
        pairs = item if isinstance(item, dict) else {_name(item): {}}
        for name, options in pairs.items():
            if name in found:
                raise refuse(f"{name} is listed twice", "list it once")
            found[name] = options
    return found


def _name(item: object) -> str:
    if isinstance(item, str):
        return item
    if item is None or isinstance(item, list):
        raise refuse("has an item that is no name", "write [NAME, ...] or {NAME: ...}")
    raise refuse(f"{item!r} is not a name", f'put it in quotes: "{item}"')


NAME_SCHEMA: JsonSchemaValue = {"type": "string"}
SUBNET_SCHEMA: JsonSchemaValue = {"type": "string", "format": "prefix"}
ADDRESS_SCHEMA: JsonSchemaValue = {"type": "string", "format": "address"}
NULL_SCHEMA: JsonSchemaValue = {"type": "null"}
NAMES_SCHEMA: JsonSchemaValue = {
    "type": "array",
    "items": {"anyOf": [{"type": "string"}, {"type": "object"}]},
}
