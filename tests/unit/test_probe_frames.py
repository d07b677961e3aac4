"""Frames are what Scapy would build, and the reader knows them again whatever NAT and routers did."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import numpy as np
import pytest
from msgspec.structs import replace
from scapy.layers.inet import ICMP, IP, TCP, UDP, defragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6ND_NA,
    IPv6,
    IPv6ExtHdrFragment,
    defragment6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from vnetlab.probe.columns import Shots, Sightings
from vnetlab.probe.filters import RETURN, WHOLE, attach, broadcasts_for
from vnetlab.probe.flight import Kind, Shot, Sighting, What, Wide
from vnetlab.probe.frames import Frames, checksum, gratuitous
from vnetlab.probe.inbox import Inbox, Place
from vnetlab.probe.reading import Reader
from vnetlab.probe.volley import PATCHED, volleys

NONCE = 0xFFFF_FFFE  # sequence numbers wrap around
OWN, PEER = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
MACS = np.frombuffer(OWN + PEER, np.uint8).reshape(1, 2, 6)
"""Of the first station's NICs, in the order in which shots name them."""
ADDRESSES = {
    4: (ip_address("10.1.0.2").packed, ip_address("192.0.2.9").packed),
    6: (ip_address("fd00::2").packed, ip_address("2001:db8::9").packed),
}
SHAPES = [(k, v) for k in Kind for v in (4, 6) if (k, v) not in ((Kind.ARP, 6), (Kind.NS, 4), (Kind.RA, 4))]


def shot(kind: Kind, version: int, **changes: object) -> Shot:
    source, destination = ADDRESSES[version]
    base = Shot("a", kind, version, "eth0", PEER, source, destination, 4000, 7000)
    return replace(base, **changes)


EVERYBODY = b"\xff" * 6


@pytest.mark.parametrize("version", [4, 6])
def test_only_what_concerns_nobody_here_is_dropped(version: int) -> None:
    """A kernel runs the program, on a pair of sockets that takes any bytes for a packet."""
    program = broadcasts_for(Wide(9, (3, 5)), NONCE)
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        attach(there, [*program, (RETURN, 0, 0, WHOLE)])
        wide, single = (shot(Kind.UDP, version, mac=mac, wants_answer=False) for mac in (EVERYBODY, PEER))
        whole = [(number, Frames(NONCE).frames(number, wide, OWN)[0]) for number in range(12)]
        others = [
            *Frames(NONCE).frames(1, single, OWN),
            *Frames(NONCE ^ 1).frames(1, wide, OWN),
            *Frames(NONCE).frames(1, replace(wide, fragments=True, size=2000), OWN),
            *Frames(NONCE).frames(1, replace(wide, kind=Kind.ICMP), OWN),
            answer_of(whole[1][1], version),
        ]
        for frame in (*(frame for _, frame in whole), *others):
            here.send(frame)
        passed = [frame for number, frame in whole if number in (3, 5) or number >= 9]
        there.setblocking(False)
        assert [there.recv(4096) for _ in (*passed, *others)] == [*passed, *others]


def answer_of(frame: bytes, version: int) -> bytes:
    at = {4: 46, 6: 66}[version]
    return frame[:at] + bytes([frame[at] | 0x80]) + frame[at + 1 :]


def test_a_station_that_judges_many_broadcasts_sees_all() -> None:
    assert broadcasts_for(Wide(500, tuple(range(400))), NONCE) == broadcasts_for(None, NONCE) == []


def number_of(kind: Kind) -> int:
    return int(kind)


def fleet() -> tuple[Shot, ...]:
    """Ten shots, so that every number below is one of the flight."""
    return tuple(shot(Kind.UDP, 4) for _ in range(10))


def reader(*shots: Shot) -> Reader:
    return Reader(NONCE, shots or fleet(), {("a", "eth0"): OWN})


def rebuilt(frame: bytes) -> bytes:
    """Return the frame with every checksum computed by Scapy."""
    packet = Ether(frame)
    layer: Packet = packet
    while layer:
        for field in ("chksum", "cksum"):
            if field in layer.fields:
                del layer.fields[field]
        layer = layer.payload
    return bytes(packet)


