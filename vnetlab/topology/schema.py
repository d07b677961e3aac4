"""The JSON Schema of topology files, and the reference documentation that is written from it."""

from __future__ import annotations

from typing import Any, Final

from vnetlab.topology.document import Document

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_SUFFIX: Final = "Doc"
_ORDER: Final = (
    "Segment",
    "Host",
    "Nic",
    "Network",
    "Forward",
    "Vm",
    "Machine",
    "Attachment",
    "Route",
    "Expect",
)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a topology file, short forms included."""
    schema = _renamed(Document.model_json_schema(by_alias=True, mode="validation"))
    definitions = {
        name.removesuffix(_SUFFIX): _without_titles(body) | {"title": name.removesuffix(_SUFFIX)}
        for name, body in schema.pop("$defs").items()
    }
    body = _without_titles(schema)
    return {"$schema": _DIALECT, "title": "vnetlab topology", **body, "$defs": definitions}


def reference_markdown() -> str:
    """Return the reference of topology files as Markdown: each element with its keys."""
    schema = json_schema()
    parts = [_section("Top level", schema, schema)]
    parts += [_section(name, schema["$defs"][name], schema) for name in _ORDER]
    return "\n".join(["# Topology file reference\n", *parts])


def _section(name: str, element: dict[str, Any], schema: dict[str, Any]) -> str:
    required = element.get("required", [])
    lines = [f"## {name}", "", element["description"], ""]
    lines += ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, value in element["properties"].items():
        default = "required" if key in required else _default(value)
        row = (f"`{key}`", _words(value, schema), default, value.get("description", ""))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join([*lines, ""])


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if default is None or default in ([], {}):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _words(value: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return what may be written there, in words; null, which only means absence, is left out."""
    for key in ("anyOf", "oneOf"):
        if key in value:
            found = [_words(one, schema) for one in value[key] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(found))
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in value:
        return " or ".join(f"`{word}`" for word in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    return _plain_words(value, schema)


def _plain_words(value: dict[str, Any], schema: dict[str, Any]) -> str:
    kind = value.get("type", "anything")
    if kind == "array":
        return f"list of {_words(value.get('items', {}), schema)}"
    if kind == "object":
        inner = value.get("additionalProperties") or next(
            iter(value.get("patternProperties", {}).values()), None
        )
        return f"map of name to {_words(inner, schema)}" if inner else "map"
    if kind == "string":
        return str(value["format"]).replace("-", " ") if "format" in value else "name"
    if kind == "integer":
        return f"{value['minimum']} to {value['maximum']}" if "minimum" in value else "number"
    return "true or false" if kind == "boolean" else str(kind)


def _renamed(schema: Any) -> Any:
    """Return the schema with references to elements by their names in the documentation."""
    if isinstance(schema, dict):
        return {
            key: value.removesuffix(_SUFFIX) if key == "$ref" else _renamed(value)
            for key, value in schema.items()
        }
    return [_renamed(item) for item in schema] if isinstance(schema, list) else schema


def _without_titles(schema: Any) -> Any:
    """Return the schema without the titles that pydantic makes up, and strict about names."""
    if isinstance(schema, dict):
        kept = {
            key: _without_titles(value)
            for key, value in schema.items()
            if not (key == "title" and isinstance(value, str))
        }
        return kept | ({"additionalProperties": False} if "patternProperties" in kept else {})
    return [_without_titles(item) for item in schema] if isinstance(schema, list) else schema
