"""A packet's visit to the hooks of one namespace: what rules may ask about it, field by field."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from vnetlab.predict.packet import ICMP, ICMP6, TCP, UDP, Arp, Frame, Packet
from vnetlab.predict.rules import Key

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.items import Item
    from vnetlab.predict.conntrack import Tracked
    from vnetlab.predict.space import Space

Value = int | str | None
HOST, BROADCAST, MULTICAST, OTHER = 0, 1, 2, 3
"""Whom a frame is for, seen from the receiving device (`PACKET_HOST`... in linux/if_packet.h)."""
_ETHERTYPES = {4: 0x0800, 6: 0x86DD}
_NFPROTO = {4: 2, 6: 10}


class Unknown(Exception):
    """The model cannot tell how the kernel would go on; says why."""


class Passage:
    """A packet at a hook. ``packet`` changes where rules translate it."""

    __slots__ = (
        "family",
        "frame",
        "iif",
        "mark",
        "oif",
        "packet",
        "packet_type",
        "space",
        "tracked",
        "untracked",
        "used",
    )

    def __init__(
        self,
        space: Space,
        packet: Packet | Arp,
        iif: str = "",
        oif: str = "",
        frame: Frame | None = None,
        packet_type: int = HOST,
        family: str = "inet",
    ) -> None:
        self.space = space
        self.packet = packet
        self.iif = iif
        self.oif = oif
        self.frame = frame
        self.packet_type = packet_type
        self.family = family
        self.tracked: Tracked | None = None
        self.untracked = False
        self.mark = 0
        self.used: list[Item | None] = []
        """Where the rules that it fits are written down; hooks put the walk's own list here."""

    @property
    def ip(self) -> Packet:
        """The IP packet at a hook that only IP packets come to."""
        assert isinstance(self.packet, Packet)
        return self.packet


def _version(passage: Passage, version: int) -> Packet | None:
    packet = passage.packet
    return packet if isinstance(packet, Packet) and packet.version == version else None


def _protocol(passage: Passage, *protocols: int) -> Packet | None:
    packet = passage.packet
    if not isinstance(packet, Packet) or packet.protocol not in protocols:
        return None
    if packet.fragmented and not passage.space.tracks:
        raise Unknown("ports of fragments that nothing put together")
    return packet


def _ethertype(passage: Passage) -> int:
    packet = passage.packet
    return _ETHERTYPES[packet.version] if isinstance(packet, Packet) else 0x0806


def _nfproto(passage: Passage) -> Value:
    if passage.family in ("bridge", "netdev"):
        return {"bridge": 7, "netdev": 5}[passage.family]
    return _NFPROTO[passage.ip.version]


def _l4proto(passage: Passage) -> Value:
    return passage.packet.protocol if isinstance(passage.packet, Packet) else None


def _ct_state(passage: Passage) -> Value:
    if passage.family in ("bridge", "netdev"):
        raise Unknown("conntrack in the bridge and netdev families")
    if passage.untracked:
        return 64
    if passage.tracked is None:
        return 1
    return passage.tracked.state


def _ct_status(passage: Passage) -> Value:
    if passage.tracked is None or passage.tracked.entry is None:
        return None
    entry = passage.tracked.entry
    bits = 2 * entry.replied + 4 * entry.assured + 8 * entry.confirmed
    return bits + 16 * entry.snat + 32 * entry.dnat


def _ct_direction(passage: Passage) -> Value:
    if passage.tracked is None or passage.tracked.entry is None:
        return None
    return int(passage.tracked.is_reply)


def _mac(passage: Passage, *, source: bool) -> Value:
    if passage.frame is None:
        return None
    return passage.frame.source if source else passage.frame.destination


def _arp(passage: Passage) -> Arp | None:
    return passage.packet if isinstance(passage.packet, Arp) else None


