"""Coverage by real packets, where a lab is not what its file says, and where it was probed before."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import taps

from vnetlab import Lab
from vnetlab.guarantees import Outcome, Protocol, VerdictKind
from vnetlab.modes import guarantees_for
from vnetlab.topology.model import Family, Topology

pytestmark = pytest.mark.kernel

PINGING = str(Path(__file__).parents[1] / "pinging.py")
HOST_ONLY = Path(__file__).parents[2] / "topologies" / "host-only.yaml"


def test_a_rule_that_nothing_meets_is_named_without_an_excuse(lab_name: str) -> None:
    with Lab(taps.delivered("nat.yaml"), lab_name) as lab:
        rule = "insert rule inet vnetlab forward ip saddr 10.40.0.77 tcp dport 23 counter drop"
        done = lab["hv1"].run(["nft", *rule.split()])
        assert done.returncode == 0, done.stderr
        found = lab.examine().coverage
    assert found is not None
    assert [u.item.name for u in found.uncovered if not u.why] == ["inet vnetlab forward 1"]


def test_a_flight_does_not_go_by_what_kernels_remember_of_the_one_before(lab_name: str) -> None:
    """A flow that is remembered would pass rules that are gone, and no rule would be counted."""
    with Lab(taps.delivered("nat.yaml"), lab_name) as lab:
        first = lab.examine().coverage
        again = lab.examine().coverage
        assert first is not None
        assert again is not None
        assert (again.covered, again.disputed) == (first.covered, ())
        done = lab["hv1"].run(["nft", "flush", "chain", "inet", "vnetlab", "srcnat"])
        assert done.returncode == 0, done.stderr
        found = lab.examine().verdicts
    broken = {v.guarantee.id for v in found if v.kind is VerdictKind.BROKEN}
    assert {"nat.outbound", "nat.host-translated", "nat.same-port"} <= broken


def test_a_flight_does_not_go_by_whom_kernels_know_from_before(lab_name: str) -> None:
    """A host asks for whom it refuses; the rule that his answer meets would not be counted if it knew him."""
    topology = taps.delivered("host-only.yaml")
    refused = [
        g
        for g in guarantees_for(topology)
        if g.id == "host-only.host-lan-address" and g.expected is Outcome.REJECTED
        if g.flow.protocol is Protocol.ICMP and g.flow.family is Family.IPV6
    ][:1]
    assert refused
    with Lab(topology, lab_name) as lab:
        source = refused[0].source
        gateway = next(str(r.via) for r in topology.vms[source].routes if r.via.version == 6)
        assert lab[source].run([sys.executable, PINGING, gateway, "1", "0"]).returncode == 0
        known = lab["hv1"].run(["ip", "-6", "neigh", "show"]).stdout
        assert str(refused[0].flow.source_address) in known
        found = lab._examine(refused)
    assert [v.kind for v in found.verdicts] == [VerdictKind.HOLDS]
    assert found.coverage is not None
    assert found.coverage.disputed == ()


@taps.needed
def test_a_flight_does_not_wait_for_questions_that_nobody_answered_before(lab_name: str) -> None:
    """Who asks already asks again after a second, and whatever is for the same node waits for that."""
    topology = Topology.load(HOST_ONLY)
    asked = [
        g
        for g in guarantees_for(topology)
        if (g.source, g.destination) == ("hv1", "tool2") and g.expected is Outcome.DELIVERED
        if g.flow.protocol is Protocol.UDP and g.flow.family is Family.IPV6
    ][:1]
    assert asked
    with Lab(topology, lab_name) as lab:
        lab.examine()  # so that nothing is still to be imported
        to = (str(asked[0].flow.destination_address), 9)
        send = f"import socket as s; s.socket(s.AF_INET6, s.SOCK_DGRAM).sendto(b'', {to})"
        assert lab["hv1"].run([sys.executable, "-c", send]).returncode == 0
        found = lab._examine(asked)
    assert [v.kind for v in found.verdicts] == [VerdictKind.HOLDS]
