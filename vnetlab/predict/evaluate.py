"""Runs a packet through nftables chains: which rule has the last word, and what it says."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vnetlab.predict.passage import Passage, Unknown, reader_of
from vnetlab.predict.rules import (
    Chain,
    Key,
    NoTrack,
    Reject,
    Rule,
    SetMark,
    Translate,
    Verdict,
    VerdictMap,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vnetlab.predict.passage import Value
    from vnetlab.predict.rules import Match, Values

_MOST_JUMPS = 16  # NFT_JUMP_STACK_SIZE in the kernel's net/netfilter/nf_tables.h
_INPUT, _OUTPUT = (Key("meta", "iifname"),), (Key("meta", "oifname"),)
_ORDERED: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What a base chain says of a packet, and which of its rules said it."""

    action: Verdict | Reject | Translate
    chain: Chain
    rule: Rule | None
    """None: the chain's policy."""

    @property
    def label(self) -> str:
        """Return chain and rule, as reports name them."""
        return f"{self.chain.label}: {self.rule.label if self.rule else 'policy'}"


_RETURN = Verdict("return")


class Ruleset:
    """The chains of one table, ready to be run."""

    def __init__(self, chains: Mapping[str, Chain]) -> None:
        self._chains = chains
        self._relevant: dict[tuple[str, str, str], tuple[_Ready, ...]] = {}
        self._ready = {name: tuple(_Ready(rule) for rule in chain.rules) for name, chain in chains.items()}

    def rules(self) -> Iterator[Rule]:
        """Iterate over the rules of all chains."""
        for chain in self._chains.values():
            yield from chain.rules

    def run(self, chain: Chain, passage: Passage) -> Decision:
        """Return the decision of a base chain. Raises Unknown."""
        assert chain.hook is not None
        found = self._walk(chain.name, passage, 0)
        if found is None or found[0] is _RETURN:
            return Decision(Verdict(chain.hook.policy), chain, None)
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
            action = _apply(ready.rule, passage)
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
            if action is not None and action != Verdict("continue"):
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

    __slots__ = ("_devices", "_matches", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._devices = [m for m in rule.matches if m.keys in (_INPUT, _OUTPUT)]
        self._matches = [_test(match) for match in rule.matches if match not in self._devices]

    def fits_devices(self, iif: str, oif: str) -> bool:
        return all(_holds(m, (iif if m.keys == _INPUT else oif,)) for m in self._devices)

    def applies(self, passage: Passage) -> bool:
        """Tell whether all matches hold. Raises Unknown where what is not known decides."""
        doubt: Unknown | None = None
        for test in self._matches:
            try:
                if not test(passage):
                    return False
            except Unknown as why:
                doubt = doubt or why
        if doubt:
            raise doubt
        return True


def _test(match: Match) -> Callable[[Passage], bool]:
    """Return a match as a function; a packet without the field does not fit, whatever the operator."""
    readers = tuple(reader_of(key) for key in match.keys)
    if (
        len(readers) == 1
        and len(match.members) == 1
        and match.mask is None
        and match.operator in ("==", "!=")
    ):
        return _plain_test(readers[0], match.members[0][0], match.operator == "==")

    def test(passage: Passage) -> bool:
        values = tuple(read(passage) for read in readers)
        return None not in values and _holds(match, values)  # type: ignore[arg-type]

    return test


def _plain_test(read: Callable[[Passage], Value], wanted: Values, inside: bool) -> Callable[[Passage], bool]:
    def test(passage: Passage) -> bool:
        value = read(passage)
        return value is not None and wanted.has(value) is inside

    return test


def _apply(rule: Rule, passage: Passage) -> Verdict | Reject | Translate | None:
    if rule.unknown:
        raise Unknown(f"rule `{rule.label}`: {rule.unknown}")
    for effect in rule.effects:
        if isinstance(effect, SetMark):
            passage.mark = effect.value
        elif isinstance(effect, NoTrack):
            passage.untracked = passage.tracked is None
    if isinstance(rule.action, VerdictMap):
        return _mapped(rule.action, passage)
    return rule.action


def _mapped(mapping: VerdictMap, passage: Passage) -> Verdict | None:
    values = tuple(reader_of(key)(passage) for key in mapping.keys)
    if None in values:
        return None
    for members, verdict in mapping.entries:
        if _inside(members, values):  # type: ignore[arg-type]
            return verdict
    return None


def _inside(members: tuple[Values, ...], values: tuple[int | str, ...]) -> bool:
    return all(member.has(value) for member, value in zip(members, values, strict=True))


def _holds(match: Match, values: tuple[int | str, ...]) -> bool:
    if match.mask is not None:
        first = values[0]
        assert isinstance(first, int)
        values = (first & match.mask,)
    kind = match.operator
    if kind in ("==", "!="):
        found = any(_inside(member, values) for member in match.members)
        return found if kind == "==" else not found
    (wanted,) = match.members[0][0].exact
    value = values[0]
    assert isinstance(wanted, int)
    assert isinstance(value, int)
    if kind == "has":
        return bool(value & wanted)
    return _ORDERED[kind](value, wanted)
