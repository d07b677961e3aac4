"""`nft list ruleset` -> tables of a State.

The listing is nft's own text, which `nft -f` takes back: a rule is a line, an anonymous set stays within it.
Rejected: the JSON of libnftables, which a State that holds rules as text would need a printer for, a second
one beside nft's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vnetlab.state import NftChain, NftRule, NftSet, NftTable

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLE = re.compile(r"table (\w+) (\S+) \{(?:\s*#.*)?")
_CHAIN = re.compile(r"chain (\S+) \{(?:\s*#.*)?")
_SET = re.compile(r"(set|map) (\S+) \{(?:\s*#.*)?")
_ELEMENT_EXTRAS = re.compile(r'\s+(?:comment "[^"]*"|counter packets \d+ bytes \d+)')
_COMMENT = re.compile(r'^(.*?)\s*\bcomment "([^"]*)"$')
_PACKETS = re.compile(r"\bcounter packets (\d+) bytes \d+")
_COUNTER = re.compile(r" ?\bcounter(?: packets \d+ bytes \d+)?(?=\s|$)(?! name)")


def tables(listing: str) -> tuple[NftTable, ...]:
    """Return the tables of a listing, in its order."""
    lines = iter([line.strip() for line in listing.splitlines()])
    return tuple(_table(found, lines) for line in lines if (found := _TABLE.fullmatch(line)))


def counts(listing: str) -> dict[tuple[str, int], int]:
    """Return the packets that each rule's own counter has, by chain (family, table, name) and position."""
    found: dict[tuple[str, int], int] = {}
    table = chain = ""
    position = 0
    for line in (line.strip() for line in listing.splitlines()):
        if head := _TABLE.fullmatch(line):
            table = f"{head[1]} {head[2]}"
        elif head := _CHAIN.fullmatch(line):
            chain, position = f"{table} {head[1]}", 0
        elif line == "}":
            chain = ""
        elif chain and _is_rule(line):
            position += 1
            if counter := _PACKETS.search(line):
                found[chain, position] = int(counter[1])
    return found


def _is_rule(line: str) -> bool:
    hook = line.startswith("type ") and " hook " in line
    return bool(line) and not hook and not line.startswith(("comment ", "#"))


def dormant(listing: str) -> bool:
    """Tell whether a table of the listing is switched off, which a State has no word for."""
    return any(line.strip() == "flags dormant" for line in listing.splitlines())


def _table(head: re.Match[str], lines: Iterator[str]) -> NftTable:
    chains: list[NftChain] = []
    sets: list[NftSet] = []
    for line in lines:
        if line == "}":
            break
        if found := _CHAIN.fullmatch(line):
            chains.append(_chain(found[1], lines))
        elif found := _SET.fullmatch(line):
            sets += _set(found[1], found[2], lines)
        elif line.endswith("{"):
            _block(lines)
    return NftTable(head[1], head[2], tuple(chains), sets=tuple(sets))


def _set(kind: str, name: str, lines: Iterator[str]) -> Iterator[NftSet]:
    """Yield a set, but for one that packets or time change: a State does not have its members."""
    text = _block(lines)
    head, _, elements = text.partition("elements = {")
    words = dict(line.split(" ", 1) for line in head.splitlines() if " " in line)
    flags = words.get("flags", "")
    kinds = words.get("type", f"typeof {words['typeof']}" if "typeof" in words else "")
    if not kinds or "timeout" in flags or "dynamic" in flags:
        return
    members = _ELEMENT_EXTRAS.sub("", elements.rpartition("}")[0])
    found = tuple(member.strip() for member in members.split(",") if member.strip())
    yield NftSet(name, kind, kinds, found, flags)


def _block(lines: Iterator[str]) -> str:
    """Return what is between the braces that the last line opened."""
    depth, found = 1, []
    for line in lines:
        depth += line.count("{") - line.count("}")
        if not depth:
            break
        found.append(line)
    return "\n".join(found)


def _chain(name: str, lines: Iterator[str]) -> NftChain:
    hook, rules = "", []
    for line in lines:
        if line == "}":
            break
        if _is_rule(line):
            rules.append(_rule(line))
        elif line.startswith("type "):
            hook = line
    return NftChain(name, hook, tuple(rules))


def rule_label(line: str) -> str:
    """Return how a rule of a listing is named: by its comment, else by its text."""
    rule = _rule(line)
    return rule.comment or rule.text


def _rule(line: str) -> NftRule:
    found = _COMMENT.fullmatch(line)
    text, comment = (found[1], found[2]) if found else (line, "")
    return NftRule(_COUNTER.sub("", text).strip(), comment)
