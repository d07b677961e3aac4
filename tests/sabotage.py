"""Ways to break a compiled State on purpose: each returns a changed copy, and fails if it changed nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.state import Bridge, Link, Namespace, NftChain, NftRule, NftTable, State, Sysctl

if TYPE_CHECKING:
    from collections.abc import Callable


def in_namespace(state: State, name: str, change: Callable[[Namespace], Namespace]) -> State:
    changed = tuple(change(n) if n.name == name else n for n in state.namespaces)
    assert changed != state.namespaces, f"the sabotage of {name} changes nothing"
    return State(changed)


def in_chain(
    state: State, host: str, chain: str, change: Callable[[NftChain], NftChain], family: str = "inet"
) -> State:
    def table(old: NftTable) -> NftTable:
        if old.family != family:
            return old
        return replace(old, chains=tuple(change(c) if c.name == chain else c for c in old.chains))

    return in_namespace(state, host, lambda n: replace(n, tables=tuple(table(t) for t in n.tables)))


def without_rules(state: State, host: str, chain: str, about: str, family: str = "inet") -> State:
    """Delete the rules of a chain whose comment contains ``about``."""
    return in_chain(
        state,
        host,
        chain,
        lambda c: replace(c, rules=tuple(r for r in c.rules if about not in r.comment)),
        family,
    )


def reworded(state: State, host: str, chain: str, old: str, new: str) -> State:
    """Replace text in the rules of a chain."""
    return in_chain(
        state,
        host,
        chain,
        lambda c: replace(
            c, rules=tuple(replace(rule, text=rule.text.replace(old, new)) for rule in c.rules)
        ),
    )


def with_rule(state: State, host: str, chain: str, text: str) -> State:
    """Put a rule at the head of a chain."""
    rule = NftRule(text, "sabotage")
    return in_chain(state, host, chain, lambda c: replace(c, rules=(rule, *c.rules)))


def open_door(state: State, host: str, network: str) -> State:
    """Let the forward chain accept what it names no rule for, as hosts without a filter do."""
    state = without_rules(state, host, "forward", f"{network}: VM to where its mode gives no path")
    return in_chain(
        state, host, "forward", lambda c: replace(c, hook=c.hook.replace("policy drop", "policy accept"))
    )


def without_tables(state: State, host: str, family: str) -> State:
    return in_namespace(
        state, host, lambda n: replace(n, tables=tuple(t for t in n.tables if t.family != family))
    )


def with_table(state: State, host: str, table: NftTable) -> State:
    return in_namespace(state, host, lambda n: replace(n, tables=(*n.tables, table)))


def with_sysctl(state: State, name: str, key: str, value: str) -> State:
    def change(namespace: Namespace) -> Namespace:
        kept = tuple(s for s in namespace.sysctls if s.key != key)
        return replace(namespace, sysctls=(*kept, Sysctl(key, value)))

    return in_namespace(state, name, change)


def with_link(
    state: State, namespace: str, pick: Callable[[Link], bool], change: Callable[[Link], Link]
) -> State:
    return in_namespace(
        state,
        namespace,
        lambda n: replace(n, links=tuple(change(link) if pick(link) else link for link in n.links)),
    )


def bridge_of(state: State, host: str, altname: str) -> str:
    """Return the kernel name of the bridge with a readable name."""
    return next(
        link.name
        for link in state.namespace(host).links
        if isinstance(link, Bridge) and link.altname == altname
    )


def with_route(state: State, node: str, other: str, prefix: str) -> State:
    """Give a node the route for a prefix that another node has."""
    route = next(r for r in state.namespace(other).routes if str(r.prefix) == prefix)
    return in_namespace(state, node, lambda n: replace(n, routes=(*n.routes, route)))
