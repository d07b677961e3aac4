"""A change of rules that look values up in sets, in two transactions where one would cut what stays allowed.

The kernel shows a packet the new rules of a chain a moment before the members of their new sets: it exchanges
the rules of each chain first, then begins the generation that the members belong to (`nf_tables_commit()`,
steps 2 and 3, in net/netfilter/nf_tables_api.c). If it is preempted in between, on a busy machine for tens of
milliseconds, the new rule fits nothing and the packet meets the next one. So a rule with a set that takes the
place of another with the same verdict is first put behind it, where it decides nothing that is not decided
alike before or after; the other goes in the change proper.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.plan.tables import TableChange

if TYPE_CHECKING:
    from vnetlab.state import NftChain, NftRule

Changes = tuple[TableChange, ...]


def staged(changes: Changes) -> tuple[Changes, Changes]:
    """Return what goes before the change proper, and that."""
    first, second = [], []
    for change in changes:
        middle = _prepared(change)
        if middle is None:
            second.append(change)
        else:
            first.append(middle)
            second.append(TableChange(middle.after, change.after))
    return tuple(first), tuple(second)


def _prepared(change: TableChange) -> TableChange | None:
    if change.whole or change.before is None or change.after is None:
        return None
    new = {chain.name: chain for chain in change.after.chains}
    chains = tuple(_both(c, new[c.name]) if c.name in new else c for c in change.before.chains)
    if chains == change.before.chains:
        return None
    return TableChange(change.before, replace(change.before, chains=chains))


def _both(old: NftChain, new: NftChain) -> NftChain:
    """Return the old chain, with rules of the new one behind those whose place they take."""
    rules: list[NftRule] = []
    for kind, i1, i2, j1, j2 in SequenceMatcher(None, old.rules, new.rules, autojunk=False).get_opcodes():
        for offset, rule in enumerate(old.rules[i1:i2]):
            rules.append(rule)
            heir = new.rules[j1 + offset] if kind == "replace" and j1 + offset < j2 else None
            if heir and "{" in heir.text and _verdict(heir) and _verdict(heir) == _verdict(rule):
                rules.append(heir)
    return replace(old, rules=tuple(rules))


def _verdict(rule: NftRule) -> str:
    for verdict in ("accept", "drop", "reject"):
        if f" {verdict}" in f" {rule.text}":
            return verdict
    return ""
