"""MAC and IP addresses for whatever the file leaves open: hashes, so that neighbours do not matter.

An element's address is the slot that the hash of its path prefers. Where that is taken, the next
free one in file order: a VM that is appended to the file changes no address of those before it, and
one put in between does so only where two prefer the same slot. All fixed addresses are reserved
first.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING

from msgspec import Struct, field

from vnetlab.topology.model import Nic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vnetlab.topology.model import IPAddress, IPInterface, IPNetwork, Lan
    from vnetlab.topology.report import Path, Report
    from vnetlab.topology.values import FixedAddress, Subnet


class Macs(Struct):
    """The MAC addresses of a file; fixed ones are claimed before any is derived."""

    report: Report
    fixed: dict[str, Path] = field(default_factory=dict)
    derived: set[str] = field(default_factory=set)

    def claim(self, mac: str, path: Path) -> None:
        """Take a MAC that the file fixes; two equal ones are a problem."""
        if mac in self.fixed:
            first = self.report.place(self.fixed[mac])
            wrong = f"this MAC address is taken in line {first.line}"
            self.report.add(path, wrong, "give each NIC one of its own, or leave it out")
        self.fixed.setdefault(mac, path)

    def derive(self, *path: str) -> str:
        """Return a locally administered unicast MAC (IEEE 802: 02 in the first byte) for a path."""
        name, turn = "/".join(path), 0
        while True:
            mac = _hashed_mac(name if not turn else f"{name}#{turn}")
            if mac not in self.derived:
                break
            turn += 1
        self.derived.add(mac)
        if mac in self.fixed:
            wrong = f"this MAC address is the one that vnetlab derives for {'/'.join(path[1:])}"
            self.report.add(self.fixed[mac], wrong, "choose another, or leave it out")
        return mac


def _hashed_mac(name: str) -> str:
    digest = hashlib.sha256(name.encode()).digest()
    return "02:" + ":".join(f"{byte:02x}" for byte in digest[:5])


class Fixed(Struct, frozen=True):
    """An address that the file fixes, and where."""

    address: FixedAddress
    path: Path


class Port(Struct):
    """A NIC whose addresses are being settled."""

    node: str
    nic: str
    attached: str
    """Name of the network or segment; of a host's NIC, its own name."""
    lan: Lan
    mac: str
    mtu: int
    path: Path
    fixed: tuple[Fixed, ...] | None
    network: str = ""
    addresses: tuple[IPInterface, ...] = ()
    faulty: bool = False
    """An address of it was refused or could not be found."""

    def settled(self) -> Nic:
        """Return the NIC with its addresses."""
        return Nic(self.nic, self.lan, self.mac, self.addresses, self.mtu, self.network)


class AddressPlan(Struct):
    """The addresses of one broadcast domain, and who has them."""

    lan: Lan
    subnets: tuple[IPNetwork, ...]
    path: Path
    free_form: bool = False
    """Without subnets, any fixed address with a prefix length is right (isolated networks)."""
    taken: dict[IPAddress, str] = field(default_factory=dict)
    full: set[IPNetwork] = field(default_factory=set)

    def take(self, address: IPAddress, owner: str) -> None:
        """Reserve an address."""
        self.taken[address] = owner


def host_address(subnet: Subnet) -> IPInterface:
    """Return the host's address in a subnet: as written, else the first usable one."""
    address = subnet.address or _usable(subnet.prefix)[0]
    return _interface(address, subnet.prefix.prefixlen)


def _interface(address: IPAddress, length: int) -> IPInterface:
    """Return an address with its prefix length, by numbers: the library would write it down and parse it."""
    kind = IPv4Interface if address.version == 4 else IPv6Interface
    return kind((int(address), length))


