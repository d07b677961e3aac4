"""Which of the flows that conntrack knows are those of a flight."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from msgspec.structs import replace

from vnetlab.plan.flows import Flow
from vnetlab.probe.columns import Shots
from vnetlab.probe.earlier import SentBefore
from vnetlab.probe.flight import Kind, Shot

SHOT = Shot(
    "web", Kind.UDP, 4, "eth0", b"", ip_address("10.0.0.2").packed, ip_address("192.0.2.1").packed, 50000, 53
)  # fmt: skip
FLOW = Flow(
    17, ip_address("10.0.0.2"), ip_address("192.0.2.1"), 50000, 53, ip_address("192.0.2.1"), 53,
    ip_address("192.0.2.9"),
)  # fmt: skip
PING = replace(SHOT, kind=Kind.ICMP, source_port=77, destination_port=0)
CHOSEN = replace(SHOT, source=b"")


@pytest.mark.parametrize(
    ("shot", "flow", "covered"),
    [
        (SHOT, FLOW, True),
        (SHOT, replace(FLOW, source_port=50001), False),
        (SHOT, replace(FLOW, destination_port=54), False),
        (SHOT, replace(FLOW, source=ip_address("10.0.0.3")), False),
        (SHOT, replace(FLOW, destination=ip_address("192.0.2.2")), False),
        (SHOT, replace(FLOW, destination=ip_address("2001:db8::1"), source=ip_address("fd00::2")), False),
        (PING, replace(FLOW, protocol=1, source_port=0, destination_port=0), True),
        (CHOSEN, replace(FLOW, source=ip_address("10.0.0.99")), True),
        (CHOSEN, replace(FLOW, destination_port=54), False),
    ],
)
def test_only_the_flights_own(shot: Shot, flow: Flow, covered: bool) -> None:
    assert SentBefore(Shots.of((shot,))).covers(flow) is covered


def test_none_of_an_empty_flight() -> None:
    assert not SentBefore(Shots.of(())).covers(FLOW)
