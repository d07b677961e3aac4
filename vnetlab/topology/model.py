"""The topology as everything else sees it: resolved, typed, frozen.

The loader fills in whatever the file leaves out (addresses, MACs, gateways, routes), so nobody past it
derives them again. Nothing here knows Linux: a network is a promise, not a bridge.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.errors import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from vnetlab.topology.facts import Facts

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network

NOWHERE = Place("<python>")


class Family(StrEnum):
    """An address family."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"

    @property
    def version(self) -> int:
        """4 or 6, as in the version field of the IP header."""
        return 4 if self is Family.IPV4 else 6


def family_of(address: IPAddress | IPInterface | IPNetwork) -> Family:
    """Return the family of an address, interface address or prefix."""
    return Family.IPV4 if address.version == 4 else Family.IPV6


class Mode(StrEnum):
    """The five modes of a virtual network."""

    BRIDGE = "bridge"
    ISOLATED = "isolated"
    ROUTED = "routed"
    HOST_ONLY = "host-only"
    NAT = "nat"


class Lan(Struct, frozen=True):
    """One Ethernet broadcast domain: a segment (``host`` empty) or a private network of a host.

    A bridge network is no domain of its own: its VMs are on the segment of its uplink.
    """

    name: str
    host: str = ""

    def __str__(self) -> str:
        return f"{self.host}/{self.name}" if self.host else self.name


class Segment(Struct, frozen=True):
    """A physical LAN: one Ethernet broadcast domain outside any host."""

    name: str
    subnets: tuple[IPNetwork, ...]
    mtu: int = 1500
    cascade: bool = False
    place: Place = NOWHERE


class Route(Struct, frozen=True):
    """A static route of a node: traffic to ``prefix`` goes to the next hop ``via``."""

    prefix: IPNetwork
    via: IPAddress


class Nic(Struct, frozen=True):
    """An interface of a VM, host or machine, and the broadcast domain it is in."""

    name: str
    """Device name inside the node, such as ``eth0``."""
    lan: Lan
    mac: str
    """Six lower-case hex pairs joined by colons."""
    addresses: tuple[IPInterface, ...]
    mtu: int
    network: str = ""
    """Of a VM: the network (of its host) that this NIC is plugged into; else empty."""

    def address(self, family: Family) -> IPInterface | None:
        """Return the first address of the family, if there is one."""
        return next((a for a in self.addresses if family_of(a) is family), None)


class Forward(Struct, frozen=True):
    """A port of the uplink's addresses handed to a VM of a NAT network (RFC 3022 calls it NAPT)."""

    protocol: str
    """``tcp`` or ``udp``."""
    port: int
    to: str
    """Name of the VM."""
    to_port: int
    place: Place = NOWHERE


class Network(Struct, frozen=True):
    """A virtual network of a host, in one mode."""

    name: str
    host: str
    mode: Mode
    uplink: str
    """Name of the host's NIC it uses; empty for isolated and host-only."""
    subnets: tuple[IPNetwork, ...]
    """Its own prefixes; for a bridge network those of the uplink's segment."""
    lan: Lan
    """Where its VMs are: the uplink's segment for a bridge network, else a domain of its own."""
    addresses: tuple[IPInterface, ...]
    """The host's addresses on it, the VMs' gateways; empty for bridge and isolated."""
    mac: str
    """MAC of the host on it (of the Linux bridge); for a bridge network that of the uplink."""
    mtu: int
    forwards: tuple[Forward, ...] = ()
    reach: tuple[str, ...] = ()
    port_isolation: bool = False
    deny: str = "reject"
    """``reject`` (say so by ICMP) or ``drop``, for denied flows that VMs begin."""
    cascade: bool = False
    """Whether it may have more ports than one switch takes, on several."""
    place: Place = NOWHERE

    def address(self, family: Family) -> IPInterface | None:
        """Return the host's first address of the family on this network."""
        return next((a for a in self.addresses if family_of(a) is family), None)

    def families(self) -> tuple[Family, ...]:
        """Return the families that it has subnets of, in the order v4, v6."""
        found = {family_of(subnet) for subnet in self.subnets}
        return tuple(family for family in Family if family in found)