def settle(plans: Mapping[Lan, AddressPlan], ports: Sequence[Port], report: Report) -> None:
    """Give every port its addresses: all fixed ones first, then the derived, in order."""
    for port in ports:
        found = [_fix(plans[port.lan], port, fixed, report) for fixed in port.fixed or ()]
        _keep(port, found)
    for port in ports:
        if port.fixed is None:
            plan = plans[port.lan]
            _keep(port, [_derive(plan, port, subnet, report) for subnet in plan.subnets])


def _keep(port: Port, found: Sequence[IPInterface | None]) -> None:
    port.addresses = tuple(address for address in found if address is not None)
    port.faulty = len(port.addresses) < len(found)


def _usable(subnet: IPNetwork) -> tuple[IPAddress, int]:
    """Return the first usable address and how many there are.

    Point-to-point prefixes use both (RFC 3021, RFC 6164); else not the network and broadcast
    address of IPv4 nor the subnet-router anycast address of IPv6 (RFC 4291, 2.6.1).
    """
    bits = subnet.max_prefixlen - subnet.prefixlen
    first = subnet.network_address
    if bits == 1:
        return first, 2
    return first + 1, 2**bits - (2 if subnet.version == 4 else 1)


def _fix(plan: AddressPlan, port: Port, fixed: Fixed, report: Report) -> IPInterface | None:
    address = fixed.address
    subnet = next((s for s in plan.subnets if address.ip in s), None)
    length = address.length if subnet is None else subnet.prefixlen
    fault = _fault(plan, subnet, address)
    if fault is None and address.ip in plan.taken:
        owner = plan.taken[address.ip]
        remedy = "give each NIC one of its own, or leave it out"
        fault = (f"is the address of {owner} on {plan.lan} already", remedy)
    if fault is not None:
        report.add(fixed.path, *fault, str(address))
        return None
    plan.take(address.ip, port.node)
    assert length is not None  # or there had been a fault
    return _interface(address.ip, length)


def _fault(plan: AddressPlan, subnet: IPNetwork | None, address: FixedAddress) -> tuple[str, str] | None:
    if subnet is None:
        return _fault_outside(plan, address)
    if address.length not in (None, subnet.prefixlen):
        wrong = f"its subnet {subnet} of {plan.lan} has another prefix length"
        return wrong, f"write {address.ip}/{subnet.prefixlen}"
    first, count = _usable(subnet)
    if not int(first) <= int(address.ip) < int(first) + count:
        return f"is the network or broadcast address of {subnet}", f"take another, such as {first}"
    return None


def _fault_outside(plan: AddressPlan, address: FixedAddress) -> tuple[str, str] | None:
    if plan.subnets:
        subnets = ", ".join(str(subnet) for subnet in plan.subnets)
        remedy = f"take one inside, or add its subnet to {plan.lan}"
        return f"is in no subnet of {plan.lan} ({subnets})", remedy
    if not plan.free_form:
        return f"{plan.lan} has no subnets", f"add `subnets:` to {plan.lan}"
    if address.length is None:
        wrong = f"{plan.lan} has no subnets to take the prefix length from"
        return wrong, f"write for example {address.ip}/{24 if address.ip.version == 4 else 64}"
    return None


def _derive(plan: AddressPlan, port: Port, subnet: IPNetwork, report: Report) -> IPInterface | None:
    first, count = _usable(subnet)
    # an interface identifier has 64 bits (RFC 4291, 2.5.1), however wide the prefix is
    slots = min(count, 2**64 - 1)
    key = f"{port.node}/{port.attached}/{subnet}".encode()
    preferred = int.from_bytes(hashlib.sha256(key).digest()[:16], "big") % slots
    if subnet in plan.full:
        return None
    for step in range(min(slots, len(plan.taken) + 1)):
        address = first + (preferred + step) % slots
        if address not in plan.taken:
            plan.take(address, port.node)
            return _interface(address, subnet.prefixlen)
    plan.full.add(subnet)
    wrong = f"has no address left for {port.node} ({count:,} in all)"
    remedy = f"take a shorter prefix, such as /{subnet.prefixlen - 1}"
    report.add(plan.path, wrong, remedy, str(subnet))
    return None
