"""Packets as Scapy builds them, once for each shape: the moulds that `frames` fills in per shot.

Addresses are given for every layer, so that Scapy never asks the machine's own interfaces and
routes.
"""

from __future__ import annotations

from scapy.config import conf

# Nor need it read them when it is imported, which is a quarter of the time that takes.
conf.route_autoload = conf.route6_autoload = False

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DUID_EN, DHCP6_Solicit, DHCP6OptClientId
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP
from scapy.packet import Packet, Raw

from vnetlab.probe.flight import Kind
from vnetlab.probe.shape import DHCP6_TAG, DHCP_TAG, TAG_BYTES, Template

ADVERTISED_SECONDS = 5
"""Whoever believes the advertisement forgets it soon."""

ANY_MAC = "02:00:00:00:00:01"
_SOURCE = {4: "192.0.2.1", 6: "2001:db8::1"}
_TARGET = {4: "192.0.2.2", 6: "2001:db8::2"}


def make_template(kind: Kind, version: int, size: int) -> Template:
    """Return the mould of a shape; ``size`` is the IP packet's, in bytes, 0 for the smallest."""
    if kind is Kind.ARP:
        return Template(bytes(_arp()), 0, 0, 0, 0)
    header = _header(version)
    body, tag, checksum = _body(kind, version)
    packet = bytes(header / body)
    if tag and size > len(packet):
        packet = bytes(header / body / Raw(bytes(size - len(packet))))
    start = len(bytes(header))
    protocol = packet[9] if version == 4 else packet[6]
    return Template(packet, protocol, start, start + checksum, start + tag if tag else 0)


def _header(version: int) -> Packet:
    if version == 4:
        return IP(src=_SOURCE[4], dst=_TARGET[4], flags="DF")
    return IPv6(src=_SOURCE[6], dst=_TARGET[6])


def _arp() -> Packet:
    return ARP(op="who-has", hwsrc=ANY_MAC, psrc=_SOURCE[4], hwdst="00:00:00:00:00:00", pdst=_TARGET[4])


def _body(kind: Kind, version: int) -> tuple[Packet, int, int]:
    """Return transport and payload, and where tag and checksum are in it."""
    tag = Raw(bytes(TAG_BYTES))
    if kind is Kind.UDP:
        return UDP(sport=1, dport=1) / tag, 8, 6
    if kind is Kind.FIN:
        return TCP(sport=1, dport=1, flags="F", window=64240), 4, 16
    if kind is Kind.TCP:
        return TCP(sport=1, dport=1, flags="S", window=64240, options=[("MSS", 1220)]), 4, 16
    if kind is Kind.ICMP:
        return (ICMP(type=8) if version == 4 else ICMPv6EchoRequest()) / tag, 8, 2
    if kind is Kind.NS:
        return ICMPv6ND_NS(tgt=_TARGET[6]) / ICMPv6NDOptSrcLLAddr(lladdr=ANY_MAC), 0, 2
    if kind is Kind.RA:
        return _advertisement(), 0, 2
    if kind is Kind.DHCP:
        return _discover() if version == 4 else _solicit()
    raise ValueError(f"no packet of kind {kind!r}")


def _advertisement() -> Packet:
    life = ADVERTISED_SECONDS
    prefix = ICMPv6NDOptPrefixInfo(
        prefix="fd00::", prefixlen=64, L=1, A=1, validlifetime=life, preferredlifetime=life
    )
    router = ICMPv6ND_RA(routerlifetime=life)
    return router / prefix / ICMPv6NDOptSrcLLAddr(lladdr=ANY_MAC)


def _discover() -> tuple[Packet, int, int]:
    discover = BOOTP(op=1, flags=0x8000) / DHCP(options=[("message-type", "discover"), "end"])
    return UDP(sport=68, dport=67) / discover, 8 + DHCP_TAG, 6


def _solicit() -> tuple[Packet, int, int]:
    client = DHCP6OptClientId(duid=DUID_EN(id=bytes(TAG_BYTES)))
    return UDP(sport=546, dport=547) / DHCP6_Solicit() / client, 8 + DHCP6_TAG, 6
