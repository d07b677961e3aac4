"""Promises of all pairs, derived once for each pair of kinds and spread over their members.

Nodes of one kind (`topology.alike`) change places and nothing that is promised changes but their own names,
addresses and MACs. Whoever shares one of those with somebody else is told apart.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from vnetlab.many import Guarantees, Pattern, pattern_of
from vnetlab.modes.pairs import promises_of_pair, solicited_group
from vnetlab.modes.world import FIRST_SOURCE_PORT, SOURCE_PORTS
from vnetlab.topology.alike import kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray

    from vnetlab.guarantees import Guarantee
    from vnetlab.many import Value
    from vnetlab.modes.world import World


class _Groups(Struct, frozen=True):
    """Nodes by kind."""

    members: tuple[tuple[int, ...], ...]
    of: NDArray[np.int64]


def mesh(world: World, wanted: Callable[[Guarantee], bool]) -> Guarantees:
    """Return what is promised between all endpoints, in the order of the file, as far as it is wanted."""
    nodes = tuple(world.interfaces)
    values = [own_values(world, node) for node in nodes]
    groups = _groups(world, nodes)
    patterns: list[Pattern] = []
    size = len(groups.members)
    first, count = np.zeros((size, size), np.int64), np.zeros((size, size), np.int64)
    for here in range(size):
        for there in range(size):
            ends = _ends(groups, here, there)
            if ends is None:
                continue
            source, destination = nodes[ends[0]], nodes[ends[1]]
            with world.unchanged_ports(source):
                promised = [g for g in promises_of_pair(world, source, destination) if wanted(g)]
            first[here, there], count[here, there] = len(patterns), len(promised)
            own, theirs = ({value: at for at, value in enumerate(values[end])} for end in ends)
            patterns += [pattern_of(g, own, theirs) for g in promised]
    return _spread(world, nodes, values, groups, patterns, first, count)


def own_values(world: World, node: str) -> tuple[Value, ...]:
    """Return the MACs and addresses of a node in a fixed order, and the groups that it is asked by."""
    found: list[Value] = []
    for interface in world.interfaces[node]:
        found.append(interface.mac)
        for address in interface.addresses:
            found.append(address.ip)
            if address.version == 6:
                found.append(solicited_group(address.ip))
    return tuple(found)


def _groups(world: World, nodes: tuple[str, ...]) -> _Groups:
    known = kinds(world.topology)
    owners: Counter[Value] = Counter(v for node in nodes for v in set(own_values(world, node)))
    found: dict[Hashable, list[int]] = {}
    for number, node in enumerate(nodes):
        # groups of solicited nodes are shared by chance: what is asked there is told by the address
        own = (v for i in world.interfaces[node] for v in (i.mac, *(a.ip for a in i.addresses)))
        shared = node if any(owners[value] > 1 for value in own) else ""
        found.setdefault((known[node], shared), []).append(number)
    of = np.zeros(len(nodes), np.int64)
    for group, members in enumerate(found.values()):
        of[members] = group
    return _Groups(tuple(map(tuple, found.values())), of)


def _ends(groups: _Groups, here: int, there: int) -> tuple[int, int] | None:
    """Return two different nodes of these kinds."""
    near, far = groups.members[here], groups.members[there]
    if here != there:
        return near[0], far[0]
    return (near[0], near[1]) if len(near) > 1 else None


def _spread(
    world: World,
    nodes: tuple[str, ...],
    values: list[tuple[Value, ...]],
    groups: _Groups,
    patterns: list[Pattern],
    first: NDArray[np.int64],
    count: NDArray[np.int64],
) -> Guarantees:
    """Give every pair the patterns of its kinds, source by source."""
    size = len(nodes)
    near, far = np.repeat(groups.of, size), np.tile(groups.of, size)
    counts = count[near, far]
    counts[:: size + 1] = 0  # nobody is promised anything of himself
    ends = np.cumsum(counts)
    total = int(ends[-1]) if size else 0
    pair = np.repeat(np.arange(size * size), counts)
    pattern = first[near, far][pair] + np.arange(total) - (ends - counts)[pair]
    source, destination = pair // max(size, 1), pair % max(size, 1)
    ported = np.array([p.guarantee.flow.source_port > 0 for p in patterns], np.bool_)
    has_port = ported[pattern] if total else np.zeros(0, np.bool_)
    taken = np.cumsum(has_port)
    start = np.concatenate([[0], taken])[np.searchsorted(source, np.arange(size + 1))]
    ports = np.where(has_port, FIRST_SOURCE_PORT + (taken - 1 - start[source]) % SOURCE_PORTS, 0)
    for number, used in enumerate(np.diff(start).tolist()):
        world.take_ports(nodes[number], used)
    columns = (column.astype(np.int32) for column in (pattern, source, destination, ports))
    return Guarantees(patterns, nodes, values, *columns)
