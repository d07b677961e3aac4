"""Frames and packets as the model sees them: the fields that something on the way may look at or change."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from vnetlab.topology.model import IPAddress

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
"""Protocol numbers (IANA), of both families."""
SYN, FIN, SYN_ACK, RST_ACK = 0x02, 0x01, 0x12, 0x14
"""TCP flags (RFC 9293, 3.1)."""
ECHO_REQUEST = {4: 0x0800, 6: 0x8000}
ECHO_REPLY = {4: 0x0000, 6: 0x8100}
"""ICMP type * 256 + code (RFC 792, RFC 4443)."""
SOLICITATION, ADVERTISEMENT, ROUTER_ADVERTISEMENT = 0x8700, 0x8800, 0x8600
BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"
LIMITED_BROADCAST = 0xFFFFFFFF
LINK_LOCAL_BASE = 0xFE80 << 112
ALL_NODES = (0xFF02 << 112) | 1


class Role(StrEnum):
    """What a packet is to the flow that it belongs to."""

    REQUEST = "request"
    ANSWER = "answer"
    RESET = "reset"
    ERROR = "error"


class Packet(Struct, frozen=True):
    """An IP packet. Addresses are numbers; ports of an echo are its identifier, as conntrack sees it."""

    version: int
    source: int
    destination: int
    protocol: int
    source_port: int = 0
    destination_port: int = 0
    kind: int = 0
    """Of ICMP: type * 256 + code. Of TCP: its flags."""
    ttl: int = 64
    size: int = 0
    """Bytes of the whole packet; 0: smaller than any MTU."""
    fragmented: bool = False
    """Sent in fragments that fit every link; IPv4 packets that are not have DF set."""
    role: Role = Role.REQUEST
    wants_answer: bool = True
    target: int = 0
    """Address that a neighbour solicitation asks for, or an advertisement is about."""
    quoted: Packet | None = None
    """What an ICMP error is about."""
    tos: int = 0
    """Type of service or traffic class: DSCP * 4 + ECN (RFC 2474, RFC 3168)."""
    drawn: tuple[int, int] | None = None
    """A range that the kernel draws one of the ports from; here it is the first of them."""

    @property
    def is_group(self) -> bool:
        """Whether the destination is multicast, or the limited broadcast."""
        if self.version == 4:
            return self.destination >> 28 == 0xE or self.destination == LIMITED_BROADCAST
        return self.destination >> 120 == 0xFF

    def __str__(self) -> str:
        names = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMP6: "icmpv6"}
        source, destination = text(self.version, self.source), text(self.version, self.destination)
        if self.protocol in (TCP, UDP):
            v4 = self.version == 4
            source = f"{source}:{self.source_port}" if v4 else f"[{source}]:{self.source_port}"
            destination = (
                f"{destination}:{self.destination_port}" if v4 else f"[{destination}]:{self.destination_port}"
            )
        return f"{names.get(self.protocol, self.protocol)} {source} > {destination} ttl {self.ttl}"


class Arp(Struct, frozen=True):
    """An ARP message (RFC 826) between Ethernet and IPv4."""

    operation: int
    """1 asks, 2 answers."""
    sender_mac: str
    sender: int
    target_mac: str
    target: int

    @property
    def role(self) -> Role:
        """A request or its answer."""
        return Role.REQUEST if self.operation == 1 else Role.ANSWER

    def __str__(self) -> str:
        if self.operation == 1:
            return f"arp who has {text(4, self.target)} tell {text(4, self.sender)}"
        return f"arp {text(4, self.sender)} is at {self.sender_mac}"


class Frame(Struct, frozen=True):
    """An Ethernet frame."""

    source: str
    destination: str
    payload: Packet | Arp

    @property
    def is_group(self) -> bool:
        """Whether the group bit of the destination is set (IEEE 802)."""
        return self.destination[1] in "13579bdf"


@lru_cache(maxsize=4096)
def text(version: int, address: int) -> str:
    """Return an address as people write it."""
    return str(address_of(version, address))


def address_of(version: int, address: int) -> IPAddress:
    """Return the address of that number."""
    return IPv4Address(address) if version == 4 else IPv6Address(address)


def group_mac(version: int, address: int) -> str:
    """Return the Ethernet address of an IP group (RFC 1112, 6.4; RFC 2464, 7)."""
    if version == 4:
        if address == LIMITED_BROADCAST:
            return BROADCAST_MAC
        low = [1, 0, 0x5E, (address >> 16) & 0x7F, (address >> 8) & 0xFF, address & 0xFF]
    else:
        low = [0x33, 0x33, *((address >> shift) & 0xFF for shift in (24, 16, 8, 0))]
    return ":".join(f"{byte:02x}" for byte in low)


def solicited_node(address: int) -> int:
    """Return the group that an address is asked for by (RFC 4291, 2.7.1)."""
    return (0xFF02 << 112) | (1 << 32) | (0xFF << 24) | (address & 0xFFFFFF)


def link_local(mac: str) -> int:
    """Return the link-local address that a device makes of its MAC (RFC 4291, appendix A)."""
    octets = [int(part, 16) for part in mac.split(":")]
    identifier = bytes([octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]])
    return LINK_LOCAL_BASE | int.from_bytes(identifier, "big")


def is_link_local(address: int) -> bool:
    """Tell an IPv6 address of fe80::/10."""
    return address >> 118 == 0x3FA


def is_of_link(address: int) -> bool:
    """Tell an IPv6 address, or group, that means another thing on each link (RFC 4291, 2.5.6 and 2.7)."""
    return is_link_local(address) or address >> 112 & 0xFF0F == 0xFF02
