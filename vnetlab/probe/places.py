"""Where things are: the stations and points of a topology's nodes, by the names that the kernel
knows.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from vnetlab import names
from vnetlab.leaves import tree_of_segment, trees_of_host
from vnetlab.probe.exits import exits_of, packed_mac
from vnetlab.probe.flight import Kind, Point, Role, Station
from vnetlab.topology.links import macs_on_links
from vnetlab.topology.model import Host, Machine, Vm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnetlab.guarantees import Flow
    from vnetlab.leaves import Tree
    from vnetlab.topology.model import IPInterface, Lan, Nic, Topology


BROADCAST_MAC = b"\xff" * 6
PORTS = "ports:"
LOOPBACK = "lo"


class Plug(NamedTuple):
    """Where a NIC is plugged in."""

    lan: Lan
    bridge: tuple[str, str]
    """Namespace and device; of a segment's own bridge, which has all that is no VM's, without the device."""


class Places:
    """What the planner asks of a topology: a node's NICs, their devices, and the far ends of
    those.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._nics = {node.name: _nics(node) for node in topology.nodes()}

    def is_host(self, node: str) -> bool:
        """Tell whether the node is a hypervisor host."""
        return node in self._topology.hosts

    def is_guest(self, node: str) -> bool:
        """Tell whether the node is a VM behind a tap."""
        vm = self._topology.vms.get(node)
        return vm is not None and vm.backend == "tap"

    def nics(self, node: str) -> tuple[Nic, ...]:
        """Return the node's NICs; of a host, those on segments. Raises KeyError."""
        return self._nics[node]

    @cached_property
    def addresses(self) -> frozenset[bytes]:
        """All addresses that some node has."""
        own = (a for nics in self._nics.values() for nic in nics for a in nic.addresses)
        hosts = (a for network in self._topology.networks for a in network.addresses)
        return frozenset(address.ip.packed for address in (*own, *hosts))

    def nic_holding(self, node: str, address: bytes) -> str:
        """Return the NIC of a VM or machine that has the address; empty if none has."""
        if self.is_host(node):
            return ""
        for nic in self._nics[node]:
            if any(a.ip.packed == address for a in nic.addresses):
                return nic.name
        return ""

    def nic_towards(self, node: str, flow: Flow) -> str:
        """Return the NIC that shares a prefix with the flow's destination, else the first."""
        for nic in self._nics[node]:
            for own in nic.addresses:
                same = own.version == flow.destination_address.version
                if same and flow.destination_address in own.network:
                    return nic.name
        return self._nics[node][0].name if self._nics[node] else ""

    def source_on(self, node: str, label: str, version: int) -> bytes:
        """Return the node's address on the point of that label; the unspecified one if it has
        none.
        """
        for address in self._addresses_on(node, label):
            if address.version == version:
                return address.ip.packed
        return bytes(4 if version == 4 else 16)

    def _addresses_on(self, node: str, label: str) -> tuple[IPInterface, ...]:
        host = self._topology.hosts.get(node)
        if host and label.startswith("network:"):
            network = host.networks[label.removeprefix("network:")]
            return network.addresses
        return next((nic.addresses for nic in self._nics[node] if nic.name == label), ())

    def far_end(self, node: str, nic: Nic) -> tuple[str, str]:
        """Return namespace and device of the bridge port that a VM's or machine's NIC is plugged
        into.
        """
        vm = self._topology.vms.get(node)
        space = vm.host if vm else names.segment_namespace(nic.lan.name)
        return space, names.port(node, nic.name)

    def plug(self, node: str, nic: str) -> Plug:
        """Return where a NIC is plugged in."""
        own = next(one for one in self._nics[node] if one.name == nic)
        if vm := self._topology.vms.get(node):
            return Plug(own.lan, (vm.host, self._trees[vm.host, own.network].master(node, nic)))
        tree = self._trees["", own.lan.name]
        device = tree.master(node, nic)
        segment = (tree.namespace, "" if device == tree.hub else device)
        if found := self._topology.hosts.get(node):
            device = names.host_device(found, own)
            return Plug(own.lan, segment if device == names.nic_device(nic) else (node, device))
        return Plug(own.lan, segment)

    @cached_property
    def _trees(self) -> dict[tuple[str, str], Tree]:
        """The bridges of networks, by host and network, and of segments, without a host."""
        known = self._topology
        of_hosts = {
            (host.name, network): tree
            for host in known.hosts.values()
            for network, tree in trees_of_host(known, host).items()
        }
        return of_hosts | {("", name): tree_of_segment(known, s) for name, s in known.segments.items()}

    def heard_by(self, node: str, sender: str, nic: str) -> tuple[str, ...]:
        """Return a host's devices on the links that a sender is on, by that NIC or any; none of others.

        A group is joined there only: joining says so to the link (IGMP, RFC 3376), and where the host has no
        part in a network, it is not the probe that is to speak for it.
        """
        host = self._topology.hosts.get(node)
        if host is None:
            return ()
        links = {n.lan for n in self._nics[sender] if nic in ("", n.name)}
        by_nic = (names.host_device(host, own) for own in host.nics.values() if own.lan in links)
        by_network = (names.network_bridge(host, n) for n in host.networks.values() if n.lan in links)
        return tuple(dict.fromkeys((*by_nic, *by_network)))

    def station(
        self, node: str, asked: Iterable[bytes], groups: Iterable[tuple[str, bytes]], *, captures: bool
    ) -> Station:
        """Return the node's station; ``captures`` matters for hosts only."""
        found = self._topology.node(node)
        wanted = tuple(sorted(set(asked)))
        if isinstance(found, Host):
            joined = tuple(sorted(set(groups)))
            points = _host_points(found)
            return Station(node, node, Role.HOST, points, wanted, joined, captures=captures)
        if isinstance(found, Vm) and found.backend == "tap":
            points = tuple(
                Point(names.port(node, n.name), (n.name,), packed_mac(n.mac), _packed(n.addresses))
                for n in found.nics
            )
            macs = macs_on_links(self._topology, found.nics) if len(found.nics) > 1 else {}
            exits = exits_of(found.nics, found.routes, macs)
            known = tuple((nic, a.packed, packed_mac(mac)) for (nic, a), mac in macs.items())
            return Station(node, found.host, Role.GUEST, points, wanted, exits=exits, neighbours=known)
        points = tuple(
            Point(names.nic_device(n.name), (n.name,), packed_mac(n.mac), _packed(n.addresses))
            for n in found.nics
        )
        return Station(node, node, Role.MACHINE, points, wanted)


