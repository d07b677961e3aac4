"""Faults of nftables: rules deleted, reordered, inverted or off by one; chains elsewhere or gone."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.mutate import fault, wording
from vnetlab.mutate.fault import Fault, with_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vnetlab.mutate.wording import Edit
    from vnetlab.state import Namespace, NftChain, NftRule, NftTable, State

_POLICY = re.compile(r"policy (accept|drop);")
_PRIORITY = re.compile(r"priority ([^;]+);")
_PRIORITIES = {"filter": 0, "dstnat": -100, "srcnat": 100}
_VERDICT = re.compile(r" (accept|drop|reject\b.*|masquerade\b.*|d?nat\b.*)$")
_FAR, _NEAR = 250, 90
"""How far a chain is moved: past every other one of its hook, or, for nat, not past conntrack (-200)."""


def rule_faults(state: State) -> Iterator[Fault]:
    """Yield every fault of every rule and chain."""
    for namespace in state.namespaces:
        for table in namespace.tables:
            for chain in table.chains:
                yield from _Chain(state, namespace, table, chain).faults()


class _Chain:
    """The faults of one chain."""

    def __init__(self, state: State, namespace: Namespace, table: NftTable, chain: NftChain) -> None:
        self._state = state
        self._namespace = namespace
        self._table = table
        self._chain = chain
        named = "" if table.family == "inet" else f"{table.family} "
        self._name = f"{named}{chain.name}"
        self._devices = _devices(namespace, of_bridge=table.family == "bridge")

    def faults(self) -> Iterator[Fault]:
        rules = self._chain.rules
        for at, rule in enumerate(rules):
            yield self._with_rules(at, _kind(rule), "delete", (*rules[:at], *rules[at + 1 :]))
            yield from self._edits(at, rule)
        for at, (first, second) in enumerate(pairwise(rules)):
            if verdict_of(first) != verdict_of(second):
                swapped = (*rules[:at], second, first, *rules[at + 2 :])
                yield self._with_rules(at, fault.RULES_REORDERED, "swap with the next", swapped)
        yield from self._of_chain()

    def _edits(self, at: int, rule: NftRule) -> Iterator[Fault]:
        edits: tuple[tuple[str, str, Callable[[str], Iterable[Edit]]], ...] = (
            (fault.VERDICT_INVERTED, "", wording.verdicts),
            (fault.MATCH_INVERTED, "invert ", wording.matches),
            (fault.PREFIX, "", wording.prefixes),
            (fault.PORT, "port ", wording.ports),
            (fault.INTERFACE, "", lambda text: wording.devices(text, self._devices)),
        )
        rules = self._chain.rules
        for kind, prefix, edit in edits:
            for what, text in edit(rule.text):
                edited = (*rules[:at], replace(rule, text=text), *rules[at + 1 :])
                yield self._with_rules(at, kind, f"{prefix}{what}", edited)

    def _of_chain(self) -> Iterator[Fault]:
        chain = self._chain
        without = tuple(c for c in self._table.chains if c is not chain)
        yield self._fault(fault.CHAIN, self._name, f"{self._name}: no such chain", without)
        policy = _POLICY.search(chain.hook)
        if policy:
            other = "drop" if policy[1] == "accept" else "accept"
            hook = chain.hook.replace(policy[0], f"policy {other};")
            yield self._with_chain(fault.POLICY, f"policy {other}", replace(chain, hook=hook))
        found = _PRIORITY.search(chain.hook)
        if found is None:
            return
        now = _PRIORITIES[found[1]] if found[1] in _PRIORITIES else int(found[1])
        step = _NEAR if "type nat" in chain.hook else _FAR
        for priority in (now - step, now + step):
            hook = chain.hook.replace(found[0], f"priority {priority};")
            yield self._with_chain(fault.PRIORITY, f"priority {priority}", replace(chain, hook=hook))

    def _with_rules(self, at: int, kind: str, what: str, rules: tuple[NftRule, ...]) -> Fault:
        rule = self._chain.rules[at]
        name = f"{self._name}[{at}]"
        chains = self._chains(replace(self._chain, rules=rules))
        return self._fault(kind, name, f'{name}: {what} "{rule.comment}"', chains)

    def _with_chain(self, kind: str, what: str, chain: NftChain) -> Fault:
        return self._fault(kind, self._name, f"{self._name}: {what}", self._chains(chain))

    def _chains(self, chain: NftChain) -> tuple[NftChain, ...]:
        return tuple(chain if c is self._chain else c for c in self._table.chains)

    def _fault(self, kind: str, name: str, text: str, chains: tuple[NftChain, ...]) -> Fault:
        namespace = self._namespace
        table = replace(self._table, chains=chains)
        tables = tuple(table if t is self._table else t for t in namespace.tables)
        if not chains:
            tables = tuple(t for t in tables if t is not table)
        state = with_namespace(self._state, replace(namespace, tables=tables))
        return Fault(f"{namespace.name}/{_readable(text, namespace)}", kind, namespace.name, name, state)


def _readable(text: str, namespace: Namespace) -> str:
    """Return text with the readable names of devices in the place of those that the kernel knows."""
    for link in namespace.links:
        if link.altname:
            text = text.replace(link.name, link.altname)
    return text


def verdict_of(rule: NftRule) -> str:
    """Return what a rule does with a packet, without what it matches."""
    found = _VERDICT.search(f" {rule.text}")
    return found[1] if found else rule.text


def _kind(rule: NftRule) -> str:
    if "masquerade" in rule.text:
        return fault.MASQUERADE
    return fault.CONNTRACK if "ct state" in rule.text else fault.RULE_DELETED


def _devices(namespace: Namespace, *, of_bridge: bool) -> tuple[str, ...]:
    """Return the devices that rules may mean: ports in the bridge family, else those that are none."""
    return tuple(link.name for link in namespace.links if bool(link.master) is of_bridge)
