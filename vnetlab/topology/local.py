"""A host that is this very machine: what its file may say of it, and what the machine itself says. Pure.

The world around such a host is real: what its NICs are attached to, who answers there, which addresses and
routes it has. So the file says nothing of that, and the machine's facts (facts.py) take its place.
"""

from __future__ import annotations

from ipaddress import ip_interface, ip_network
from typing import TYPE_CHECKING, Final

from vnetlab.topology.values import FixedAddress, Subnet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnetlab.topology.document import Document, HostDoc, NetworkDoc, NicDoc, SegmentDoc, VmDoc
    from vnetlab.topology.facts import Facts, NicFacts
    from vnetlab.topology.model import IPInterface, IPNetwork
    from vnetlab.topology.report import Path, Report

LOCAL: Final = "local"
DEVICE_NAME_BYTES: Final = 15
_HERE = "a host with `backend: local` is this very machine"


def is_local(document: Document) -> bool:
    """Tell whether a host of the file is this very machine."""
    return any(host.backend == LOCAL for host in document.hosts.values())


def check_local(document: Document, report: Report) -> None:
    """Report what does not go together with a host that is this very machine."""
    local = [name for name, host in document.hosts.items() if host.backend == LOCAL]
    for host, doc in document.hosts.items():
        for vm, vm_doc in doc.vms.items():
            _check_owner(vm_doc, ("hosts", host, "vms", vm), doc.backend == LOCAL, report)
    if not local:
        return
    for host in document.hosts:
        if host != local[0]:
            remedy = f"give it a file of its own, or take `backend: local` from {local[0]}"
            report.add_to_key(("hosts", host), f"{_HERE}, and so the only host of its file", remedy)
    for machine in document.machines:
        wrong = f"{_HERE}, and whoever is outside of it is real: no machine can be added there"
        remedy = f"leave it out, or take `backend: local` from {local[0]}"
        report.add_to_key(("machines", machine), wrong, remedy)
    for segment, segment_doc in document.segments.items():
        _check_segment(segment_doc, ("segments", segment), report)
    _check_host(document.hosts[local[0]], ("hosts", local[0]), report)


def _check_owner(doc: VmDoc, path: Path, here: bool, report: Report) -> None:
    for key, value in (("owner", doc.owner), ("group", doc.group)):
        if value is None:
            continue
        if doc.backend != "tap":
            report.add((*path, key), "only a tap has one", "leave it out, or write `backend: tap`")
        elif not here:
            wrong = "the host is a namespace, where only the lab's own user gets in"
            report.add((*path, key), wrong, "leave it out, or write `backend: local` for the host")


def _check_segment(doc: SegmentDoc, path: Path, report: Report) -> None:
    remedy = "leave it out"
    if doc.subnets:
        wrong = "the LAN of this very machine has the prefixes of the machine's own addresses"
        report.add((*path, "subnets"), wrong, remedy)
    if "mtu" in doc.model_fields_set:
        report.add((*path, "mtu"), "the LAN of this very machine has the MTU of the machine's NIC", remedy)
    if doc.cascade:
        report.add(
            (*path, "cascade"), "the LAN of this very machine is real, not a bridge of the lab", remedy
        )


def _check_host(doc: HostDoc, path: Path, report: Report) -> None:
    for nic, nic_doc in doc.nics.items():
        if len(nic.encode()) > DEVICE_NAME_BYTES:
            wrong = f"a device of this machine has a name of at most {DEVICE_NAME_BYTES} bytes"
            report.add_to_key((*path, "nics", nic), wrong, "write the name that `ip link` shows")
        for key in ("address", "addresses", "mac"):
            if getattr(nic_doc, key) is not None:
                wrong = "a NIC of this very machine has its own"
                report.add((*path, "nics", nic, key), wrong, "leave it out: it is read from the machine")
    for name, network in doc.networks.items():
        if network.cascade:
            wrong = (
                "this very machine may show its IP rules what its bridges forward (bridge-nf-call-iptables), "
                "and would show it again at every further bridge"
            )
            remedy = f"leave it out; spread the VMs of {name} over several networks if they are too many"
            report.add((*path, "networks", name, "cascade"), wrong, remedy)
    if doc.routes:
        wrong = "this very machine has its own routes, and a lab adds none to them"
        report.add((*path, "routes"), wrong, "leave them out")
    for vm, vm_doc in doc.vms.items():
        _check_lan_addresses(doc, vm_doc, (*path, "vms", vm), report)


