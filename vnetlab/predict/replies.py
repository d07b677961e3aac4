"""What a node says to a packet that reached it: answers, refusals, and ICMP errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.predict.packet import (
    ADVERTISEMENT,
    ECHO_REPLY,
    ECHO_REQUEST,
    ICMP,
    ICMP6,
    RST_ACK,
    SYN,
    SYN_ACK,
    TCP,
    UDP,
    Packet,
    Role,
)

if TYPE_CHECKING:
    from vnetlab.predict.world import World

PORT_UNREACHABLE = {4: 0x0303, 6: 0x0104}
NO_ROUTE = {4: 0x0300, 6: 0x0100}
HOST_UNREACHABLE = {4: 0x0301, 6: 0x0103}
ADMIN_PROHIBITED = {4: 0x030D, 6: 0x0101}
TIME_EXCEEDED = {4: 0x0B00, 6: 0x0300}
TOO_BIG = {4: 0x0304, 6: 0x0200}
BEYOND_SCOPE = {6: 0x0102}
"""ICMP errors as type * 256 + code, by version (RFC 792, RFC 1812 section 5.2.7, RFC 4443 section 3)."""
_INTERNET_CONTROL = 0xC0
"""Precedence of ICMPv4 errors (RFC 1812, 4.3.2.5; `icmp_send` of the kernel's net/ipv4/icmp.c)."""
_ICMPX = {
    "no-route": NO_ROUTE,
    "port-unreachable": PORT_UNREACHABLE,
    "host-unreachable": HOST_UNREACHABLE,
    "admin-prohibited": ADMIN_PROHIBITED,
}
_ICMP = {
    "net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3,
    "net-prohibited": 9, "host-prohibited": 10, "admin-prohibited": 13,
}  # fmt: skip
_ICMP6 = {
    "no-route": 0, "admin-prohibited": 1, "addr-unreachable": 3, "port-unreachable": 4, "policy-fail": 5,
    "reject-route": 6,
}  # fmt: skip


def error_of(kind: str, code: str, version: int) -> int | None:
    """Return the ICMP error of a `reject`; None where it does not fit the packet's family."""
    if kind == "icmpx":
        found = _ICMPX.get(code)
        return found[version] if found else None
    if kind == "icmp" and version == 4 and code in _ICMP:
        return 0x0300 | _ICMP[code]
    if kind == "icmpv6" and version == 6 and code in _ICMP6:
        return 0x0100 | _ICMP6[code]
    return None


def reply_to(world: World, node: str, packet: Packet, ttl: int = 64) -> Packet | None:
    """Return what a node answers a unicast request that reached it; None for nothing."""
    if packet.protocol == TCP:
        if packet.kind != SYN:
            return None
        if ("tcp", packet.destination_port) in world.open_ports(node):
            return _back(packet, ttl, kind=SYN_ACK, role=Role.ANSWER)
        return reset_of(packet, ttl)
    if packet.protocol == UDP:
        if ("udp", packet.destination_port) not in world.open_ports(node):
            return error(packet, packet.destination, PORT_UNREACHABLE[packet.version], ttl)
        return _back(packet, ttl, role=Role.ANSWER) if packet.wants_answer else None
    if packet.kind == ECHO_REQUEST[packet.version] and packet.protocol in (ICMP, ICMP6):
        kind = ECHO_REPLY[packet.version]
        answer = _back(packet, ttl, kind=kind, role=Role.ANSWER)
        return replace(
            answer, source_port=packet.source_port, destination_port=0, size=packet.size, tos=packet.tos
        )
    return None


def reset_of(packet: Packet, ttl: int = 64) -> Packet:
    """Return the TCP reset that answers a packet."""
    return _back(packet, ttl, kind=RST_ACK, role=Role.RESET)


def _back(packet: Packet, ttl: int, *, role: Role, kind: int = 0) -> Packet:
    return Packet(
        packet.version,
        packet.destination,
        packet.source,
        packet.protocol,
        packet.destination_port,
        packet.source_port,
        kind,
        ttl,
        role=role,
        drawn=packet.drawn,
    )


def advertisement(packet: Packet) -> Packet:
    """Return the neighbour advertisement that answers a solicitation (RFC 4861, 7.2.4)."""
    return Packet(
        6,
        packet.target,
        packet.source,
        ICMP6,
        kind=ADVERTISEMENT,
        ttl=255,
        role=Role.ANSWER,
        target=packet.target,
    )


def error(packet: Packet, source: int, kind: int, ttl: int = 64) -> Packet:
    """Return an ICMP error about a packet."""
    protocol, tos = (ICMP, _INTERNET_CONTROL) if packet.version == 4 else (ICMP6, 0)
    return Packet(
        packet.version,
        source,
        packet.source,
        protocol,
        kind=kind,
        ttl=ttl,
        role=Role.ERROR,
        quoted=packet,
        tos=tos,
    )
