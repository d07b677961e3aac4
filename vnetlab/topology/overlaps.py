"""Prefixes that cannot be told apart: one's routes would shadow the other's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.topology.model import Mode
from vnetlab.topology.networks import WITH_HOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnetlab.topology.model import IPNetwork, Network, Nic, Topology
    from vnetlab.topology.report import Path, Report


class _Use(Struct, frozen=True):
    """A prefix and what it belongs to."""

    prefix: IPNetwork
    element: str
    host: str
    """Whose network it is; empty for a segment."""
    public: bool
    """Known everywhere: a segment's, or a routed network's."""
    path: Path
    order: int
    """Place in the file, segments first."""


def check_overlaps(topology: Topology, report: Report) -> None:
    """Report prefixes that overlap where somebody has a route to both.

    Segments and routed networks are known everywhere, so nothing may overlap them that a host is
    on. Private networks of one host may not overlap each other; those of different hosts may, and
    isolated ones may overlap anything.
    """
    for one, other in _overlapping(_uses(topology)):
        first, second = sorted((one, other), key=lambda use: use.order)
        if first.element == second.element:
            continue
        if first.public or second.public or first.host == second.host:
            wrong = f"overlaps {first.prefix} of {first.element}"
            report.add(second.path, wrong, _remedy(first, second), str(second.prefix))


def _remedy(first: _Use, second: _Use) -> str:
    if not first.host and second.host:
        return "take a range of its own, or make the network `mode: bridge` to be on the segment"
    return "take a range of its own"


def check_connected(topology: Topology, report: Report) -> None:
    """Report nodes with two NICs in one subnet: their kernel would use one of the two for both."""
    for host in topology.hosts.values():
        _check_node(tuple(host.nics.values()), ("hosts", host.name, "nics"), report)
    for vm in topology.vms.values():
        _check_node(vm.nics, ("hosts", vm.host, "vms", vm.name), report)
    for machine in topology.machines.values():
        _check_node(machine.nics, ("machines", machine.name), report)


def _check_node(nics: tuple[Nic, ...], path: Path, report: Report) -> None:
    if len(nics) < 2:
        return
    uses = [
        _Use(address.network, _seat(nic), nic.name, False, path, order)
        for order, nic in enumerate(nics)
        for address in nic.addresses
    ]
    reported: set[tuple[str, str]] = set()
    for one, other in _overlapping(uses):
        first, second = sorted((one, other), key=lambda use: use.order)
        if first.order == second.order or (first.host, second.host) in reported:
            continue
        reported.add((first.host, second.host))
        wrong = f"{second.prefix} of {second.element} overlaps {first.prefix} of {first.element}"
        remedy = "a node has one NIC per subnet; leave one out, or give it `addresses: []`"
        report.add(path, wrong, remedy, "")


def _seat(nic: Nic) -> str:
    return f"{nic.name} ({nic.network or nic.lan})"


def _uses(topology: Topology) -> Iterator[_Use]:
    order = 0
    for segment in topology.segments.values():
        for index, prefix in enumerate(segment.subnets):
            path: Path = ("segments", segment.name, "subnets", index)
            yield _Use(prefix, f"segment {segment.name}", "", True, path, order)
            order += 1
    for network in topology.networks:
        if network.mode in WITH_HOST:
            for use in _network_uses(network, order):
                yield use
                order += 1


def _network_uses(network: Network, order: int) -> Iterator[_Use]:
    element = f"network {network.host}/{network.name}"
    public = network.mode is Mode.ROUTED
    for index, prefix in enumerate(network.subnets):
        path: Path = ("hosts", network.host, "networks", network.name, "subnets", index)
        yield _Use(prefix, element, network.host, public, path, order + index)


def _overlapping(uses: Iterable[_Use]) -> Iterator[tuple[_Use, _Use]]:
    """Iterate over all overlapping pairs; prefixes nest or are apart, so one sorted pass does."""
    around: list[_Use] = []
    for use in sorted(uses, key=_position):
        prefix = use.prefix
        while around and not _contains(around[-1].prefix, prefix):
            around.pop()
        yield from ((outer, use) for outer in around)
        around.append(use)


def _position(use: _Use) -> tuple[int, int, int, int]:
    prefix = use.prefix
    return prefix.version, int(prefix.network_address), prefix.prefixlen, use.order


def _contains(outer: IPNetwork, inner: IPNetwork) -> bool:
    return outer.version == inner.version and inner.network_address in outer
