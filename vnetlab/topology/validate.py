"""What only shows when everything is put together. Looks at the topology, changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.topology.bridge_sizes import check_bridge_sizes
from vnetlab.topology.complete import check_routes
from vnetlab.topology.model import Family, Mode
from vnetlab.topology.networks import WITH_UPLINK, check_reach
from vnetlab.topology.overlaps import check_connected, check_overlaps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.topology.document import Document, ExpectDoc
    from vnetlab.topology.model import Host, Network, Nic, Topology
    from vnetlab.topology.report import Path, Report
    from vnetlab.topology.resolve import Resolved


def validate(document: Document, resolved: Resolved, report: Report) -> None:
    """Report everything that does not fit together."""
    topology = resolved.topology
    _check_node_names(topology, report)
    check_overlaps(topology, report)
    check_connected(topology, report)
    check_bridge_sizes(topology, report)
    for host in topology.hosts.values():
        for network in host.networks.values():
            check_reach(network, host.networks, report)
            _check_forward_targets(resolved, network, report)
            if host.name not in resolved.incomplete:
                _check_uplink_families(topology, host, network, report)
        _check_forward_ports(host, report)
    _check_all_routes(document, resolved, report)
    for index, expect in zip(report.kept(("expect",)), document.expect, strict=True):
        _check_expect(expect, ("expect", index), resolved, report)


def _check_node_names(topology: Topology, report: Report) -> None:
    taken: dict[str, str] = {}
    for kind, path in _node_paths(topology):
        name = str(path[-1])
        if name in taken:
            wrong = f"a {taken[name]} has this name"
            remedy = "names of hosts, machines and VMs are unique in the file; rename one"
            report.add_to_key(path, wrong, remedy)
        taken.setdefault(name, kind)


def _node_paths(topology: Topology) -> Iterator[tuple[str, Path]]:
    yield from (("host", ("hosts", name)) for name in topology.hosts)
    yield from (("machine", ("machines", name)) for name in topology.machines)
    yield from (("VM", ("hosts", vm.host, "vms", vm.name)) for vm in topology.vms.values())


def _check_forward_targets(resolved: Resolved, network: Network, report: Report) -> None:
    on_it = {vm.name: nic for vm, nic in resolved.topology.vms_of(network)}
    declared = report.declared(("hosts", network.host, "vms"))
    for index, forward in enumerate(network.forwards):
        path: Path = ("hosts", network.host, "networks", network.name, "forwards", index, "to")
        refused = forward.to in declared and forward.to not in resolved.topology.vms
        if forward.to in resolved.incomplete or refused:
            continue
        if forward.to not in on_it:
            report.add_unknown(path, "VM", forward.to, on_it, network.name)
        elif not on_it[forward.to].addresses:
            wrong = f"{forward.to} has no address on {network.name}"
            report.add(path, wrong, "give it one, or take another VM")


def _check_forward_ports(host: Host, report: Report) -> None:
    taken: dict[tuple[str, str, int], Network] = {}
    for network in host.networks.values():
        for index, forward in enumerate(network.forwards):
            key = (network.uplink, forward.protocol, forward.port)
            if key in taken:
                path: Path = ("hosts", host.name, "networks", network.name, "forwards", index)
                wrong = f"{forward.protocol} port {forward.port} of {network.uplink} is forwarded"
                remedy = "take another `port:`, or keep one of the two"
                owner = taken[key].name
                report.add((*path, "port"), f"{wrong} by network {owner} already", remedy)
            taken.setdefault(key, network)


def _check_uplink_families(topology: Topology, host: Host, network: Network, report: Report) -> None:
    """Report subnets of a family that the uplink's segment has and the uplink itself has not."""
    if network.mode not in WITH_UPLINK or network.mode is Mode.BRIDGE:
        return
    uplink = host.nics[network.uplink]
    on_segment = {subnet.version for subnet in topology.segments[uplink.lan.name].subnets}
    for family in network.families():
        if family.version in on_segment and uplink.address(family) is None:
            path: Path = ("hosts", host.name, "networks", network.name, "subnets")
            index = [s.version for s in network.subnets].index(family.version)
            wrong = f"its uplink {uplink.name} has no IPv{family.version} address to go out by"
            remedy = f"give {uplink.name} one, or leave the subnet out"
            report.add((*path, index), wrong, remedy)


