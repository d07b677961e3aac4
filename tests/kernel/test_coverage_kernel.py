"""Coverage by real packets, where a lab is not what its file says, and where it was probed before."""

from __future__ import annotations

import pytest
import taps

from vnetlab import Lab
from vnetlab.guarantees import VerdictKind

pytestmark = pytest.mark.kernel


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
