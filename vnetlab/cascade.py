"""Which bridge has which port, where a network or segment has more than one bridge takes. Pure.

The hub, which is there anyway, keeps its ports as long as it has room, in the order of the file; who comes
later is a port of a leaf, a further bridge in the same namespace. A veth pair, the trunk, joins a leaf to the
hub, or to another leaf where there are many: a tree, so no frame can come back by another way, and no
spanning tree protocol is needed. A file that grows at its end moves nobody, not even where it grows past what
the hub takes.

Rejected: all ports on leaves and nothing but trunks on the hub. Whoever added one VM too many would move a
thousand ports, each with the flows of its VM.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from vnetlab.topology.model import Mode

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from vnetlab.topology.model import Host, Network, Nic, Segment, Topology

MAX_BRIDGE_PORTS: Final = 1000
"""NICs on one bridge. The kernel takes 1,023 ports (BR_MAX_PORTS in net/bridge/br_private.h)."""
MAX_TRUNKS: Final = 20
"""Leaves below one bridge; what remains is for its own trunk or uplink."""
MAX_LEAVES: Final = 1000
"""Leaves of one network or segment."""
HUB: Final = -1
"""The hub, where leaves are numbered from 0."""

Port = tuple[str, str]
"""A node and its NIC, for the bridge port that the NIC is plugged into."""


def above(leaf: int) -> int:
    """Return the bridge that a leaf is joined to: the hub has the first ones, each leaf the next in turn."""
    return leaf // MAX_TRUNKS - 1


def sharing(host: Host) -> Iterator[tuple[Network, ...]]:
    """Yield the networks of a host, together those that share a bridge: bridge networks of one uplink."""
    found: dict[str, list[Network]] = {}
    for network in host.networks.values():
        bridge = network.uplink if network.mode is Mode.BRIDGE else f"/{network.name}"
        found.setdefault(bridge, []).append(network)
    yield from map(tuple, found.values())


def leaves_of_networks(topology: Topology, networks: Sequence[Network]) -> dict[Port, int]:
    """Return the leaf of each port that the bridge of these networks has no room for.

    Each network has leaves of its own, and those of networks that may not cascade come first on the hub.
    """
    if sum(len(topology.vms_of(network)) for network in networks) <= MAX_BRIDGE_PORTS:
        return {}
    of = {network.name: network for network in networks}
    host = networks[0].host
    vms = (vm for vm in topology.vms.values() if vm.host == host)
    ports = [((vm.name, nic.name), of[nic.network]) for vm in vms for nic in vm.nics if nic.network in of]
    return _leaves((port, network.name, network.cascade) for port, network in ports)


def leaves_of_segment(topology: Topology, segment: Segment) -> dict[Port, int]:
    """Return the leaf of each port that the bridge of a segment has no room for."""
    if not segment.cascade:
        return {}
    nics = (((node, nic.name), nic) for node, nic in outside_nics(topology))
    return _leaves((port, "", True) for port, nic in nics if nic.lan.name == segment.name)


def outside_nics(topology: Topology) -> Iterator[tuple[str, Nic]]:
    """Yield the NICs on segments with their nodes, in the order of their ports there."""
    for host in topology.hosts.values():
        for nic in host.nics.values():
            yield host.name, nic
    for machine in topology.machines.values():
        for nic in machine.nics:
            yield machine.name, nic


def _leaves(ports: Iterable[tuple[Port, str, bool]]) -> dict[Port, int]:
    """Return the leaves of ports in the order of the file, given with their network and if that cascades."""
    found = tuple(ports)
    room = MAX_BRIDGE_PORTS - sum(not cascades for _, _, cascades in found)
    beyond = [(port, network) for port, network, cascades in found if cascades][max(room, 0) :]
    numbers: dict[Hashable, count[int]] = {network: count() for _, network in beyond}
    return {port: next(numbers[network]) // MAX_BRIDGE_PORTS for port, network in beyond}
