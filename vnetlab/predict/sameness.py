"""Whether two States are one to the model: what was said of the first then holds for the second.

The model is a function of what it looks at. Compared is all of that: devices, addresses, routes, permanent
neighbours, the rules as they are understood; and of the settings those that it asked for on the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.predict.space import Space
from vnetlab.predict.tables import understood

if TYPE_CHECKING:
    from collections.abc import Hashable

    from vnetlab.predict.world import World
    from vnetlab.state import Namespace, State


def is_same(world: World, state: State) -> bool:
    """Tell whether all that was asked of a world has the same answer in a State."""
    there = {namespace.name: namespace for namespace in state.namespaces}
    return world.spaces.keys() == there.keys() and all(
        _is_same(space, there[name]) for name, space in world.spaces.items()
    )


def _is_same(space: Space, other: Namespace) -> bool:
    there = Space(other)
    return (
        (space.kind, space.beyond, space.devices) == (there.kind, there.beyond, there.devices)
        and _looks(space.namespace) == _looks(other)
        and _rules(space.namespace) == _rules(other)
        and all(there.answer(*question) == answer for question, answer in space.asked.items())
    )


def _looks(namespace: Namespace) -> Hashable:
    """Return addresses, routes and neighbours; in order where the first of several is preferred."""
    return (
        sorted(namespace.addresses, key=lambda each: (each.device, each.address.version)),
        sorted(namespace.routes, key=lambda each: (each.prefix.version, each.prefix)),
        frozenset(namespace.neighbours),
        namespace.policy,
    )


def _rules(namespace: Namespace) -> list[object]:
    """Return the tables, in order where chains of the one may be called before those of the other."""
    found = sorted(namespace.tables, key=lambda each: "inet" if each.family in ("ip", "ip6") else each.family)
    return [(table.family, table.name, understood(table)) for table in found]