def _nics(node: Host | Vm | Machine) -> tuple[Nic, ...]:
    return tuple(node.nics.values()) if isinstance(node, Host) else node.nics


def _host_points(host: Host) -> tuple[Point, ...]:
    """Return one point per device; a NIC and the bridge networks on it share one."""
    points: dict[str, Point] = {}
    for nic in host.nics.values():
        device = names.host_device(host, nic)
        points[device] = Point(device, (nic.name,), packed_mac(nic.mac), _packed(nic.addresses))
    for network in host.networks.values():
        device = names.network_bridge(host, network)
        label = f"network:{network.name}"
        if device in points:
            old = points[device]
            points[device] = Point(device, (*old.labels, label), old.mac, old.addresses)
        else:
            addresses = _packed(network.addresses)
            points[device] = Point(device, (label,), packed_mac(network.mac), addresses, False)
    return tuple(points.values())


def _packed(addresses: Iterable[IPInterface]) -> tuple[bytes, ...]:
    return tuple(a.ip.packed for a in addresses)


def group_mac(kind: Kind, destination: bytes) -> bytes:
    """Return the frame destination that the IP destination alone decides; empty for unicast.

    RFC 1112 section 6.4 (IPv4 groups), RFC 2464 section 7 (IPv6 groups), RFC 4861 section 4.3
    (solicitations).
    """
    if kind is Kind.ARP or destination == b"\xff" * 4:
        return BROADCAST_MAC
    if kind is Kind.NS:
        return b"\x33\x33\xff" + destination[-3:]
    if len(destination) == 16 and destination[0] == 0xFF:
        return b"\x33\x33" + destination[-4:]
    if len(destination) == 4 and destination[0] >> 4 == 0xE:
        return b"\x01\x00\x5e" + bytes([destination[1] & 0x7F]) + destination[2:]
    return b""
