"""What a mode says of itself, and what it may know of the host around it.

Modes know nothing of each other. What two networks owe each other follows from the two properties here,
and a mode meets the rest of its host only as the sets of devices and addresses in a Context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct, field
from msgspec.structs import astuple

from vnetlab.topology.model import Family, IPAddress, IPInterface, IPNetwork, family_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnetlab.state import Address, Bridge, NftChain, NftRule, Sysctl
    from vnetlab.topology.model import Host, Network

_Item = TypeVar("_Item", IPNetwork, IPInterface, IPAddress)


class Properties(Struct, frozen=True):
    """What a mode declares of itself; everything between two networks follows from it."""

    outward: bool
    """Its machines may start flows to the world outside their network."""
    inward: bool
    """Outsiders may start flows to its machines."""
    presence: bool
    """The host has an address on it and answers there."""

    @property
    def public(self) -> bool:
        """Both: its machines are part of the routed world, and so are known to each other."""
        return self.outward and self.inward


class Context(Struct, frozen=True):
    """A network and as much of its host as a mode needs for its rules."""

    host: Host
    network: Network
    device: str
    """The bridge of the network."""
    uplink_device: str
    """The device with the uplink's addresses; empty where the mode has no uplink."""
    uplink_addresses: tuple[IPInterface, ...]
    reachable: tuple[IPAddress, ...]
    """The host's addresses that anyone outside may reach: on its LANs and on its public networks."""
    public_devices: tuple[str, ...]
    """Bridges of the host's other networks that are public and have a domain of their own."""
    reach: tuple[tuple[str, Network], ...]
    """Bridge and network of each one that the file lets this network reach."""
    vm_addresses: dict[str, tuple[IPInterface, ...]]
    """Addresses of the network's VMs on it, by VM."""
    elsewhere: frozenset[str]
    """VMs that are on other networks too."""
    inner_ports: tuple[str, ...]
    """Bridge ports behind which are VMs of the network and nobody else: theirs, and those of trunks."""


class Rules(Struct, frozen=True):
    """Rules by the chain of the host's table that they belong to, in the order of the packet's way."""

    guard: tuple[NftRule, ...] = ()
    unroutable: tuple[NftRule, ...] = ()
    dstnat: tuple[NftRule, ...] = ()
    dstnat_local: tuple[NftRule, ...] = ()
    input: tuple[NftRule, ...] = ()
    input_deny: tuple[NftRule, ...] = ()
    input_private: tuple[NftRule, ...] = ()
    forward: tuple[NftRule, ...] = ()
    forward_deny: tuple[NftRule, ...] = ()
    forward_deny_inbound: tuple[NftRule, ...] = ()
    srcnat: tuple[NftRule, ...] = ()
    leak: tuple[NftRule, ...] = ()

    def __add__(self, other: Rules) -> Rules:
        return Rules(*(own + its for own, its in zip(astuple(self), astuple(other), strict=True)))


class Objects(Struct, frozen=True):
    """What one network adds to its host."""

    bridge: Bridge | None = None
    """None where the network shares the uplink's bridge."""
    addresses: tuple[Address, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    rules: Rules = field(default_factory=Rules)
    netdev_chains: tuple[NftChain, ...] = ()
    bridge_rules: tuple[NftRule, ...] = ()


IP = {Family.IPV4: "ip", Family.IPV6: "ip6"}
"""The nft keyword of each family."""


def members(items: Iterable[object]) -> str:
    """Return an nft anonymous set of the items, or the item itself where it is the only one."""
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else f"{{ {', '.join(words)} }}"


def devices(names: Iterable[str]) -> str:
    """Return device names as nft matches them, quoted."""
    return members(f'"{name}"' for name in names)


def of_family(items: Iterable[_Item], family: Family) -> list[_Item]:
    """Return the items of one family, in their order."""
    return [item for item in items if family_of(item) is family]


UNROUTABLE = "fib daddr type != { local, broadcast, multicast, anycast } fib daddr oif missing"
"""Matches a packet for which the host has no route.

Routing itself would answer such packets before any filter sees them, and in IPv4 no more than a few of them
for each sender (`ip_error` in the kernel's net/ipv4/route.c keeps a budget that no namespace can set).
"""


def deny(network: Network) -> str:
    """Return the nft verdict for a denied flow that the network's VMs begin (RFC 1812, 5.2.7.1)."""
    return "drop" if network.deny == "drop" else "reject with icmpx admin-prohibited"
