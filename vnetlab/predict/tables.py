"""The nftables tables of a namespace, understood: base chains by family and hook, in the kernel's order."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.predict.evaluate import Ruleset
from vnetlab.predict.parse import parse_rule
from vnetlab.predict.rules import Chain, Hook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vnetlab.state import NftChain, NftSet, NftTable

_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
_BRIDGE_PRIORITIES = {"dstnat": -300, "filter": -200, "out": 100, "srcnat": 300}
"""Names of priorities (nft(8), and linux/netfilter_ipv4.h, linux/netfilter_bridge.h)."""
_HOOK = re.compile(
    r"type\s+(?P<kind>\w+)\s+hook\s+(?P<name>\w+)\s+"
    r"(?:devices?\s*=?\s*(?P<devices>\{[^}]*\}|\"[^\"]*\"|\$?[\w.-]+)\s+)?"
    r"priority\s+(?P<priority>[^;]+?)\s*;\s*(?:policy\s+(?P<policy>\w+)\s*;)?\s*"
)
_DEVICE = re.compile(r"[^\s{},\"]+")
_FAMILIES = {"inet": ("inet",), "ip": ("ip",), "ip6": ("ip6",)}


class Base(Struct, frozen=True):
    """A base chain and the table that it runs in."""

    chain: Chain
    ruleset: Ruleset

    @property
    def hook(self) -> Hook:
        """Where it is called from."""
        assert self.chain.hook is not None
        return self.chain.hook


def base_chains(tables: tuple[NftTable, ...], namespace: str = "") -> tuple[Base, ...]:
    """Return the base chains of all tables in the order in which the kernel calls those of one hook.

    Of equal priorities the chain that came last is called first (`nf_hook_entries_grow`).
    """
    last_first = [base for table in tables for base in _of_table(table, namespace)][::-1]
    return tuple(sorted(last_first, key=lambda base: base.hook.priority))


def _of_table(table: NftTable, namespace: str) -> Iterator[Base]:
    chains = understood(table)
    ruleset = Ruleset(chains, namespace)
    for chain in chains.values():
        if chain.hook:
            yield Base(chain, ruleset)


@lru_cache(maxsize=256)
def understood(table: NftTable) -> Mapping[str, Chain]:
    """Return the chains of a table by name, their rules as values: texts that mean the same are equal.

    Model, drift and coverage all ask for the tables of one State: each is read once.
    """
    return {
        chain.name: _chain(table.name, table.family, chain, table.defines, table.sets)
        for chain in table.chains
    }


@lru_cache(maxsize=4096)
def _chain(
    table: str, family: str, chain: NftChain, defines: tuple[tuple[str, str], ...], sets: tuple[NftSet, ...]
) -> Chain:
    """Return one chain; the others of its table are read no more often where this one changes."""
    known = dict(defines)
    elements = {each.name: f"{{ {', '.join(each.elements)} }}" for each in sets}
    rules = tuple(parse_rule(r.text, family, r.comment, known, elements) for r in chain.rules)
    return Chain(
        table,
        family,
        chain.name,
        parse_hook(chain.hook, family, known) if chain.hook else None,
        rules,
        label=f"{family} {table} {chain.name}",
    )


def parse_hook(text: str, family: str, defines: dict[str, str] | None = None) -> Hook:
    """Return a hook from its nft text; raises ValueError for text that is none."""
    found = _HOOK.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"no nftables hook: {text}")
    devices = tuple(_DEVICE.findall(found["devices"] or ""))
    return Hook(
        found["kind"],
        found["name"],
        _priority(found["priority"], family),
        found["policy"] or "accept",
        tuple((defines or {}).get(name.removeprefix("$"), name).strip('"') for name in devices),
    )


def _priority(text: str, family: str) -> int:
    names = _BRIDGE_PRIORITIES if family == "bridge" else _PRIORITIES
    word, *rest = text.replace("+", " + ").split() if not text.startswith("-") else [text]
    base = names[word] if word in names else int(word)
    return base + int("".join(rest) or "0")
