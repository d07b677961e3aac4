"""Runs a packet through nftables chains: which rule has the last word, and what it says."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.items import rule_item
from vnetlab.predict.apply import found_in, inside, resolved, take_effect, values_of
from vnetlab.predict.passage import Passage, Unknown
from vnetlab.predict.readers import reader_of
from vnetlab.predict.rules import Chain, Key, Reject, Rule, Translate, Verdict, VerdictMap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from vnetlab.items import Item
    from vnetlab.predict.apply import Read
    from vnetlab.predict.readers import Value
    from vnetlab.predict.rules import Match

_MOST_JUMPS = 16  # NFT_JUMP_STACK_SIZE in the kernel's net/netfilter/nf_tables.h
_INPUT, _OUTPUT = (Key("meta", "iifname"),), (Key("meta", "oifname"),)
_ORDERED: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


class Decision(Struct, frozen=True):
    """What a base chain says of a packet, and which of its rules said it."""

    action: Verdict | Reject | Translate
    chain: Chain
    rule: Rule | None
    """None: the chain's policy."""

    @property
    def label(self) -> str:
        """Return chain and rule, as reports name them."""
        return f"{self.chain.label}: {self.rule.label if self.rule else 'policy'}"


_RETURN, _CONTINUE = Verdict("return"), Verdict("continue")


class Ruleset:
    """The chains of one table, ready to be run."""

    def __init__(self, chains: Mapping[str, Chain], namespace: str = "") -> None:
        """Take the chains by name; ``namespace`` is whose they are, for what is written down as used."""
        self._chains = chains
        self._relevant: dict[tuple[str, str, str], tuple[_Ready, ...]] = {}
        self._policies = {
            name: Decision(Verdict(chain.hook.policy), chain, None)
            for name, chain in chains.items()
            if chain.hook
        }
        self._ready = {
            name: tuple(
                _Ready(rule, rule_item(namespace, chain.label, at, rule.label))
                for at, rule in enumerate(chain.rules, 1)
            )
            for name, chain in chains.items()
        }

    def rules(self) -> Iterator[Rule]:
        """Iterate over the rules of all chains."""
        for chain in self._chains.values():
            yield from chain.rules

    def run(self, chain: Chain, passage: Passage) -> Decision:
        """Return the decision of a base chain. Raises Unknown."""
        found = self._walk(chain.name, passage, 0)
        if found is None or found[0] is _RETURN:
            return self._policies[chain.name]
        action, rule = found
        assert isinstance(action, Verdict | Reject | Translate)
        return Decision(action, chain, rule)

    def _walk(
        self, name: str, passage: Passage, depth: int
    ) -> tuple[Verdict | Reject | Translate, Rule] | None:
        """Return action and rule; None where the chain comes to its end."""
        if depth > _MOST_JUMPS:
            raise Unknown(f"more than {_MOST_JUMPS} jumps")
        for ready in self._rules_for(name, passage):
            if not ready.applies(passage):
                continue
            passage.used.append(ready.item)
            action = ready.act(passage)
            if isinstance(action, Verdict) and action.kind in ("jump", "goto"):
                if action.target not in self._chains:
                    raise Unknown(f"chain {action.target}")
                found = self._walk(action.target, passage, depth + 1)
                if found is not None and found[0].__class__ is Verdict and found[0] is _RETURN:
                    found = None
                if found is None and action.kind == "jump":
                    continue
                return found if found is not None else (_RETURN, ready.rule)
            if isinstance(action, Verdict) and action.kind == "return":
                return _RETURN, ready.rule
            if action is not None and action != _CONTINUE:
                return action, ready.rule
        return None

    def _rules_for(self, name: str, passage: Passage) -> tuple[_Ready, ...]:
        """Return the rules that can fit a packet between these two devices."""
        key = (name, passage.iif, passage.oif)
        found = self._relevant.get(key)
        if found is None:
            found = tuple(r for r in self._ready[name] if r.fits_devices(passage.iif, passage.oif))
            self._relevant[key] = found
        return found