@pytest.mark.parametrize(("kind", "version"), SHAPES)
@pytest.mark.parametrize("size", [0, 999, 1000])
def test_a_frame_is_what_scapy_would_build(kind: Kind, version: int, size: int) -> None:
    frame = Frames(NONCE).frames(7, shot(kind, version, size=size, ttl=9), OWN)[0]
    assert frame == rebuilt(frame)
    assert frame[:12] == PEER + OWN
    if kind not in (Kind.ARP, Kind.NS, Kind.RA, Kind.CONTROL):
        assert (IP if version == 4 else IPv6) in Ether(frame)
        assert size in (0, len(frame) - 14)
        assert (Ether(frame)[IP].ttl if version == 4 else Ether(frame)[IPv6].hlim) == 9


@pytest.mark.parametrize("data", [b"", b"\xff" * 8, b"\x12\x34\x56", bytes(range(255))])
def test_the_checksum_is_that_of_rfc_1071(data: bytes) -> None:
    padded = data + b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(padded[i : i + 2], "big") for i in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    # 0 and 0xFFFF are the same number in ones' complement
    assert checksum(data) % 0xFFFF == (0xFFFF - total) % 0xFFFF


@pytest.mark.parametrize(("kind", "version"), SHAPES)
def test_the_reader_knows_its_own_flight_only(kind: Kind, version: int) -> None:
    one = shot(kind, version)
    frame = Frames(NONCE).frames(0, one, OWN)[0]
    seen = reader(one).frame(frame, 3, "eth1", PEER)
    assert seen is not None
    assert (seen.shot, seen.station, seen.nic, seen.what) == (0, 3, "eth1", What.REQUEST)
    assert seen.mac == OWN
    stranger = Reader(NONCE - 1000, (one,), {("b", "eth0"): OWN})
    assert stranger.frame(frame, 3, "eth1", PEER) is None


@pytest.mark.parametrize("version", [4, 6])
def test_a_translated_datagram_is_known_and_its_fields_told(version: int) -> None:
    packet = Ether(Frames(NONCE).frames(5, shot(Kind.UDP, version), OWN)[0])
    layer = packet[IP] if version == 4 else packet[IPv6]
    layer.src = "198.51.100.1" if version == 4 else "2001:db8::1"
    packet[UDP].sport = 61000
    seen = reader().frame(bytes(packet), 0, "eth0", OWN)
    assert seen is not None
    assert seen.shot == 5
    assert seen.source == ip_address(layer.src).packed
    assert (seen.source_port, seen.destination_port, seen.ttl) == (61000, 7000, 64)
    assert not seen.addressed  # its destination MAC is PEER's


@pytest.mark.parametrize(("flags", "what"), [("SA", What.ANSWER), ("RA", What.RESET)])
def test_a_tcp_answer_is_known_by_what_it_acknowledges(flags: str, what: What) -> None:
    syn = Ether(Frames(NONCE).frames(5, shot(Kind.TCP, 4), OWN)[0])
    answer = Ether(src=PEER, dst=OWN) / IP(src="192.0.2.9", dst="10.1.0.2")
    answer /= TCP(sport=7000, dport=4000, flags=flags, seq=77, ack=(syn[TCP].seq + 1) & 0xFFFFFFFF)
    seen = reader().frame(bytes(answer), 0, "eth0", OWN)
    assert seen is not None
    assert (seen.shot, seen.what, seen.addressed) == (5, what, True)


def test_a_reset_without_acknowledgement_is_nobodys() -> None:
    """The sender's own kernel resets what it did not open; that is no answer of the destination."""
    reset = Ether(src=PEER, dst=OWN) / IP(src="10.1.0.2", dst="192.0.2.9")
    reset /= TCP(sport=4000, dport=7000, flags="R", seq=(NONCE + 6) & 0xFFFFFFFF)
    assert reader().frame(bytes(reset), 0, "eth0", OWN) is None


def test_an_echo_reply_is_an_answer() -> None:
    request = Ether(Frames(NONCE).frames(5, shot(Kind.ICMP, 6), OWN)[0])
    payload = bytes(request[IPv6].payload)[8:]
    reply = Ether(src=PEER, dst=OWN) / IPv6(src="2001:db8::9", dst="fd00::2")
    reply /= ICMPv6EchoReply(id=4000, seq=5, data=payload)
    seen = reader().frame(bytes(reply), 0, "eth0", OWN)
    assert seen is not None
    assert (seen.shot, seen.what) == (5, What.ANSWER)