class Host(Struct, frozen=True):
    """A hypervisor host."""

    name: str
    nics: Mapping[str, Nic]
    networks: Mapping[str, Network]
    routes: tuple[Route, ...] = ()
    place: Place = NOWHERE
    backend: str = "namespace"
    """``namespace`` or ``local``, which is this very machine."""


class Vm(Struct, frozen=True):
    """A machine attached to networks of its host."""

    name: str
    host: str
    backend: str
    """``namespace`` or ``tap``."""
    nics: tuple[Nic, ...]
    routes: tuple[Route, ...] = ()
    place: Place = NOWHERE
    owner: str = ""
    """Of a tap: the user who may attach to it; empty for root alone."""
    group: str = ""


class Machine(Struct, frozen=True):
    """Something outside: a LAN peer, a router between segments, a remote host."""

    name: str
    nics: tuple[Nic, ...]
    router: bool = False
    routes: tuple[Route, ...] = ()
    place: Place = NOWHERE


class Expect(Struct, frozen=True):
    """A guarantee of the author's own."""

    source: str
    destination: str
    protocol: str
    """``icmp``, ``tcp`` or ``udp``."""
    outcome: str
    """One of ``delivered``, ``refused``, ``rejected``, ``silent``."""
    port: int = 0
    """Destination port; 0 for icmp."""
    family: Family | None = None
    """None: every family that both ends have."""
    place: Place = NOWHERE


@dataclass(frozen=True)
class Topology:
    """A whole lab, resolved. Maps keep the order of the file."""

    name: str
    segments: Mapping[str, Segment]
    hosts: Mapping[str, Host]
    vms: Mapping[str, Vm]
    machines: Mapping[str, Machine]
    expect: tuple[Expect, ...] = ()
    text: str = field(default="", compare=False, repr=False)
    """The source it was loaded from, so that a running lab can be asked what it is."""
    file: str = field(default="<python>", compare=False)
    facts: Facts | None = None
    """What is known of this very machine; None: there is no host that it is, or nobody has looked."""

    @staticmethod
    def load(path: str | Path) -> Topology:
        """Read a topology file (YAML, or a graph as .graphml, .json, .dot).

        Raises TopologyError with every problem of the file.
        """
        from vnetlab.topology.load import load

        return load(path)

    @staticmethod
    def parse(text: str, file: str = "<python>", facts: Facts | None = None) -> Topology:
        """Read a topology from text; the name of ``file`` decides the format, YAML by default.

        ``facts`` are those of this very machine, for a host that it is: without them its NICs have no
        addresses. Raises TopologyError with every problem of the text.
        """
        from vnetlab.topology.load import parse

        return parse(text, file, facts)

    @staticmethod
    def of(**elements: object) -> Topology:
        """Build a topology from the elements of a topology file, given as Python values.

        Raises TopologyError with every problem of them, and TypeError for values that no file can hold.
        """
        return Topology.parse(json.dumps(elements, indent=1))  # JSON is YAML

    @property
    def local(self) -> Host | None:
        """The host that is this very machine, if there is one."""
        return next((host for host in self.hosts.values() if host.backend == "local"), None)

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """Every network of every host, hosts first."""
        return tuple(n for host in self.hosts.values() for n in host.networks.values())

    def vms_of(self, network: Network) -> tuple[tuple[Vm, Nic], ...]:
        """Return the VMs on a network, each with the NIC that is plugged into it."""
        return self._vms_by_network.get((network.host, network.name), ())

    @cached_property
    def _vms_by_network(self) -> dict[tuple[str, str], tuple[tuple[Vm, Nic], ...]]:
        found: dict[tuple[str, str], list[tuple[Vm, Nic]]] = {}
        for vm in self.vms.values():
            for nic in vm.nics:
                found.setdefault((vm.host, nic.network), []).append((vm, nic))
        return {key: tuple(value) for key, value in found.items()}

    def node(self, name: str) -> Vm | Host | Machine:
        """Return the VM, host or machine of that name; raises KeyError."""
        for group in (self.vms, self.hosts, self.machines):
            if name in group:
                return group[name]
        raise KeyError(name)

    def nodes(self) -> Iterator[Vm | Host | Machine]:
        """Iterate over hosts, VMs and machines: everything that `exec` reaches."""
        yield from self.hosts.values()
        yield from self.vms.values()
        yield from self.machines.values()
