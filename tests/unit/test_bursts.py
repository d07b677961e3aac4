"""Between two rounds of reading nobody is sent more than a receive buffer holds."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from vnetlab.probe.bursts import bursts
from vnetlab.probe.columns import Shots
from vnetlab.probe.flight import Kind, Shot

MOST = 16


def shot(source: int, destination: int, *, mac: bool = True) -> Shot:
    address = bytes([10, 0, 0, destination])
    return Shot(f"s{source}", Kind.UDP, 4, "eth0", b"\x02" + bytes(4) + bytes([destination]) if mac else b"",
                bytes(4), address)  # fmt: skip


@pytest.mark.parametrize("mac", [True, False])
def test_no_sender_and_no_receiver_has_too_many(mac: bool) -> None:
    shots = [shot(a, b, mac=mac) for a in range(40) for b in range(40) if a != b]
    shots += [shot(a, 7, mac=mac) for a in range(200)]
    found = list(bursts(Shots.of(shots).rows, MOST))
    assert [number for part in found for number in range(part.start, part.stop)] == list(range(len(shots)))
    for part in found:
        senders = Counter(one.station for one in shots[part])
        receivers = Counter(one.destination for one in shots[part])
        assert max(*senders.values(), *receivers.values()) <= MOST


def test_what_all_hear_counts_for_everybody() -> None:
    cast = replace(shot(1, 2), mac=b"\xff" * 6)
    shots = [replace(cast, station=f"s{number}") for number in range(100)]
    assert all(part.stop - part.start <= MOST for part in bursts(Shots.of(shots).rows, MOST))


def test_nothing_is_nothing() -> None:
    assert list(bursts(Shots.of(()).rows, MOST)) == []
