"""A desired State in the words of the present one, so that only what has another meaning differs.

The kernel lists rules in its own words: sets sorted, numbers by name, ranges put together. Both texts are
parsed as the model parses them; a rule of equal meaning takes the words that are there. Rejected: loading the
desired rules somewhere to list them, since who only looks must not write. Settings that the kernel does not
have are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import astuple, replace

from vnetlab.plan.settings import device_of
from vnetlab.plan.tables import plain
from vnetlab.predict.parse import parse_rule
from vnetlab.predict.rules import Values
from vnetlab.predict.tables import parse_hook
from vnetlab.predict.values import joined
from vnetlab.state import State

if TYPE_CHECKING:
    from collections.abc import Hashable

    from vnetlab.state import Namespace, NftChain, NftRule, NftTable


def in_words_of(present: State, desired: State) -> State:
    """Return the desired State, with what is there already in the words in which it is there."""
    found = {namespace.name: namespace for namespace in present.namespaces}
    return State(tuple(_namespace(found[n.name], n) if n.name in found else n for n in desired.namespaces))


def _namespace(present: Namespace, desired: Namespace) -> Namespace:
    keys = {sysctl.key for sysctl in present.sysctls}
    devices = {link.name for link in present.links} | {"", "all", "default", "lo"}
    tables = {(table.family, table.name): table for table in present.tables}
    return replace(
        desired,
        sysctls=tuple(s for s in desired.sysctls if s.key in keys or device_of(s.key) not in devices),
        tables=tuple(_table(tables.get((t.family, t.name)), plain(t)) for t in desired.tables),
    )


def _table(present: NftTable | None, desired: NftTable) -> NftTable:
    if present is None:
        return desired
    chains = {chain.name: chain for chain in present.chains}
    sets = {each.name: each for each in plain(present).sets}
    return replace(
        desired,
        chains=tuple(_chain(chains.get(c.name), c, desired.family) for c in desired.chains),
        sets=tuple(sets[s.name] if _same_set(sets.get(s.name), s) else s for s in desired.sets),
    )


def _same_set(present: Any, desired: Any) -> bool:
    if present is None:
        return False
    elements = {" ".join(e.split()) for e in desired.elements}
    return replace(present, elements=desired.elements) == desired and elements == set(present.elements)


def _chain(present: NftChain | None, desired: NftChain, family: str) -> NftChain:
    if present is None:
        return desired
    known = {(_meaning(rule, family), rule.comment): rule for rule in present.rules}
    return replace(
        desired,
        hook=present.hook if _same_hook(present.hook, desired.hook, family) else desired.hook,
        rules=tuple(known.get((_meaning(rule, family), rule.comment), rule) for rule in desired.rules),
    )


def _same_hook(present: str, desired: str, family: str) -> bool:
    if not present or not desired:
        return present == desired
    return parse_hook(present, family) == parse_hook(desired, family)


def _meaning(rule: NftRule, family: str) -> Hashable:
    """Return what a rule does: the same for every text of it. For one that nobody understands its text."""
    parsed = parse_rule(rule.text, family)
    if parsed.unknown:
        return rule.text
    return _plain(replace(parsed, label=""))


def _plain(value: Any) -> Hashable:
    """Return a value of the parser without the order of what has none."""
    if isinstance(value, Values):
        numbers = {(n, n) for n in value.exact if isinstance(n, int)} | set(value.ranges)
        names = {name for name in value.exact if isinstance(name, str)}
        return (tuple(joined(numbers)), frozenset(names), frozenset(value.prefixes))
    if isinstance(value, Struct):
        return (type(value).__name__, *(_plain(part) for part in astuple(value)))
    if isinstance(value, tuple):
        return tuple(_plain(part) for part in value)
    return value  # type: ignore[no-any-return]
