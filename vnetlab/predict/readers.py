"""What rules may ask about a packet at a hook, field by field."""

from __future__ import annotations

from functools import cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING

from vnetlab.predict.connections import ct_direction, ct_mark, ct_state, ct_status, tuple_reader
from vnetlab.predict.fib import LOOPBACK
from vnetlab.predict.fields import ABSENT
from vnetlab.predict.packet import ICMP, ICMP6, TCP, UDP, Arp, Packet, is_of_link
from vnetlab.predict.passage import Unknown
from vnetlab.predict.policy import Asked
from vnetlab.predict.rules import Key

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.predict.fib import Look
    from vnetlab.predict.passage import Passage

Value = int | str | None
_ETHERTYPES = {4: 0x0800, 6: 0x86DD}
_NFPROTO = {4: 2, 6: 10}
_HEADER_BYTES = {4: 20, 6: 40}
_ARP_BYTES = 28


def _version(passage: Passage, version: int) -> Packet | None:
    packet = passage.packet
    return packet if isinstance(packet, Packet) and packet.version == version else None


def _protocol(passage: Passage, *protocols: int) -> Packet | None:
    packet = passage.packet
    if not isinstance(packet, Packet) or packet.protocol not in protocols:
        return None
    if packet.fragmented and packet.version not in passage.space.tracks:
        raise Unknown("ports of fragments that nothing put together")
    return packet


def _ethertype(passage: Passage) -> int:
    packet = passage.packet
    return _ETHERTYPES[packet.version] if isinstance(packet, Packet) else 0x0806


def _nfproto(passage: Passage) -> Value:
    if passage.family in ("bridge", "netdev"):
        return {"bridge": 7, "netdev": 5}[passage.family]
    return _NFPROTO[passage.ip.version]


def _length(passage: Passage, less: int = 0) -> Value:
    packet = passage.packet
    if not isinstance(packet, Packet):
        return _ARP_BYTES
    if not packet.size:
        raise Unknown("the length of a packet that is as small as it comes")
    return packet.size - less


def _length_of(version: int, less: int) -> Callable[[Passage], Value]:
    return lambda passage: _length(passage, less) if _version(passage, version) else None


def _udp_length(passage: Passage) -> Value:
    packet = _protocol(passage, UDP)
    return None if packet is None else _length(passage, _HEADER_BYTES[packet.version])


def _port_of_anything(passage: Passage, *, source: bool) -> Value:
    """Read 16 bits of the transport header, whatever they are: `th` asks for no protocol."""
    packet = _protocol(passage, TCP, UDP, ICMP, ICMP6)
    if packet is None:
        return None
    if packet.protocol in (TCP, UDP):
        return _known_port(packet, packet.source_port if source else packet.destination_port)
    if source:
        return packet.kind
    raise Unknown("`th dport` of an ICMP message, which is its checksum")


def _known_port(packet: Packet, port: int) -> int:
    if packet.drawn and port == packet.drawn[0]:
        raise Unknown(f"a port that the kernel draws from {packet.drawn[0]}-{packet.drawn[1]}")
    return port


def _l4proto(passage: Passage) -> Value:
    return passage.packet.protocol if isinstance(passage.packet, Packet) else None


def _mac(passage: Passage, *, source: bool) -> Value:
    # At the hooks of IP, nft asks before for a device that is Ethernet, which `lo` is not.
    if passage.frame is None or passage.iif == LOOPBACK:
        return None
    return passage.frame.source if source else passage.frame.destination


def _arp(passage: Passage) -> Arp | None:
    return passage.packet if isinstance(passage.packet, Arp) else None


