"""A lab in miniature: two members of every group, and everything that is one of its kind.

What is promised and predicted there, is promised and predicted of the whole; counts are worked out from the
sizes of the groups. The cost of reasoning grows with the kinds of endpoint, not with their number squared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vnetlab import names
from vnetlab.guarantees import LINK_WIDE, Special
from vnetlab.predict.groups import groups_of
from vnetlab.predict.mentions import mentions
from vnetlab.predict.symbols import Symbols
from vnetlab.state import State, Tap, Veth
from vnetlab.topology.alike import without

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from vnetlab.guarantees import Guarantee
    from vnetlab.predict.groups import Groups
    from vnetlab.state import Link, Namespace
    from vnetlab.topology.model import Topology


_OF_CHOSEN = (Special.SAME_PORT, Special.EDGE, Special.VACANT)


@dataclass(frozen=True, slots=True)
class Miniature:
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


def counted(small: Miniature, guarantees: Iterable[Guarantee]) -> tuple[int, ...]:
    """Return how many guarantees of the whole each guarantee of the miniature stands for.

    Of guarantees that differ in the members of a group alone, the first stands for all of them and the
    others for none. A promise that is made of one sender only is not multiplied by the senders of its kind,
    and what is promised of single nodes and links counts for one of each kind.
    """
    found = tuple(guarantees)
    symbols = Symbols(small.topology, small.state, small.groups, small.port_run)
    shapes = [(g.id, g.network, symbols.key(g)) for g in found]
    senders: dict[Hashable, set[str]] = {}
    receivers: dict[Hashable, set[str]] = {}
    for guarantee, shape in zip(found, shapes, strict=True):
        senders.setdefault(shape, set()).add(guarantee.source)
        receivers.setdefault(shape, set()).add(guarantee.destination)
    first: dict[Hashable, tuple[str, str]] = {}
    counts = []
    for guarantee, shape in zip(found, shapes, strict=True):
        pair = guarantee.source, guarantee.destination
        if is_single(guarantee):
            counts.append(1)
        elif first.setdefault(shape, pair) != pair:
            counts.append(0)
        else:
            counts.append(_multiplied(small.groups, guarantee, senders[shape], receivers[shape]))
    return tuple(counts)


def is_single(guarantee: Guarantee) -> bool:
    """Tell a promise about chosen nodes, two senders or a link from one about every pair."""
    return guarantee.flow.special in _OF_CHOSEN or guarantee.id.startswith(("node.", "link."))


def _multiplied(groups: Groups, guarantee: Guarantee, senders: set[str], receivers: set[str]) -> int:
    source, destination = groups.of[guarantee.source], groups.of[guarantee.destination]
    size, other = len(groups.members[source]), len(groups.members[destination])
    if source == destination:
        if len(senders) > 1:
            return size * (size - 1)
        # One sender: either all others hear him, or the promise is made of one pair.
        return size - 1 if guarantee.flow.special in LINK_WIDE and size > 1 else 1
    return (size if len(senders) > 1 else 1) * (other if len(receivers) > 1 else 1)
