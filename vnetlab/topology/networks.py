"""One network of a host: what its mode asks for and forbids, and the Network that results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from vnetlab.topology.addressing import host_address
from vnetlab.topology.model import Forward, Lan, Mode, Network

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vnetlab.topology.addressing import Macs, Port
    from vnetlab.topology.document import HostDoc, NetworkDoc
    from vnetlab.topology.model import IPNetwork, Segment
    from vnetlab.topology.report import Path, Report
    from vnetlab.topology.values import Subnet

DEFAULT_MTU: Final = 1500
IPV6_MINIMUM_MTU: Final = 1280
"""RFC 8200, section 5: every link carries packets of this size."""
WITH_UPLINK: Final = frozenset({Mode.BRIDGE, Mode.ROUTED, Mode.NAT})
WITH_HOST: Final = frozenset({Mode.ROUTED, Mode.HOST_ONLY, Mode.NAT})
"""Modes in which the host has an address on the network and forwards or filters for it."""


class HostView(Struct, frozen=True):
    """What a network needs to know of its host and of the segments."""

    name: str
    doc: HostDoc
    ports: Mapping[str, Port]
    segments: Mapping[str, Segment]


def resolve_network(host: HostView, name: str, doc: NetworkDoc, macs: Macs, report: Report) -> Network | None:
    """Return the network; None (with problems reported) where its uplink or subnets are unknown."""
    path: Path = ("hosts", host.name, "networks", name)
    mode = Mode(doc.mode)
    _check_options(mode, doc, path, report)
    check_subnets(doc.subnets, (*path, "subnets"), report)
    uplink = _uplink(host, mode, doc, path, report)
    if not _subnets_fit(mode, doc, path, report) or uplink is None:
        return None
    if mode is Mode.BRIDGE:
        return _bridge(host, name, doc, uplink, report)
    check_mtu(doc.mtu, doc.subnets, (*path, "mtu"), report)
    addresses = () if mode is Mode.ISOLATED else tuple(host_address(s) for s in doc.subnets)
    return Network(
        name=name,
        host=host.name,
        mode=mode,
        uplink=uplink,
        subnets=tuple(subnet.prefix for subnet in doc.subnets),
        lan=Lan(name, host.name),
        addresses=addresses,
        mac=doc.mac or macs.derive("network", host.name, name),
        mtu=doc.mtu or DEFAULT_MTU,
        forwards=_forwards(doc, path, report),
        reach=tuple(doc.reach),
        port_isolation=doc.port_isolation,
        cascade=doc.cascade,
        deny=doc.deny or "reject",
        place=report.place(path),
    )


def _bridge(host: HostView, name: str, doc: NetworkDoc, uplink: str, report: Report) -> Network | None:
    port = host.ports.get(uplink)
    if port is None:
        return None
    return Network(
        name=name,
        host=host.name,
        mode=Mode.BRIDGE,
        uplink=uplink,
        subnets=host.segments[port.lan.name].subnets,
        lan=port.lan,
        addresses=(),
        mac=port.mac,
        mtu=port.mtu,
        port_isolation=doc.port_isolation,
        cascade=doc.cascade,
        place=report.place(("hosts", host.name, "networks", name)),
    )


def check_subnets(subnets: Sequence[Subnet], path: Path, report: Report) -> None:
    """Report subnets of one list that overlap."""
    for index, subnet in enumerate(subnets):
        for earlier in subnets[:index]:
            if overlap(subnet.prefix, earlier.prefix):
                remedy = "leave one of them out"
                report.add((*path, index), f"overlaps {earlier.prefix} of the same list", remedy)


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Return whether two prefixes, of whatever family, have an address in common."""
    return one.version == other.version and one.overlaps(other)


def check_mtu(mtu: int | None, subnets: Sequence[Subnet], path: Path, report: Report) -> None:
    """Report an MTU too small for IPv6."""
    has_ipv6 = any(subnet.prefix.version == 6 for subnet in subnets)
    if mtu is not None and mtu < IPV6_MINIMUM_MTU and has_ipv6:
        wrong = f"IPv6 needs an MTU of {IPV6_MINIMUM_MTU} bytes (RFC 8200)"
        report.add(path, wrong, f"write {IPV6_MINIMUM_MTU} or more, or leave the IPv6 subnet out")


