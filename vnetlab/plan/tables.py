"""What differs between the nftables tables of two States, and the one transaction that makes the change.

Rules that stay keep their place in the kernel, and so their counters: a chain is edited rule by rule, by the
kernel's handles, rather than emptied and filled again.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vnetlab.state import NftTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from vnetlab.state import NftChain, NftRule

ChainKey = tuple[str, str, str]
"""Family, table, chain."""

_POLICY = re.compile(r"\s*policy \w+;")
_DEFINED = re.compile(r"\$(\w+)")


class TableChange(Struct, frozen=True):
    """A table as it is and as it shall be; None where there is none."""

    before: NftTable | None
    after: NftTable | None

    def describe(self) -> str:
        """Return the change in one line."""
        table = self.after or self.before
        name = f"nftables table {table.family} {table.name}" if table else ""
        if self.before is None:
            return f"add {name}, {_count(self.after)} rules"
        if self.after is None:
            return f"remove {name}, {_count(self.before)} rules"
        if self.whole:
            return f"replace {name}, {_count(self.after)} rules"
        return f"change {name}: " + ", ".join(_chain_words(self.before, self.after))

    @property
    def whole(self) -> bool:
        """Whether the table can only be replaced as a whole: its sets differ, or what is jumped to."""
        if self.before is None or self.after is None or self.before.sets != self.after.sets:
            return True
        hooks = {chain.name: bool(chain.hook) for chain in self.before.chains}
        return any(hooks.get(c.name, bool(c.hook)) != bool(c.hook) for c in self.after.chains)

    def edited(self) -> tuple[ChainKey, ...]:
        """Return the chains of which rules are taken or between whose rules new ones come."""
        if self.whole or self.before is None or self.after is None:
            return ()
        after = {chain.name: chain for chain in self.after.chains}
        return tuple(
            (self.before.family, self.before.name, chain.name)
            for chain in self.before.chains
            if chain.name in after and chain.rules != after[chain.name].rules
        )


def changes(before: Sequence[NftTable], after: Sequence[NftTable]) -> tuple[TableChange, ...]:
    """Return what differs between the tables of a namespace; those that are equal are left out."""
    old = {(t.family, t.name): plain(t) for t in before}
    new = {(t.family, t.name): plain(t) for t in after}
    found = [TableChange(table, None) for key, table in old.items() if key not in new]
    found += [TableChange(old.get(k), t) for k, t in new.items() if k not in old or _differ(old[k], t)]
    return tuple(found)


def plain(table: NftTable) -> NftTable:
    """Return a table as the kernel knows it: without comment lines, definitions written out."""
    defines = dict(table.defines)

    def written(text: str) -> str:
        return _DEFINED.sub(lambda found: defines.get(found[1], found[0]), text)

    def chain(old: NftChain) -> NftChain:
        rules = tuple(replace(rule, text=written(rule.text)) for rule in old.rules)
        return replace(old, hook=written(old.hook), rules=rules, about="")

    sets = tuple(replace(s, elements=tuple(sorted(written(e) for e in s.elements))) for s in table.sets)
    return NftTable(table.family, table.name, tuple(chain(c) for c in table.chains), sets=sets)


def _differ(one: NftTable, other: NftTable) -> bool:
    """Tell whether tables differ in more than the order of their chains."""
    return one.sets != other.sets or {c.name: c for c in one.chains} != {c.name: c for c in other.chains}


def transaction(edits: Iterable[TableChange], handles: Mapping[ChainKey, Sequence[int]]) -> str:
    """Return nft text that makes the changes at once.

    ``handles`` has those of the rules of every chain that ``edited()`` names.
    """
    lines: list[str] = []
    for edit in edits:
        if edit.before is not None and edit.after is not None and not edit.whole:
            lines += _edit(edit.before, edit.after, handles)
            continue
        if edit.before is not None:
            lines.append(f"delete table {edit.before.family} {edit.before.name}")
        if edit.after is not None:
            lines.append(edit.after.render())
    return "\n".join(lines) + "\n"


def _edit(before: NftTable, after: NftTable, handles: Mapping[ChainKey, Sequence[int]]) -> Iterator[str]:
    old = {chain.name: chain for chain in before.chains}
    new = {chain.name: chain for chain in after.chains}
    name = f"{after.family} {after.name}"
    rebuilt = {n for n in old.keys() & new.keys() if _needs_rebuilding(old[n], new[n])}
    gone = [n for n in old if n not in new or n in rebuilt]
    # Rules go before the chains that they jump to, and come after them.
    yield from (f"flush chain {name} {chain}" for chain in gone)
    kept = [n for n in new if n in old and n not in rebuilt and old[n] != new[n]]
    edits = {n: tuple(_rule_edits(f"{name} {n}", old[n], new[n], handles, before)) for n in kept}
    yield from (line for each in edits.values() for line in each if line.startswith("delete "))
    yield from (f"delete chain {name} {chain}" for chain in gone)
    for chain in new.values():
        if chain.name not in old or chain.name in rebuilt or chain.hook != old[chain.name].hook:
            yield f"add chain {name} {chain.name} {{ {chain.hook} }}"
    for chain in new.values():
        if chain.name in edits:
            yield from (line for line in edits[chain.name] if not line.startswith("delete "))
        elif chain.name not in old or chain.name in rebuilt:
            yield from (f"add rule {name} {chain.name} {rule.render()}" for rule in chain.rules)


def _needs_rebuilding(old: NftChain, new: NftChain) -> bool:
    """Tell whether more than the policy of a hook differs; of devices not even that can be changed."""
    if old.hook == new.hook:
        return False
    return "device" in new.hook or _POLICY.sub("", old.hook) != _POLICY.sub("", new.hook)


def _rule_edits(
    where: str,
    old: NftChain,
    new: NftChain,
    handles: Mapping[ChainKey, Sequence[int]],
    table: NftTable,
) -> Iterator[str]:
    if old.rules == new.rules:
        return
    known = handles[table.family, table.name, old.name]
    for kind, i1, i2, j1, j2 in _opcodes(old.rules, new.rules):
        if kind == "equal":
            continue
        yield from (f"delete rule {where} handle {known[i]}" for i in range(i1, i2))
        # Before the next rule that stays, or at the end.
        verb, place = ("insert", f" handle {known[i2]}") if i2 < len(old.rules) else ("add", "")
        yield from (f"{verb} rule {where}{place} {rule.render()}" for rule in new.rules[j1:j2])


def _opcodes(old: tuple[NftRule, ...], new: tuple[NftRule, ...]) -> Iterator[tuple[str, int, int, int, int]]:
    yield from SequenceMatcher(None, old, new, autojunk=False).get_opcodes()


def _count(table: NftTable | None) -> int:
    return sum(len(chain.rules) for chain in table.chains) if table else 0


def _chain_words(before: NftTable, after: NftTable) -> Iterator[str]:
    old = {chain.name: chain for chain in before.chains}
    new = {chain.name: chain for chain in after.chains}
    yield from (f"remove chain {name}" for name in old if name not in new)
    for chain in new.values():
        if chain.name not in old:
            yield f"add chain {chain.name}, {len(chain.rules)} rules"
        elif chain != old[chain.name]:
            yield from _rule_words(old[chain.name], chain)


def _rule_words(old: NftChain, new: NftChain) -> Iterator[str]:
    if old.hook != new.hook:
        yield f"change chain {new.name} to `{new.hook}`"
    for kind, i1, i2, j1, j2 in _opcodes(old.rules, new.rules):
        if kind != "equal":
            yield from (f"remove from {new.name} `{_words(rule)}`" for rule in old.rules[i1:i2])
            yield from (f"add to {new.name} `{_words(rule)}`" for rule in new.rules[j1:j2])


def _words(rule: NftRule) -> str:
    return f"{rule.text} ({rule.comment})" if rule.comment else rule.text
