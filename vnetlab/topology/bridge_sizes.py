"""Whether bridges take the ports that a file gives them. Looks at the topology, changes nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from vnetlab import cascade

if TYPE_CHECKING:
    from vnetlab.topology.model import Host, Network, Segment, Topology
    from vnetlab.topology.report import Path, Report

_CASCADE = "write `cascade: true`"


def check_bridge_sizes(topology: Topology, report: Report) -> None:
    """Report networks and segments with more ports than their bridges take."""
    for host in topology.hosts.values():
        for networks in cascade.sharing(host):
            _check_networks(topology, host, networks, report)
    nics = Counter(nic.lan.name for _, nic in cascade.outside_nics(topology))
    for segment in topology.segments.values():
        _check_segment(segment, nics[segment.name], report)


def _check_networks(topology: Topology, host: Host, networks: tuple[Network, ...], report: Report) -> None:
    """Report what is wrong with the networks that share a bridge, at the first that could change it."""
    flat = [network for network in networks if not network.cascade]
    fixed = sum(len(topology.vms_of(network)) for network in flat)
    if fixed > cascade.MAX_BRIDGE_PORTS:
        remedy = "spread them over several networks"
        if host.backend == "namespace":
            remedy = f"{remedy}, or {_CASCADE}"
        wrong = f"has {fixed:,} VMs, and one Linux bridge takes {cascade.MAX_BRIDGE_PORTS:,}"
        report.add_to_key(_path(flat[0]), wrong, remedy)
        return
    leaves = cascade.leaves_of_networks(topology, networks)
    if leaves:
        _check_leaves(topology, networks, leaves, report)


def _check_leaves(
    topology: Topology, networks: tuple[Network, ...], leaves: dict[cascade.Port, int], report: Report
) -> None:
    trunks, last = 0, networks[0]
    for network in networks:
        ports = [(vm.name, nic.name) for vm, nic in topology.vms_of(network)]
        own = max((leaves[port] + 1 for port in ports if port in leaves), default=0)
        if own > cascade.MAX_LEAVES:
            remedy = "spread them over several networks"
            report.add_to_key(_path(network), _too_many(len(ports), "VMs"), remedy)
        trunks += min(own, cascade.MAX_TRUNKS)
        last = network if own else last
    if trunks > cascade.MAX_TRUNKS:
        wrong = (
            f"cascades beside others on the bridge of {last.uplink}, where {trunks} leaf bridges would have "
            f"to be joined to it, and it takes {cascade.MAX_TRUNKS}"
        )
        report.add_to_key(_path(last), wrong, "give it another uplink, or put its VMs on one of the others")


def _check_segment(segment: Segment, count: int, report: Report) -> None:
    path: Path = ("segments", segment.name)
    remedy = "spread them over several segments with a router between"
    if segment.cascade and count > cascade.MAX_BRIDGE_PORTS * (cascade.MAX_LEAVES + 1):
        report.add_to_key(path, _too_many(count, "NICs of hosts and machines"), remedy)
    elif not segment.cascade and count > cascade.MAX_BRIDGE_PORTS:
        most = f"one Linux bridge takes {cascade.MAX_BRIDGE_PORTS:,}"
        wrong = f"has {count:,} NICs of hosts and machines, and {most}"
        report.add_to_key(path, wrong, f"{remedy}, or {_CASCADE}")


def _too_many(count: int, what: str) -> str:
    most = cascade.MAX_BRIDGE_PORTS * (cascade.MAX_LEAVES + 1)
    return f"has {count:,} {what}, and a Linux bridge with {cascade.MAX_LEAVES:,} leaf bridges takes {most:,}"


def _path(network: Network) -> Path:
    return ("hosts", network.host, "networks", network.name)