def _check_all_routes(document: Document, resolved: Resolved, report: Report) -> None:
    for path, nics in _nics_by_path(resolved):
        if path[0] == "machines":
            routes = document.machines[str(path[1])].routes
        else:
            host = document.hosts[str(path[1])]
            routes = host.routes if len(path) == 2 else host.vms[str(path[3])].routes
        if not isinstance(routes, str):
            check_routes(routes, nics, (*path, "routes"), report)


def _nics_by_path(resolved: Resolved) -> Iterator[tuple[Path, tuple[Nic, ...]]]:
    topology = resolved.topology
    for host in topology.hosts.values():
        if host.name not in resolved.incomplete:
            connected = tuple(host.nics.values())
            yield ("hosts", host.name), connected
    for vm in topology.vms.values():
        if vm.name not in resolved.incomplete:
            yield ("hosts", vm.host, "vms", vm.name), vm.nics
    for machine in topology.machines.values():
        if machine.name not in resolved.incomplete:
            yield ("machines", machine.name), machine.nics


def _check_expect(doc: ExpectDoc, path: Path, resolved: Resolved, report: Report) -> None:
    if doc.protocol == "icmp" and doc.port is not None:
        report.add((*path, "port"), "icmp has no ports", "leave it out, or write tcp or udp")
    if doc.protocol != "icmp" and doc.port is None:
        wrong = f"{doc.protocol} needs a destination port"
        report.add((*path, "port"), wrong, "write for example `port: 443`", "")
    known = _declared_nodes(report)
    ends = (("from", doc.source), ("to", doc.destination))
    for key, name in ends:
        if name not in known:
            report.add_unknown((*path, key), "node", name, known)
    if doc.source == doc.destination:
        report.add((*path, "to"), "is the node that the flow comes from", "choose another node")
    elif all(_is_complete(name, resolved) for _, name in ends):
        _check_expect_family(doc, path, resolved.topology, report)


def _declared_nodes(report: Report) -> list[str]:
    hosts = report.declared(("hosts",))
    vms = [vm for host in hosts for vm in report.declared(("hosts", host, "vms"))]
    return [*hosts, *report.declared(("machines",)), *vms]


def _is_complete(name: str, resolved: Resolved) -> bool:
    topology = resolved.topology
    known = name in topology.vms or name in topology.hosts or name in topology.machines
    return known and name not in resolved.incomplete


def _check_expect_family(doc: ExpectDoc, path: Path, topology: Topology, report: Report) -> None:
    source, destination = families(topology, doc.source), families(topology, doc.destination)
    if doc.family is None:
        if not source & destination:
            wrong = f"{doc.source} and {doc.destination} have no address family in common"
            report.add((*path, "to"), wrong, "give both an address of one family")
        return
    for name, has in ((doc.source, source), (doc.destination, destination)):
        if Family(doc.family) not in has:
            wrong = f"{name} has no address of this family"
            report.add((*path, "family"), wrong, f"give {name} one, or leave `family` out")


def families(topology: Topology, name: str) -> set[Family]:
    """Return the address families of a node; a host's addresses on its networks count."""
    node = topology.node(name)
    if name in topology.hosts:
        host = topology.hosts[name]
        addresses = [a for nic in host.nics.values() for a in nic.addresses]
        addresses += [a for network in host.networks.values() for a in network.addresses]
    else:
        assert isinstance(node.nics, tuple)
        addresses = [a for nic in node.nics for a in nic.addresses]
    return {Family.IPV4 if address.version == 4 else Family.IPV6 for address in addresses}
