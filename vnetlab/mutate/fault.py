"""What a fault is: one change to a State, and the words for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vnetlab.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vnetlab.state import Namespace

RULE_DELETED = "rule deleted"
RULES_REORDERED = "rules reordered"
VERDICT_INVERTED = "verdict inverted"
MATCH_INVERTED = "match inverted"
PREFIX = "prefix widened or shrunk"
PORT = "port off by one"
INTERFACE = "interface swapped"
CONNTRACK = "conntrack rule dropped"
MASQUERADE = "masquerade dropped"
POLICY = "chain policy inverted"
PRIORITY = "chain priority moved"
CHAIN = "chain missing"
ROUTE_MISSING = "route missing"
NEXT_HOP = "next hop wrong"
FORWARDING = "forwarding on or off"
SETTING = "setting flipped"
ISOLATION = "port isolation off"
BRIDGE = "port on the wrong bridge"
PRESENCE = "address on an isolated bridge"
MAC = "duplicate MAC"
MTU = "MTU too small"
NEIGHBOUR = "stale neighbour"
KINDS = (
    RULE_DELETED, RULES_REORDERED, VERDICT_INVERTED, MATCH_INVERTED, PREFIX, PORT, INTERFACE, CONNTRACK,
    MASQUERADE, POLICY, PRIORITY, CHAIN, ROUTE_MISSING, NEXT_HOP, FORWARDING, SETTING, ISOLATION, BRIDGE,
    PRESENCE, MAC, MTU, NEIGHBOUR,
)  # fmt: skip
"""In the order of reports."""


class Fault(Struct, frozen=True):
    """One thing made wrong."""

    id: str
    """Stable and readable: ``hv1/forward[3]: delete "home: VM to the LAN and beyond"``."""
    kind: str
    """One of `KINDS`."""
    namespace: str
    object: str
    """What is changed: ``forward[3]``, ``eth0``, ``route 0.0.0.0/0``."""
    state: State
    """The whole State with the fault in it."""


def with_namespace(state: State, changed: Namespace) -> State:
    """Return the State with a namespace in the place of the one of its name; the others are shared."""
    return State(tuple(changed if each.name == changed.name else each for each in state.namespaces))


def changed(state: State, name: str, change: Callable[[Namespace], Namespace]) -> State:
    """Return the State with one of its namespaces changed."""
    return with_namespace(state, change(state.namespace(name)))


def distinct(state: State, faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Return the faults that change something, each change once, ids made unique by a number."""
    found: list[Fault] = []
    changes: set[tuple[Namespace, ...]] = set()
    names: dict[str, int] = {}
    for fault in faults:
        change = changes_of(state, fault.state)
        if not change or change in changes:
            continue
        changes.add(change)
        count = names[fault.id] = names.get(fault.id, 0) + 1
        found.append(fault if count == 1 else replace(fault, id=f"{fault.id} ({count})"))
    return tuple(found)


def changes_of(before: State, after: State) -> tuple[Namespace, ...]:
    """Return the namespaces of a State that are not as they were."""
    pairs = zip(before.namespaces, after.namespaces, strict=True)
    return tuple(new for old, new in pairs if new is not old and new != old)
