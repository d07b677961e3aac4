"""A lab in miniature: two members of every group, and everything that is one of its kind.

What is promised and predicted there, is promised and predicted of the whole; counts are worked out from the
sizes of the groups. The cost of reasoning grows with the kinds of endpoint, not with their number squared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from vnetlab import names
from vnetlab.guarantees import LINK_WIDE, Special
from vnetlab.predict.groups import groups_of
from vnetlab.predict.mentions import mentions
from vnetlab.predict.symbols import Symbols, first_of_each
from vnetlab.state import State, Tap, Veth
from vnetlab.topology.alike import without

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray

    from vnetlab.guarantees import Guarantee
    from vnetlab.many import Guarantees
    from vnetlab.predict.groups import Groups
    from vnetlab.state import Link, Namespace
    from vnetlab.topology.model import Topology


_OF_CHOSEN = (Special.SAME_PORT, Special.EDGE, Special.VACANT)


class Miniature(Struct, frozen=True):
    """A topology and its State without the members that show nothing new."""

    topology: Topology
    state: State
    groups: Groups
    port_run: Callable[[int], int]


def miniature(topology: Topology, state: State) -> Miniature:
    """Make the miniature of a topology whose State is given."""
    mentioned = mentions(state)
    groups = groups_of(topology, state, mentioned)
    spare = groups.spare
    taps = {
        (vm.host, names.port(vm.name, nic.name))
        for vm in topology.vms.values()
        if vm.backend == "tap" and vm.name in spare
        for nic in vm.nics
    }
    kept = tuple(_without(n, spare, taps) for n in state.namespaces if n.name not in spare)
    return Miniature(without(topology, spare), State(kept), groups, mentioned.port)


def _without(namespace: Namespace, spare: frozenset[str], taps: set[tuple[str, str]]) -> Namespace:
    def stays(link: Link) -> bool:
        if isinstance(link, Veth):
            return link.peer_namespace not in spare
        return not (isinstance(link, Tap) and (namespace.name, link.name) in taps)

    return replace(namespace, links=tuple(link for link in namespace.links if stays(link)))


def counted(small: Miniature, many: Guarantees) -> NDArray[np.int64]:
    """Return how many guarantees of the whole each guarantee of the miniature stands for.

    Of guarantees that differ in the members of a group alone, the first stands for all of them and the
    others for none. A promise that is made of one sender only is not multiplied by the senders of its kind,
    and what is promised of single nodes and links counts for one of each kind.
    """
    symbols = Symbols(small.topology, small.state, small.groups, small.port_run)
    first, group = symbols.classes(many, symbols.group)
    numbers: dict[Hashable, int] = {}
    leads: list[Guarantee] = []
    shapes = np.zeros(len(first), np.int64)
    for at, number in enumerate(first.tolist()):
        guarantee = many[number]
        shapes[at] = numbers.setdefault((guarantee.id, guarantee.network, symbols.key(guarantee)), len(leads))
        if shapes[at] == len(leads):
            leads.append(guarantee)
    shape = shapes[group]
    senders, receivers = (
        _different(shape, ends, len(many.nodes)) for ends in (many.source, many.destination)
    )
    multiples = np.array(
        [_multiplied(small.groups, *each) for each in zip(leads, senders, receivers, strict=True)], np.int64
    )
    single = np.array([is_single(each) for each in leads], np.bool_)
    pair = many.source.astype(np.int64) * len(many.nodes) + many.destination
    leading = pair == pair[first_of_each(shape)[0]][shape]
    return np.where(single[shape], 1, np.where(leading, multiples[shape], 0))


def _different(shape: NDArray[np.int64], nodes: NDArray[np.int32], size: int) -> list[int]:
    """Return for each shape how many of so many nodes its guarantees name."""
    found: list[int] = np.bincount(np.unique(shape * size + nodes) // size).tolist()
    return found


def is_single(guarantee: Guarantee) -> bool:
    """Tell a promise about chosen nodes, two senders or a link from one about every pair."""
    return guarantee.flow.special in _OF_CHOSEN or guarantee.id.startswith(("node.", "link."))


def _multiplied(groups: Groups, guarantee: Guarantee, senders: int, receivers: int) -> int:
    source, destination = groups.of[guarantee.source], groups.of[guarantee.destination]
    size, other = len(groups.members[source]), len(groups.members[destination])
    if source == destination:
        if senders > 1:
            return size * (size - 1)
        # One sender: either all others hear him, or the promise is made of one pair.
        return size - 1 if guarantee.flow.special in LINK_WIDE and size > 1 else 1
    return (size if senders > 1 else 1) * (other if receivers > 1 else 1)
