"""Nodes that the file treats alike: everything it says of one it says of the other, but for name and number.

What is promised of one such node is promised of all of them, so a large lab can be reasoned about in
miniature: two of each kind are enough, since two show what members of one kind owe each other.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping

    from vnetlab.topology.model import IPNetwork, Machine, Nic, Topology, Vm

_Node = TypeVar("_Node")
Span = tuple[int, int, int]
"""Version, first and last number of a run of addresses."""


class Atoms:
    """Sets of addresses that no prefix, range or single address of a given collection tells apart."""

    def __init__(self, spans: Iterable[Span]) -> None:
        by_version: dict[int, set[Span]] = {}
        for span in spans:
            by_version.setdefault(span[0], set()).add(span)
        self._runs = {version: _runs(found) for version, found in by_version.items()}

    def of(self, version: int, number: int) -> int:
        """Return which set a number is in; 0 for one that nothing mentions."""
        if version not in self._runs:
            return 0
        edges, sets = self._runs[version]
        return sets[bisect_right(edges, number)]


def _runs(spans: Iterable[Span]) -> tuple[list[int], list[int]]:
    """Return the numbers at which something begins or ends, and which set is before, between and after."""
    changes: dict[int, list[tuple[bool, Span]]] = {}
    for span in spans:
        changes.setdefault(span[1], []).append((True, span))
        changes.setdefault(span[2] + 1, []).append((False, span))
    edges = sorted(changes)
    around: set[Span] = set()
    known: dict[frozenset[Span], int] = {frozenset(): 0}
    sets = [0]
    for edge in edges:
        around |= {span for begins, span in changes[edge] if begins}
        around -= {span for begins, span in changes[edge] if not begins}
        sets.append(known.setdefault(frozenset(around), len(known)))
    return edges, sets


def prefix_span(prefix: IPNetwork) -> Span:
    """Return the addresses of a prefix."""
    return prefix.version, int(prefix.network_address), int(prefix.broadcast_address)


def kinds(topology: Topology) -> dict[str, Hashable]:
    """Return for every node what the file says of it; nodes alike have equal values."""
    atoms = Atoms(_spans(topology))
    named = _named(topology)
    found: dict[str, Hashable] = {host: ("host", host) for host in topology.hosts}
    for vm in topology.vms.values():
        own = vm.name if vm.name in named else ""
        found[vm.name] = ("vm", vm.host, vm.backend, own, _nics(vm, atoms), vm.routes)
    for machine in topology.machines.values():
        own = machine.name if machine.router or machine.name in named else ""
        found[machine.name] = ("machine", own, _nics(machine, atoms), machine.routes)
    return found


def _nics(node: Vm | Machine, atoms: Atoms) -> Hashable:
    return tuple(_nic(nic, atoms) for nic in node.nics)


def _nic(nic: Nic, atoms: Atoms) -> Hashable:
    runs = tuple((a.network, atoms.of(a.version, int(a.ip))) for a in nic.addresses)
    return nic.name, nic.lan, nic.mtu, nic.network, runs


def _named(topology: Topology) -> frozenset[str]:
    """Return the nodes that something else in the file speaks of by name."""
    forwards = {forward.to for network in topology.networks for forward in network.forwards}
    return frozenset(forwards | {end for e in topology.expect for end in (e.source, e.destination)})


def _spans(topology: Topology) -> Iterator[Span]:
    """Yield whatever the file names that tells addresses apart: prefixes, and next hops."""
    for segment in topology.segments.values():
        yield from map(prefix_span, segment.subnets)
    for network in topology.networks:
        yield from map(prefix_span, network.subnets)
    for routes in {node.routes for node in topology.nodes()}:
        for route in routes:
            yield prefix_span(route.prefix)
            yield route.via.version, int(route.via), int(route.via)


def without(topology: Topology, dropped: Collection[str]) -> Topology:
    """Return the topology without some of its VMs and machines."""
    return replace(
        topology,
        vms=_but(topology.vms, dropped),
        machines=_but(topology.machines, dropped),
    )


def _but(nodes: Mapping[str, _Node], dropped: Collection[str]) -> dict[str, _Node]:
    return {name: node for name, node in nodes.items() if name not in dropped}
