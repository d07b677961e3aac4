"""The guest behind a tap answers like a machine of its addresses, and is deaf to everything else."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from struct import pack

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from vnetlab.probe.flight import Exit, Kind, Shot
from vnetlab.probe.frames import ANSWER, WANTED, Frames
from vnetlab.probe.guest import Guest

NONCE = 0x1234_5678
MAC, PEER = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
MINE = {4: "10.1.0.2", 6: "fd00::2"}
THEIRS = {4: "10.1.0.9", 6: "fd00::9"}
OPEN_TCP, OPEN_UDP, CLOSED = 7000, 7001, 9


@pytest.fixture
def guest() -> Guest:
    addresses = tuple(ip_address(a).packed for a in MINE.values())
    networks = [ip_network("10.1.0.0/24"), ip_network("fd00::/64")]
    exits = tuple(Exit(n.network_address.packed, n.prefixlen, "eth0") for n in networks)
    return Guest(MAC, addresses, addresses, exits, frozenset({(6, OPEN_TCP), (17, OPEN_UDP)}), NONCE)


def ip(version: int, source: str = "") -> Packet:
    layer = IP if version == 4 else IPv6
    return Ether(src=PEER, dst=MAC) / layer(src=source or THEIRS[version], dst=MINE[version])


def one(guest: Guest, frame: Packet) -> Packet:
    (answer,) = guest.answers(bytes(frame))
    parsed = Ether(answer)
    assert parsed.dst == PEER.hex(":")
    assert parsed.src == MAC.hex(":")
    fresh = parsed.copy()
    layer: Packet = fresh
    while layer:
        for field in ("chksum", "cksum"):
            if field in layer.fields:
                del layer.fields[field]
        layer = layer.payload
    assert bytes(fresh) == answer
    return parsed


def tagged(flags: int, version: int = 4) -> Raw:
    return Raw(pack("!II", NONCE, 5 | flags) + bytes(8))


def test_arp_is_answered_for_its_own_address_only(guest: Guest) -> None:
    asks = Ether(src=PEER, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=PEER, psrc="10.1.0.9", pdst="10.1.0.2")
    answer = one(guest, asks)
    assert (answer[ARP].op, answer[ARP].hwsrc, answer[ARP].psrc) == (2, MAC.hex(":"), "10.1.0.2")
    asks[ARP].pdst = "10.1.0.3"
    assert guest.answers(bytes(asks)) == []


def test_a_solicitation_is_answered(guest: Guest) -> None:
    target, source = ip_address(MINE[6]).packed, ip_address(THEIRS[6]).packed
    mac = b"\x33\x33\xff" + target[-3:]
    asks = Shot("a", Kind.NS, 6, "eth0", mac, source, target, ttl=255)
    answer = one(guest, Ether(Frames(NONCE).frames(0, asks, PEER)[0]))
    assert answer[ICMPv6ND_NA].tgt == MINE[6]
    assert answer[ICMPv6ND_NA].S == 1
    assert answer[IPv6].hlim == 255


@pytest.mark.parametrize("version", [4, 6])
def test_echo_and_connect_and_datagram(guest: Guest, version: int) -> None:
    echo = ICMP(id=7, seq=8) if version == 4 else ICMPv6EchoRequest(id=7, seq=8)
    reply = one(guest, ip(version) / echo / Raw(b"payload!"))
    got = reply[ICMP] if version == 4 else reply[ICMPv6EchoReply]
    assert (got.id, got.seq) == (7, 8)
    accepted = one(guest, ip(version) / TCP(sport=5, dport=OPEN_TCP, flags="S", seq=99))
    assert (accepted[TCP].flags, accepted[TCP].ack) == ("SA", 100)
    refused = one(guest, ip(version) / TCP(sport=5, dport=CLOSED, flags="S", seq=99))
    assert (refused[TCP].flags, refused[TCP].ack) == ("RA", 100)
    answered = one(guest, ip(version) / UDP(sport=5, dport=OPEN_UDP) / tagged(WANTED))
    assert bytes(answered[UDP].payload) == pack("!II", NONCE, 5 | ANSWER)
    assert (answered[UDP].sport, answered[UDP].dport) == (OPEN_UDP, 5)
    closed = one(guest, ip(version) / UDP(sport=5, dport=CLOSED) / tagged(WANTED))
    code = closed[ICMP].code if version == 4 else closed[ICMPv6DestUnreach].code
    assert code == (3 if version == 4 else 4)


def test_a_datagram_that_asks_for_nothing_gets_nothing(guest: Guest) -> None:
    assert guest.answers(bytes(ip(4) / UDP(sport=5, dport=OPEN_UDP) / tagged(0))) == []
    assert guest.answers(bytes(ip(4) / UDP(sport=5, dport=OPEN_UDP) / tagged(WANTED | ANSWER))) == []


def test_frames_for_other_machines_are_dropped(guest: Guest) -> None:
    frame = ip(4) / ICMP(id=7) / Raw(b"payload!")
    frame.dst = "02:00:00:00:00:77"
    assert guest.answers(bytes(frame)) == []
    frame = ip(4) / ICMP(id=7) / Raw(b"payload!")
    frame[IP].dst = "10.1.0.3"
    assert guest.answers(bytes(frame)) == []


def test_there_is_no_answer_to_where_the_guest_has_no_route(guest: Guest) -> None:
    frame = ip(4, source="192.0.2.1") / ICMP(id=7) / Raw(b"payload!")
    assert guest.answers(bytes(frame)) == []


def test_fragments_are_answered_once_all_are_there(guest: Guest) -> None:
    datagram = ip(4) / UDP(sport=5, dport=OPEN_UDP) / tagged(WANTED) / Raw(bytes(3000))
    pieces = fragment(datagram, 1000)  # type: ignore[no-untyped-call]
    answers = [guest.answers(bytes(piece)) for piece in reversed(pieces)]
    assert [len(found) for found in answers] == [0] * (len(pieces) - 1) + [1]
    frames = Frames(NONCE)
    source, target = ip_address(THEIRS[6]).packed, ip_address(MINE[6]).packed
    six = Shot("a", Kind.UDP, 6, "eth0", MAC, source, target, 5, OPEN_UDP, 64, 3000, True)
    answers = [guest.answers(frame) for frame in frames.frames(5, six, PEER)]
    assert [len(found) for found in answers] == [0, 0, 1]
    assert bytes(Ether(answers[-1][0])[UDP].payload) == pack("!II", NONCE, 5 | ANSWER)


def test_what_is_cut_short_is_no_trouble(guest: Guest) -> None:
    frame = bytes(ip(6) / TCP(sport=5, dport=OPEN_TCP, flags="S"))
    for length in range(14, len(frame)):
        assert guest.answers(frame[:length]) == []