_SIMPLE: dict[Key, Callable[[Passage], Value]] = {
    Key("meta", "iifname"): lambda p: p.iif,
    Key("meta", "oifname"): lambda p: p.oif,
    Key("meta", "ibrname"): lambda p: p.space.master_of(p.iif),
    Key("meta", "obrname"): lambda p: p.space.master_of(p.oif),
    Key("meta", "nfproto"): _nfproto,
    Key("meta", "l4proto"): _l4proto,
    Key("meta", "protocol"): _ethertype,
    Key("meta", "pkttype"): lambda p: p.packet_type,
    Key("meta", "mark"): lambda p: p.mark,
    Key("ether", "type"): _ethertype,
    Key("ether", "saddr"): lambda p: _mac(p, source=True),
    Key("ether", "daddr"): lambda p: _mac(p, source=False),
    Key("ct", "state"): _ct_state,
    Key("ct", "status"): _ct_status,
    Key("ct", "direction"): _ct_direction,
}
_OF_PACKET: dict[Key, tuple[int, str]] = {
    Key("ip", "saddr"): (4, "source"),
    Key("ip", "daddr"): (4, "destination"),
    Key("ip", "protocol"): (4, "protocol"),
    Key("ip", "ttl"): (4, "ttl"),
    Key("ip", "version"): (4, "version"),
    Key("ip6", "saddr"): (6, "source"),
    Key("ip6", "daddr"): (6, "destination"),
    Key("ip6", "nexthdr"): (6, "protocol"),
    Key("ip6", "hoplimit"): (6, "ttl"),
    Key("ip6", "version"): (6, "version"),
}
_OF_TRANSPORT: dict[Key, tuple[tuple[int, ...], Callable[[Packet], int]]] = {
    Key("tcp", "sport"): ((TCP,), lambda p: p.source_port),
    Key("tcp", "dport"): ((TCP,), lambda p: p.destination_port),
    Key("tcp", "flags"): ((TCP,), lambda p: p.kind),
    Key("udp", "sport"): ((UDP,), lambda p: p.source_port),
    Key("udp", "dport"): ((UDP,), lambda p: p.destination_port),
    Key("th", "sport"): ((TCP, UDP), lambda p: p.source_port),
    Key("th", "dport"): ((TCP, UDP), lambda p: p.destination_port),
    Key("icmp", "type"): ((ICMP,), lambda p: p.kind >> 8),
    Key("icmp", "code"): ((ICMP,), lambda p: p.kind & 0xFF),
    Key("icmp", "id"): ((ICMP,), lambda p: p.source_port),
    Key("icmpv6", "type"): ((ICMP6,), lambda p: p.kind >> 8),
    Key("icmpv6", "code"): ((ICMP6,), lambda p: p.kind & 0xFF),
    Key("icmpv6", "id"): ((ICMP6,), lambda p: p.source_port),
}
_OF_ARP: dict[Key, Callable[[Arp], Value]] = {
    Key("arp", "operation"): lambda a: a.operation,
    Key("arp", "saddr ip"): lambda a: a.sender,
    Key("arp", "daddr ip"): lambda a: a.target,
    Key("arp", "saddr ether"): lambda a: a.sender_mac,
}


@cache
def reader_of(key: Key) -> Callable[[Passage], Value]:
    """Return what reads a field of a passage; None from it means that the packet has no such field."""
    if key in _SIMPLE:
        return _SIMPLE[key]
    if key in _OF_PACKET:
        return _packet_reader(*_OF_PACKET[key])
    if key in _OF_TRANSPORT:
        return _transport_reader(*_OF_TRANSPORT[key])
    if key in _OF_ARP:
        return _arp_reader(_OF_ARP[key])
    return _fib_reader(key)


def _packet_reader(version: int, name: str) -> Callable[[Passage], Value]:
    at = Packet._fields.index(name)

    def read(passage: Passage) -> Value:
        packet = _version(passage, version)
        if packet is None:
            return None
        value = packet[at]
        assert isinstance(value, int)
        return value

    return read


def _transport_reader(protocols: tuple[int, ...], get: Callable[[Packet], int]) -> Callable[[Passage], Value]:
    def read(passage: Passage) -> Value:
        packet = _protocol(passage, *protocols)
        return None if packet is None else get(packet)

    return read


def _arp_reader(get: Callable[[Arp], Value]) -> Callable[[Passage], Value]:
    def read(passage: Passage) -> Value:
        message = _arp(passage)
        return None if message is None else get(message)

    return read


def _fib_reader(key: Key) -> Callable[[Passage], Value]:
    flags = key.name.split(" ")
    of_source, with_device, wants_type = "saddr" in flags, "iif" in flags, flags[-1] == "type"

    def read(passage: Passage) -> Value:
        packet = passage.packet
        if not isinstance(packet, Packet):
            return None
        address = packet.source if of_source else packet.destination
        fib = passage.space.fib(packet.version)
        device = passage.iif if with_device else ""
        if wants_type:
            return fib.type_of(address, device)
        return fib.device_towards(address, device)

    return read
