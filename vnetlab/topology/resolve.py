"""Document to Topology: names become objects, and whatever the file leaves out is filled in.

A reference to an element that was refused before is dropped in silence; one to an element that the
file does not have is a problem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from vnetlab.topology.addressing import AddressPlan, Macs, Port, settle
from vnetlab.topology.attachments import Attached, attachments, fixed_addresses
from vnetlab.topology.local import is_local
from vnetlab.topology.model import (
    Expect,
    Family,
    Host,
    Lan,
    Machine,
    Mode,
    Network,
    Segment,
    Topology,
    Vm,
)
from vnetlab.topology.networks import HostView, check_mtu, check_subnets, resolve_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.topology.document import Document, ExpectDoc, HostDoc, VmDoc
    from vnetlab.topology.model import IPNetwork
    from vnetlab.topology.report import Path, Report

_NIC_NAMES_OF_THE_KERNEL = {"lo", "all", "default"}
"""The loopback device, and the two names of /proc/sys/net/ipv4/conf that are no device."""


class _Draft(Struct):
    """The parts that are known so far."""

    document: Document
    report: Report
    macs: Macs
    segments: dict[str, Segment] = field(default_factory=dict)
    host_ports: dict[str, dict[str, Port]] = field(default_factory=dict)
    networks: dict[str, dict[str, Network]] = field(default_factory=dict)
    vm_ports: dict[str, list[Port]] = field(default_factory=dict)
    vm_hosts: dict[str, str] = field(default_factory=dict)
    machine_ports: dict[str, list[Port]] = field(default_factory=dict)
    incomplete: set[str] = field(default_factory=set)


class Resolved(Struct, frozen=True):
    """A topology without routes, and the nodes that lack something which was refused."""

    topology: Topology
    incomplete: frozenset[str]


def resolve(document: Document, report: Report, name: str) -> Resolved:
    """Put the topology together; what does not fit is in the report and left out."""
    draft = _Draft(document, report, Macs(report))
    _claim_macs(draft)
    _resolve_segments(draft)
    for host, doc in document.hosts.items():
        _resolve_host(draft, host, doc)
    for machine, machine_doc in document.machines.items():
        path: Path = ("machines", machine)
        attached = list(attachments(machine_doc, "segment", "segments", path, report))
        draft.machine_ports[machine] = list(_machine_ports(draft, machine, attached))
    _settle(draft)
    return Resolved(_finish(draft, name), _incomplete(draft))


def _claim_macs(draft: _Draft) -> None:
    silent = type(draft.report)(draft.report.source)
    for host, doc in draft.document.hosts.items():
        path: Path = ("hosts", host)
        for nic, nic_doc in doc.nics.items():
            _claim(draft, nic_doc.mac, (*path, "nics", nic, "mac"))
        for network, network_doc in doc.networks.items():
            _claim(draft, network_doc.mac, (*path, "networks", network, "mac"))
        for vm, vm_doc in doc.vms.items():
            for at in attachments(vm_doc, "network", "networks", (*path, "vms", vm), silent):
                _claim(draft, at.doc.mac, (*at.options, "mac"))
    for machine, machine_doc in draft.document.machines.items():
        path = ("machines", machine)
        for at in attachments(machine_doc, "segment", "segments", path, silent):
            _claim(draft, at.doc.mac, (*at.options, "mac"))


def _claim(draft: _Draft, mac: str | None, path: Path) -> None:
    if mac is not None:
        draft.macs.claim(mac, path)


def _resolve_segments(draft: _Draft) -> None:
    report = draft.report
    for name, doc in draft.document.segments.items():
        path: Path = ("segments", name)
        check_subnets(doc.subnets, (*path, "subnets"), report)
        check_mtu(doc.mtu, doc.subnets, (*path, "mtu"), report)
        for index, subnet in enumerate(doc.subnets):
            if subnet.address is not None:
                wrong = "has bits set behind the prefix, and a segment has no address"
                report.add((*path, "subnets", index), wrong, f"write {subnet.prefix}")
        prefixes = tuple(subnet.prefix for subnet in doc.subnets)
        draft.segments[name] = Segment(name, prefixes, doc.mtu, doc.cascade, report.place(path))


def _segment(draft: _Draft, name: str, path: Path) -> Segment | None:
    declared = draft.report.declared(("segments",))
    if name not in draft.segments and name not in declared:
        draft.report.add_unknown(path, "segment", name, declared)
    return draft.segments.get(name)


def _resolve_host(draft: _Draft, host: str, doc: HostDoc) -> None:
    report = draft.report
    ports: dict[str, Port] = {}
    for nic, nic_doc in doc.nics.items():
        path: Path = ("hosts", host, "nics", nic)
        if nic in _NIC_NAMES_OF_THE_KERNEL:
            report.add_to_key(path, "is a name of the kernel's own", "call it eth0, for example")
        segment = _segment(draft, nic_doc.segment, (*path, "segment"))
        if segment is not None:
            fixed = fixed_addresses(nic_doc, path, report)
            mac = nic_doc.mac or draft.macs.derive("nic", host, nic)
            lan = Lan(segment.name)
            ports[nic] = Port(host, nic, nic, lan, mac, segment.mtu, path, fixed)
    draft.host_ports[host] = ports
    if len(ports) < len(report.declared(("hosts", host, "nics"))):
        draft.incomplete.add(host)
    view = HostView(host, doc, ports, draft.segments)
    found = [resolve_network(view, n, d, draft.macs, report) for n, d in doc.networks.items()]
    draft.networks[host] = {network.name: network for network in found if network is not None}
    for vm, vm_doc in doc.vms.items():
        _resolve_vm(draft, host, vm, vm_doc)


def _resolve_vm(draft: _Draft, host: str, vm: str, doc: VmDoc) -> None:
    path: Path = ("hosts", host, "vms", vm)
    if vm in draft.vm_hosts:
        other = draft.vm_hosts[vm]
        wrong = f"host {other} has a VM of this name"
        draft.report.add_to_key(path, wrong, "names of VMs are unique in the file; rename one")
        return
    draft.vm_hosts[vm] = host
    declared = draft.report.declared((*path[:2], "networks"))
    ports: list[Port] = []
    for at in attachments(doc, "network", "networks", path, draft.report):
        network = draft.networks[host].get(at.name)
        if network is None:
            if at.name not in declared:
                draft.report.add_unknown(at.path, "network", at.name, declared, host)
            draft.incomplete.add(vm)
            continue
        # On a real LAN another machine may have a VM of that name.
        salt = f"@{network.mac}" if is_local(draft.document) and network.mode is Mode.BRIDGE else ""
        mac = at.doc.mac or draft.macs.derive(f"nic{salt}", vm, at.name)
        fixed = fixed_addresses(at.doc, at.options, draft.report)
        nic, lan = f"eth{len(ports)}", network.lan
        ports.append(Port(vm, nic, at.name, lan, mac, network.mtu, at.path, fixed, network.name))
    draft.vm_ports[vm] = ports


def _machine_ports(draft: _Draft, machine: str, attached: list[Attached]) -> Iterator[Port]:
    count = 0
    for at in attached:
        segment = _segment(draft, at.name, at.path)
        if segment is None:
            draft.incomplete.add(machine)
            continue
        mac = at.doc.mac or draft.macs.derive("nic", machine, at.name)
        fixed = fixed_addresses(at.doc, at.options, draft.report)
        lan = Lan(segment.name)
        yield Port(machine, f"eth{count}", at.name, lan, mac, segment.mtu, at.path, fixed)
        count += 1


def _settle(draft: _Draft) -> None:
    plans: dict[Lan, AddressPlan] = {}
    for segment in draft.segments.values():
        path: Path = ("segments", segment.name, "subnets")
        # Before anybody has looked at the machine, its LANs have no prefixes that addresses could miss.
        unknown = not segment.subnets and is_local(draft.document)
        plans[Lan(segment.name)] = AddressPlan(Lan(segment.name), segment.subnets, path, unknown)
    for networks in draft.networks.values():
        for network in networks.values():
            if network.mode is not Mode.BRIDGE:
                plans[network.lan] = _plan(network)
    # hosts and machines before VMs: a VM that is added takes no address of the world around it
    ports = [port for host in draft.host_ports.values() for port in host.values()]
    ports += [port for machine in draft.machine_ports.values() for port in machine]
    ports += [port for vm in draft.vm_ports.values() for port in vm]
    settle(plans, ports, draft.report)


def _incomplete(draft: _Draft) -> frozenset[str]:
    ports = [port for host in draft.host_ports.values() for port in host.values()]
    for group in (*draft.vm_ports.values(), *draft.machine_ports.values()):
        ports += group
    return frozenset(draft.incomplete | {port.node for port in ports if port.faulty})


def _plan(network: Network) -> AddressPlan:
    path: Path = ("hosts", network.host, "networks", network.name, "subnets")
    plan = AddressPlan(network.lan, network.subnets, path, network.mode is Mode.ISOLATED)
    for address in network.addresses:
        plan.take(address.ip, f"host {network.host}")
    return plan


def _finish(draft: _Draft, name: str) -> Topology:
    document, report = draft.document, draft.report
    networks = {
        host: {n.name: _with_fixed_subnets(draft, n) for n in found.values()}
        for host, found in draft.networks.items()
    }
    hosts = {
        host: Host(
            host,
            {nic: port.settled() for nic, port in ports.items()},
            networks[host],
            place=report.place(("hosts", host)),
            backend=document.hosts[host].backend,
        )
        for host, ports in draft.host_ports.items()
    }
    vms = {
        vm: _vm(vm, draft.vm_hosts[vm], document.hosts[draft.vm_hosts[vm]].vms[vm], ports, report)
        for vm, ports in draft.vm_ports.items()
    }
    machines = {
        machine: Machine(
            machine,
            tuple(port.settled() for port in ports),
            document.machines[machine].router,
            place=report.place(("machines", machine)),
        )
        for machine, ports in draft.machine_ports.items()
    }
    expect = tuple(
        _expect(doc, index, report)
        for index, doc in zip(report.kept(("expect",)), document.expect, strict=True)
    )
    return Topology(name, draft.segments, hosts, vms, machines, expect)


def _vm(vm: str, host: str, doc: VmDoc, ports: list[Port], report: Report) -> Vm:
    return Vm(
        vm,
        host,
        doc.backend,
        tuple(port.settled() for port in ports),
        place=report.place(("hosts", host, "vms", vm)),
        owner=doc.owner or "",
        group=doc.group or "",
    )


def _with_fixed_subnets(draft: _Draft, network: Network) -> Network:
    """Return an isolated network without subnets with those of its VMs' fixed addresses."""
    if network.subnets or network.mode is not Mode.ISOLATED:
        return network
    found: dict[IPNetwork, None] = {}
    for ports in draft.vm_ports.values():
        for port in ports:
            if port.lan == network.lan:
                found |= {address.network: None for address in port.addresses}
    return replace(network, subnets=tuple(found))


def _expect(doc: ExpectDoc, index: int, report: Report) -> Expect:
    return Expect(
        source=doc.source,
        destination=doc.destination,
        protocol=doc.protocol,
        outcome=doc.outcome,
        port=doc.port or 0,
        family=Family(doc.family) if doc.family else None,
        place=report.place(("expect", index)),
    )