def _check_lan_addresses(host: HostDoc, doc: VmDoc, path: Path, report: Report) -> None:
    """Report VMs on a real LAN whose addresses would be derived: they may be somebody's there."""
    attached = dict(doc.networks or {}) if doc.network is None else {doc.network: doc}
    for name, options in attached.items():
        network = host.networks.get(name)
        if network is None or network.mode != "bridge":
            continue
        if options.address is None and options.addresses is None:
            at = path if doc.network is not None else (*path, "networks", name)
            wrong = "is on a real LAN, where an address that vnetlab makes up may be somebody's"
            report.add(at, wrong, "write `address:`, or `addresses: []` for none (DHCP)", name)


def with_facts(document: Document, facts: Facts, report: Report) -> Document:
    """Return the document with what the machine says of its NICs and LANs; what does not fit is reported."""
    host = next(name for name, doc in document.hosts.items() if doc.backend == LOCAL)
    doc = document.hosts[host]
    nics: dict[str, NicDoc] = {}
    subnets: dict[str, list[Subnet]] = {}
    mtus: dict[str, int] = {}
    for nic, nic_doc in doc.nics.items():
        known = facts.nic(nic)
        nics[nic] = nic_doc
        if known is None:
            report.add_unknown(("hosts", host, "nics", nic), "device", nic, facts.devices, "this machine")
            continue
        addresses = _addresses(known)
        fixed = [FixedAddress(a.ip, a.network.prefixlen) for a in addresses]
        nics[nic] = nic_doc.model_copy(update={"addresses": fixed, "mac": known.mac})
        found = subnets.setdefault(nic_doc.segment, [])
        found += [Subnet(n, None) for n in _networks(addresses) if Subnet(n, None) not in found]
        mtus[nic_doc.segment] = known.mtu
    _check_networks(doc, facts, ("hosts", host), report)
    segments = {
        name: segment.model_copy(
            update={"subnets": subnets.get(name, []), "mtu": mtus.get(name, segment.mtu)}
        )
        for name, segment in document.segments.items()
    }
    hosts = {**document.hosts, host: doc.model_copy(update={"nics": nics})}
    return document.model_copy(update={"segments": segments, "hosts": hosts})


def _addresses(nic: NicFacts) -> list[IPInterface]:
    """Return the addresses that have neighbours: one with a prefix of its whole length has none."""
    found = [ip_interface(text) for text in nic.addresses]
    return [a for a in found if a.network.prefixlen < a.max_prefixlen]


def _networks(addresses: Iterable[IPInterface]) -> Iterator[IPNetwork]:
    yield from dict.fromkeys(address.network for address in addresses)


def _check_networks(doc: HostDoc, facts: Facts, path: Path, report: Report) -> None:
    for name, network in doc.networks.items():
        here: Path = (*path, "networks", name)
        if network.mode not in ("bridge", "isolated"):
            _check_prefixes(network, facts, here, report)
        uplink = network.uplink or (next(iter(doc.nics)) if len(doc.nics) == 1 else "")
        nic = facts.nic(uplink)
        if nic is None:
            continue
        if network.mode == "nat":
            _check_translation(network, nic, here, report)
        if network.mode == "bridge":
            _check_uplink(nic, here, report)


def _check_prefixes(network: NetworkDoc, facts: Facts, path: Path, report: Report) -> None:
    for index, subnet in enumerate(network.subnets):
        for route in facts.routes:
            other = ip_network(route.prefix)
            if not other.prefixlen or other.version != subnet.prefix.version:
                continue
            if other.overlaps(subnet.prefix):
                wrong = f"this machine has a route to {other} by {route.device}"
                report.add((*path, "subnets", index), wrong, "take a range of its own")
                break


def _check_translation(network: NetworkDoc, nic: NicFacts, path: Path, report: Report) -> None:
    versions = {address.version for address in _addresses(nic)}
    for index, subnet in enumerate(network.subnets):
        if subnet.prefix.version not in versions:
            wrong = f"{nic.name} of this machine has no IPv{subnet.prefix.version} address to translate to"
            report.add((*path, "subnets", index), wrong, "leave the subnet out, or take another uplink")


def _check_uplink(nic: NicFacts, path: Path, report: Report) -> None:
    if nic.kind == "bridge":
        wrong = f"{nic.name} of this machine is a bridge, and a bridge is no port of another"
        report.add((*path, "uplink"), wrong, "take the NIC itself, or a network of another mode", nic.name)
    elif nic.master:
        wrong = f"{nic.name} of this machine is a port of {nic.master} already"
        report.add((*path, "uplink"), wrong, "take another NIC", nic.name)