def _check_options(mode: Mode, doc: NetworkDoc, path: Path, report: Report) -> None:
    """Report options that the mode has no use for."""
    if mode is not Mode.NAT and doc.forwards:
        wrong = f"{_a(mode)} network translates nothing, so it has no ports to forward"
        report.add((*path, "forwards"), wrong, "leave it out, or make the network `mode: nat`")
    if mode not in WITH_HOST:
        if doc.reach:
            wrong = f"the host does not forward for {_a(mode)} network, so it opens no path"
            remedy = "leave it out, or make the network routed, host-only or nat"
            report.add((*path, "reach"), wrong, remedy)
        if doc.deny is not None:
            wrong = f"the host filters nothing on {_a(mode)} network"
            report.add((*path, "deny"), wrong, "leave it out")
    if mode is Mode.BRIDGE:
        if doc.mtu is not None:
            wrong = "a bridge network has the MTU of its uplink's segment"
            report.add((*path, "mtu"), wrong, "leave it out; set `mtu` of the segment")
        if doc.mac is not None:
            wrong = "a bridge network has the MAC address of its uplink"
            report.add((*path, "mac"), wrong, "leave it out; set `mac` of the NIC")


def _uplink(host: HostView, mode: Mode, doc: NetworkDoc, path: Path, report: Report) -> str | None:
    """Return the uplink's name (empty for modes without one), or None with the reason reported."""
    known = report.declared(("hosts", host.name, "nics")) or tuple(host.doc.nics)
    if mode not in WITH_UPLINK:
        if doc.uplink is not None:
            wrong = f"{_a(mode)} network has no way out, so no uplink"
            report.add((*path, "uplink"), wrong, "leave it out, or choose bridge, routed or nat")
        return ""
    if doc.uplink is None:
        return _only_nic(known, mode, path, report)
    if doc.uplink not in known:
        report.add_unknown((*path, "uplink"), "NIC", doc.uplink, known, host.name)
        return None
    return doc.uplink


def _only_nic(known: Sequence[str], mode: Mode, path: Path, report: Report) -> str | None:
    if len(known) == 1:
        return known[0]
    wrong = "the host has no NIC" if not known else f"the host has {len(known)} NICs"
    remedy = "add one under `nics:`" if not known else f"write `uplink:` with one of {', '.join(known)}"
    report.add((*path, "uplink"), f"{_a(mode)} network needs an uplink, and {wrong}", remedy, "")
    return None


def _subnets_fit(mode: Mode, doc: NetworkDoc, path: Path, report: Report) -> bool:
    if mode in WITH_HOST and not doc.subnets:
        wrong = f"{_a(mode)} network needs a subnet"
        report.add((*path, "subnets"), wrong, "write for example `subnets: [10.0.0.0/24]`", "")
        return False
    if mode is Mode.BRIDGE and doc.subnets:
        wrong = "the VMs of a bridge network are on its uplink's segment and have the subnets of that"
        report.add((*path, "subnets"), wrong, "leave it out; the segment has `subnets`")
        return False
    if mode is Mode.ISOLATED:
        for index, subnet in enumerate(doc.subnets):
            if subnet.address is not None:
                wrong = "an isolated network has no address of the host"
                remedy = f"write {subnet.prefix}, or make the network host-only"
                report.add((*path, "subnets", index), wrong, remedy)
    return True


def _a(mode: Mode) -> str:
    return f"an {mode}" if mode is Mode.ISOLATED else f"a {mode}"


def _forwards(doc: NetworkDoc, path: Path, report: Report) -> tuple[Forward, ...]:
    return tuple(
        Forward(
            protocol=forward.protocol,
            port=forward.port,
            to=forward.to,
            to_port=forward.to_port or forward.port,
            place=report.place((*path, "forwards", index)),
        )
        for index, forward in enumerate(doc.forwards)
    )


def check_reach(network: Network, siblings: Mapping[str, Network], report: Report) -> None:
    """Report targets of ``reach`` that are no networks of the host or that have no path."""
    if network.mode not in WITH_HOST:
        return
    path: Path = ("hosts", network.host, "networks", network.name, "reach")
    declared = report.declared(path[:3]) or tuple(siblings)
    for index, name in enumerate(network.reach):
        others = [n for n in declared if n != network.name]
        target = siblings.get(name)
        if name == network.name:
            report.add((*path, index), "is this very network", "leave it out", name)
        elif name not in declared:
            report.add_unknown((*path, index), "network", name, others, network.host)
        elif target is not None and target.mode is Mode.ISOLATED:
            wrong = f"{name} is isolated: the host is not on it, so it can open no path there"
            report.add((*path, index), wrong, f"make {name} host-only, or leave it out", name)
        elif target is not None and target.mode is Mode.BRIDGE:
            wrong = f"{name} is a bridge network: its VMs are machines of the LAN, not of the host"
            remedy = "leave it out; routed and nat networks reach the LAN by themselves"
            report.add((*path, index), wrong, remedy, name)