_SIMPLE: dict[Key, Callable[[Passage], Value]] = {
    Key("meta", "iifname"): lambda p: p.iif,
    Key("meta", "oifname"): lambda p: p.oif,
    Key("meta", "ibrname"): lambda p: p.space.master_of(p.iif) or None,
    Key("meta", "obrname"): lambda p: p.space.master_of(p.oif) or None,
    Key("meta", "length"): _length,
    Key("ip", "length"): _length_of(4, 0),
    Key("ip6", "length"): _length_of(6, 40),
    Key("udp", "length"): _udp_length,
    Key("th", "sport"): lambda p: _port_of_anything(p, source=True),
    Key("th", "dport"): lambda p: _port_of_anything(p, source=False),
    Key("meta", "nfproto"): _nfproto,
    Key("meta", "l4proto"): _l4proto,
    Key("meta", "protocol"): _ethertype,
    Key("meta", "pkttype"): lambda p: p.packet_type,
    Key("meta", "mark"): lambda p: p.mark,
    Key("ether", "type"): _ethertype,
    Key("ether", "saddr"): lambda p: _mac(p, source=True),
    Key("ether", "daddr"): lambda p: _mac(p, source=False),
    Key("ct", "state"): ct_state,
    Key("ct", "status"): ct_status,
    Key("ct", "direction"): ct_direction,
    Key("ct", "mark"): ct_mark,
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
_OF_HEADER: dict[Key, tuple[int, Callable[[Packet], int]]] = {
    Key("ip", "hdrlength"): (4, lambda p: 5),
    Key("ip", "dscp"): (4, lambda p: p.tos >> 2),
    Key("ip", "ecn"): (4, lambda p: p.tos & 3),
    Key("ip6", "dscp"): (6, lambda p: p.tos >> 2),
    Key("ip6", "ecn"): (6, lambda p: p.tos & 3),
}
_OF_TRANSPORT: dict[Key, tuple[tuple[int, ...], Callable[[Packet], int]]] = {
    Key("tcp", "sport"): ((TCP,), lambda p: _known_port(p, p.source_port)),
    Key("tcp", "dport"): ((TCP,), lambda p: _known_port(p, p.destination_port)),
    Key("tcp", "flags"): ((TCP,), lambda p: p.kind),
    Key("udp", "sport"): ((UDP,), lambda p: _known_port(p, p.source_port)),
    Key("udp", "dport"): ((UDP,), lambda p: _known_port(p, p.destination_port)),
    Key("icmp", "type"): ((ICMP,), lambda p: p.kind >> 8),
    Key("icmp", "code"): ((ICMP,), lambda p: p.kind & 0xFF),
    Key("icmp", "id"): ((ICMP,), lambda p: p.source_port),
    Key("icmpv6", "type"): ((ICMP6,), lambda p: p.kind >> 8),
    Key("icmpv6", "code"): ((ICMP6,), lambda p: p.kind & 0xFF),
    Key("icmpv6", "id"): ((ICMP6,), lambda p: p.source_port),
}
_OF_ARP: dict[Key, Callable[[Arp], Value]] = {
    Key("arp", "htype"): lambda a: 1,
    Key("arp", "ptype"): lambda a: 0x0800,
    Key("arp", "hlen"): lambda a: 6,
    Key("arp", "plen"): lambda a: 4,
    Key("arp", "operation"): lambda a: a.operation,
    Key("arp", "saddr ip"): lambda a: a.sender,
    Key("arp", "daddr ip"): lambda a: a.target,
    Key("arp", "saddr ether"): lambda a: a.sender_mac,
    Key("arp", "daddr ether"): lambda a: a.target_mac,
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
    if key in _OF_HEADER:
        return _header_reader(*_OF_HEADER[key])
    if key.group == "ct":
        return tuple_reader(key.name)
    if key.group in ABSENT:
        return lambda passage: None
    return _fib_reader(key)


def _header_reader(version: int, get: Callable[[Packet], int]) -> Callable[[Passage], Value]:
    def read(passage: Passage) -> Value:
        packet = _version(passage, version)
        return None if packet is None else get(packet)

    return read


def _packet_reader(version: int, name: str) -> Callable[[Passage], Value]:
    field = attrgetter(name)

    def read(passage: Passage) -> Value:
        packet = passage.packet
        if not isinstance(packet, Packet) or packet.version != version:
            return None
        value = field(packet)
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
    of_source, wants_type = "saddr" in flags, flags[-1] == "type"
    by_input, by_output, by_mark = "iif" in flags, "oif" in flags[:-1], "mark" in flags

    def read(passage: Passage) -> Value:
        packet = passage.packet
        if not isinstance(packet, Packet):
            return None
        address = packet.source if of_source else packet.destination
        fib = passage.space.fib(packet.version)
        way = _by_policy(passage, of_source, by_input, by_mark) if passage.space.policy else None
        device = passage.iif if by_input else passage.oif if by_output else ""
        if wants_type:
            return fib.type_of(address, device, way)
        if passage.hook == "prerouting" and passage.iif == LOOPBACK:
            return LOOPBACK  # `nft_fib_is_loopback`
        if packet.version == 6 and not device and is_of_link(address):
            device = passage.iif or passage.oif  # `nft_fib6_flowi_init`
        return fib.device_towards(address, device, way)

    return read


def _by_policy(passage: Passage, of_source: bool, by_input: bool, by_mark: bool) -> Look:
    """Return how `fib` looks routes up: as for a packet of the namespace's own (`nft_fib4_eval`)."""
    packet, version = passage.ip, passage.ip.version
    other = packet.destination if of_source else packet.source
    out = of_source and by_input and passage.hook == "forward" and version == 4
    asked = Asked(other, passage.oif if out else LOOPBACK, passage.mark if by_mark else 0)
    return partial(passage.space.way_unless_barred, version, asked=asked)