@pytest.mark.parametrize("kind", [Kind.ICMP, Kind.TCP, Kind.UDP])
def test_an_error_is_known_by_what_it_quotes(kind: Kind) -> None:
    sent = Frames(NONCE).frames(5, shot(kind, 4), OWN)[0]
    error = Ether(src=PEER, dst=OWN) / IP(src="10.1.0.1", dst="10.1.0.2") / ICMP(type=3, code=13)
    quote = sent[14 : 14 + (28 if kind is Kind.TCP else 400)]
    seen = reader().frame(bytes(error / Raw(quote)), 0, "eth0", OWN)
    assert seen is not None
    assert (seen.shot, seen.what, seen.icmp) == (5, What.ERROR, 3 * 256 + 13)
    assert (seen.quoted, seen.quoted_port) == (ADDRESSES[4][0], 4000)
    assert seen.source == ip_address("10.1.0.1").packed


def test_an_error_about_a_fragment_of_ipv6_is_known() -> None:
    first = Frames(NONCE).frames(5, shot(Kind.UDP, 6, size=3000, fragments=True), OWN)[0]
    error = Ether(src=PEER, dst=OWN) / IPv6(src="fd00::1", dst="fd00::2")
    error /= ICMPv6DestUnreach(code=1) / Raw(first[14:1200])
    seen = reader().frame(bytes(error), 0, "eth0", OWN)
    assert seen is not None
    assert (seen.shot, seen.what, seen.quoted) == (5, What.ERROR, ADDRESSES[6][0])


@pytest.mark.parametrize("version", [4, 6])
def test_fragments_fit_every_link_and_make_up_the_datagram(version: int) -> None:
    frames = Frames(NONCE)
    whole = shot(Kind.UDP, version, size=4000)
    pieces = frames.packets(5, replace(whole, fragments=True), whole.source)
    assert len(pieces) > 2
    assert max(map(len, pieces)) <= 1280
    if version == 4:
        (joined,) = defragment([IP(piece) for piece in pieces])  # type: ignore[no-untyped-call]
        assert joined[UDP].payload == IP(frames.packets(5, whole, whole.source)[0])[UDP].payload
    else:
        joined = defragment6([IPv6(piece) for piece in pieces])  # type: ignore[no-untyped-call]
        assert len(joined[UDP]) == 4000 - 40
        assert all(IPv6(piece)[IPv6ExtHdrFragment].id == 5 for piece in pieces)


def test_questions_are_known_by_who_asks_for_what() -> None:
    asks = shot(Kind.ARP, 4, destination=ip_address("10.1.0.9").packed)
    known = reader(asks)
    told = ARP(op="is-at", hwsrc=PEER, psrc="10.1.0.9", hwdst=OWN, pdst="10.1.0.2")
    answer = known.frame(bytes(Ether(src=PEER, dst=OWN) / told), 0, "eth0", OWN)
    assert answer is not None
    assert (answer.what, answer.mac, answer.source) == (What.ANSWER, PEER, ip_address("10.1.0.9").packed)
    other = ARP(op="is-at", hwsrc=PEER, psrc="10.1.0.8", hwdst=OWN, pdst="10.1.0.2")
    assert known.frame(bytes(Ether(src=PEER, dst=OWN) / other), 0, "eth0", OWN) is None


def test_a_neighbour_advertisement_tells_the_address_in_its_option() -> None:
    asks = shot(Kind.NS, 6)
    liar = "02:00:00:00:00:99"
    told = IPv6(src="2001:db8::9", dst="fd00::2") / ICMPv6ND_NA(tgt="2001:db8::9", S=1)
    told /= Raw(b"\x02\x01" + bytes.fromhex(liar.replace(":", "")))
    answer = reader(asks).frame(bytes(Ether(src=PEER, dst=OWN) / told), 0, "eth0", OWN)
    assert answer is not None
    assert answer.mac.hex(":") == liar


@pytest.mark.parametrize("to", [b"", PEER])
@pytest.mark.parametrize("version", [4, 6])
def test_announcements_are_no_sightings(version: int, to: bytes) -> None:
    address = ADDRESSES[version][0]
    kind = Kind.ARP if version == 4 else Kind.NS
    frame = gratuitous(OWN, address, to)
    assert frame == rebuilt(frame)
    assert frame[:6] == to or (frame[0] & 1 and not to)
    assert reader(shot(kind, version)).frame(frame, 0, "eth0", PEER) is None