class _Ready:
    """A rule with its matches on devices set apart, since those decide for many packets at once."""

    __slots__ = ("_devices", "_matches", "_rest", "applies", "item", "rule")

    def __init__(self, rule: Rule, item: Item) -> None:
        self.rule = rule
        self.item = item
        self._rest = _Ready(rule.rest, item) if rule.rest else None
        self._devices = [m for m in rule.matches if m.keys in (_INPUT, _OUTPUT)]
        self._matches = [_test(match) for match in rule.matches if match not in self._devices]
        alone = len(self._matches) == 1 and not rule.is_idle
        self.applies = self._matches[0] if alone else self._all_apply
        """Tells whether all matches hold. Raises Unknown where what is not known decides."""

    def fits_devices(self, iif: str, oif: str) -> bool:
        return _all_fit(self._devices, iif, oif)

    def _all_apply(self, passage: Passage) -> bool:
        doubt: Unknown | None = None
        for test in self._matches:
            try:
                if not test(passage):
                    return False
            except Unknown as why:
                doubt = doubt or why
        if doubt and not self.rule.is_idle:
            raise doubt
        return doubt is None

    def act(self, passage: Passage) -> Verdict | Reject | Translate | None:
        """Return what a rule that applies does; None to go on with the next one. Raises Unknown."""
        rule = self.rule
        if rule.unknown:
            raise Unknown(f"rule `{rule.label}`: {rule.unknown}")
        for effect in rule.effects:
            if not take_effect(effect, passage):
                return None
        action, rest = rule.action, self._rest
        if rest is not None:
            fits = rest.fits_devices(passage.iif, passage.oif) and rest.applies(passage)
            return rest.act(passage) if fits else None
        if isinstance(action, VerdictMap):
            return _mapped(action, passage)
        return resolved(action, passage) if isinstance(action, Translate) else action


def fits_devices(rule: Rule, iif: str, oif: str) -> bool:
    """Tell whether a rule's matches on devices hold for these two; empty: there is none."""
    return _all_fit([m for m in rule.matches if m.keys in (_INPUT, _OUTPUT)], iif, oif)


def _all_fit(matches: Iterable[Match], iif: str, oif: str) -> bool:
    return all(_holds(m, (iif if m.keys == _INPUT else oif,)) for m in matches)


def _test(match: Match) -> Callable[[Passage], bool]:
    """Return a match as a function; a packet without the field does not fit, whatever the operator."""
    if match.operator == "doubt":
        return _doubt(match.keys[0].name)
    readers = tuple(reader_of(key) for key in match.keys)
    if (
        len(readers) == 1
        and len(match.members) == 1
        and match.mask is None
        and match.operator in ("==", "!=")
    ):
        return _plain_test(readers[0], match.members[0][0].test(), match.operator == "==")

    def test(passage: Passage) -> bool:
        values = values_of(readers, passage)
        return None not in values and _holds(match, values)

    return test


def _doubt(name: str) -> Callable[[Passage], bool]:
    def test(passage: Passage) -> bool:
        raise Unknown(f"`{name}`, which no state tells")

    return test


def _plain_test(
    read: Callable[[Passage], Value], has: Callable[[int | str], bool], inside: bool
) -> Callable[[Passage], bool]:
    def test(passage: Passage) -> bool:
        value = read(passage)
        return value is not None and has(value) is inside

    return test


def _mapped(mapping: VerdictMap, passage: Passage) -> Verdict | None:
    return found_in(mapping.keys, mapping.entries, passage)


def _holds(match: Match, values: tuple[Read, ...]) -> bool:
    if match.mask is not None:
        first = values[0]
        assert isinstance(first, int)
        values = (first & match.mask,)
    kind = match.operator
    if kind in ("==", "!="):
        found = any(inside(member, values) for member in match.members)
        return found if kind == "==" else not found
    (wanted,) = match.members[0][0].exact
    value = values[0]
    assert isinstance(wanted, int)
    assert isinstance(value, int)
    if kind in ("has", "has not"):
        return bool(value & wanted) == (kind == "has")
    return _ORDERED[kind](value, wanted)
