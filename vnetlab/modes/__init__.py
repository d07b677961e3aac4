"""The five modes, a module each: its properties, its objects, and its documentation as docstring.

What is promised of flows between networks is worked out from the properties alone (`journey`); what a
network promises beside that, its mode's module says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.guarantees import kind_of
from vnetlab.modes import bridge, host_only, isolated, nat, routed
from vnetlab.modes.cascades import one_host_side
from vnetlab.modes.crossings import crossings
from vnetlab.modes.denials import denials, outsiders_to_nowhere
from vnetlab.modes.edges import edges
from vnetlab.modes.expectations import expected
from vnetlab.modes.frame_sizes import full_size
from vnetlab.modes.host_flows import absent_hosts, any_source, host_flows
from vnetlab.modes.lacking import lacking
from vnetlab.modes.own_ways import own_ways
from vnetlab.modes.pairs import host_to_isolated
from vnetlab.modes.relays import advertisements, no_relays, proxies
from vnetlab.modes.size import check_pairs
from vnetlab.modes.world import World
from vnetlab.topology.model import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from vnetlab.guarantees import Guarantee
    from vnetlab.many import Guarantees
    from vnetlab.modes.base import Context, Objects, Properties
    from vnetlab.topology.model import Expect, Network, Topology

PROPERTIES: dict[Mode, Properties] = {
    Mode.BRIDGE: bridge.PROPERTIES,
    Mode.ISOLATED: isolated.PROPERTIES,
    Mode.ROUTED: routed.PROPERTIES,
    Mode.HOST_ONLY: host_only.PROPERTIES,
    Mode.NAT: nat.PROPERTIES,
}

OBJECTS: dict[Mode, Callable[[Context], Objects]] = {
    Mode.BRIDGE: bridge.objects_for,
    Mode.ISOLATED: isolated.objects_for,
    Mode.ROUTED: routed.objects_for,
    Mode.HOST_ONLY: host_only.objects_for,
    Mode.NAT: nat.objects_for,
}

PROMISES: dict[Mode, Callable[[World, Network], Iterator[Guarantee]]] = {
    Mode.BRIDGE: bridge.guarantees_for,
    Mode.ISOLATED: isolated.guarantees_for,
    Mode.ROUTED: routed.guarantees_for,
    Mode.HOST_ONLY: host_only.guarantees_for,
    Mode.NAT: nat.guarantees_for,
}

_OF_NODES: tuple[Callable[[World], Iterator[Guarantee]], ...] = (
    own_ways,
    host_flows,
    absent_hosts,
    any_source,
    no_relays,
    advertisements,
    proxies,
    outsiders_to_nowhere,
    full_size,
)
"""What nodes owe each other whatever the networks between them."""


def guarantees_for(topology: Topology, flows: Collection[str] = ()) -> Guarantees:
    """Return everything that the modes of a topology and its author promise, in the order of the file.

    ``flows`` names kinds of flow (`FLOW_KINDS`) if not all are wanted. Raises UserError for a lab with so
    many machines that their pairs would fill the memory.
    """
    from vnetlab.modes.mesh import mesh  # numpy, which no other command needs

    def wanted(guarantee: Guarantee) -> bool:
        return not flows or kind_of(guarantee.flow) in flows

    check_pairs(topology)
    world = World(topology, PROPERTIES)
    return mesh(world, wanted) + [g for g in _beside_pairs(world, topology) if wanted(g)]


def guarantee_for_expect(topology: Topology, expect: Expect) -> tuple[Guarantee, ...]:
    """Return one guarantee of the author's, for each family that both ends have.

    Empty where no family gives the source any way to put the question.
    """
    return tuple(expected(World(topology, PROPERTIES), expect))


def _beside_pairs(world: World, topology: Topology) -> Iterator[Guarantee]:
    yield from host_to_isolated(world)
    yield from crossings(world)
    for network in topology.networks:
        yield from PROMISES[network.mode](world, network)
        yield from one_host_side(world, network)
        if PROPERTIES[network.mode].presence:
            yield from edges(world, network)
            yield from denials(world, network)
    yield from lacking(world)
    for promises in _OF_NODES:
        yield from promises(world)
    for expect in topology.expect:
        yield from expected(world, expect)