@pytest.mark.parametrize(("kind", "version"), SHAPES)
def test_a_cut_frame_is_passed_over(kind: Kind, version: int) -> None:
    known = reader(shot(kind, version))
    frame = Frames(NONCE).frames(0, shot(kind, version), OWN)[0]
    for length in range(13, len(frame)):
        seen = known.frame(frame[:length], 0, "eth0", PEER)
        assert seen is None or seen.shot == 0


@pytest.mark.parametrize(("kind", "version"), [s for s in SHAPES if s[0] in PATCHED])
@pytest.mark.parametrize("size", [0, 999, 1000])
def test_a_volley_is_the_frames_of_its_shots(kind: Kind, version: int, size: int) -> None:
    shots = Shots.of(
        shot(kind, version, size=size, ttl=9 + i, source_port=i and 4000 + i, wants_answer=bool(i % 2))
        for i in range(5)
    )
    (volley,) = volleys(Frames(NONCE), np.arange(5), shots.rows, MACS)
    assert [row.tobytes() for row in volley.frames.packets] == [
        frame for number, one in enumerate(shots) for frame in Frames(NONCE).frames(number, one, OWN)
    ]


def test_volleys_go_by_shape_then_nic_and_keep_the_order_of_shots() -> None:
    kinds = (Kind.UDP, Kind.UDP, Kind.ICMP, Kind.UDP, Kind.ARP, Kind.UDP)
    nics = ("eth0", "eth1", "eth0", "eth1", "eth1", "eth0")
    shots = Shots.of(shot(kind, 4, nic=nic) for kind, nic in zip(kinds, nics, strict=True))
    found = list(volleys(Frames(NONCE), np.arange(6), shots.rows, MACS))
    assert [volley.shots.tolist() for volley in found] == [[4], [2], [0, 5, 1, 3]]
    assert [volley.runs for volley in found] == [((0, 1),), ((0, 1),), ((0, 2), (2, 4))]
    assert found[0].frames.packets[0, 6:12].tobytes() == PEER


@pytest.mark.parametrize(("kind", "version"), SHAPES)
@pytest.mark.parametrize("filtered", [False, True])
def test_packets_by_the_hundred_are_read_as_one_by_one(kind: Kind, version: int, filtered: bool) -> None:
    """Shots, their answers, strangers, cut and spoilt frames: by columns and by the Reader the same."""
    shots = Shots.of(shot(kind, version, source_port=9 + i) for i in range(10))
    frames = [f for i, one in enumerate(shots) for f in Frames(NONCE).frames(i, one, OWN)]
    frames += [f for i, one in enumerate(shots) for f in Frames(NONCE - 1000).frames(i, one, OWN)]
    frames += list(Frames(NONCE).frames(10, shots[0], OWN))
    frames += [frame[:cut] for frame in frames[:2] for cut in range(14, len(frame), 3)]
    spoilt = [bytearray(frames[0]) for _ in range(2 * len(frames[0]))]
    for at, frame in enumerate(spoilt):
        frame[at // 2] ^= 0x81 if at % 2 else 0x12
    frames += [bytes(frame) for frame in spoilt]
    one_by_one = Reader(NONCE, shots, {("a", "eth0"): OWN})
    expected = [s for f in frames if (s := one_by_one.frame(f, 3, "eth1", PEER)) is not None]
    if filtered:
        expected = [
            s._replace(what=What.PASSED) if s.what == What.REQUEST else s
            for s in expected
            if s.what == What.REQUEST or kind in (Kind.ARP, Kind.NS)
        ]
    assert sorted(by_columns(shots, frames, filtered)) == sorted(expected)


def by_columns(shots: Shots, frames: list[bytes], filtered: bool) -> list[Sighting]:
    inbox = Inbox(Reader(NONCE, shots, {("a", "eth0"): OWN}), NONCE, shots)
    place = inbox.place(Place(3, "eth1", PEER, filtered))
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        for frame in frames:
            here.send(frame)
            inbox.receive(there.fileno(), place)
    return list(Sightings(*inbox.sightings()))
