"""Coverage of every delivered topology by real packets, and as much by far fewer."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
import taps

from vnetlab import Lab
from vnetlab.guarantees import VerdictKind

if TYPE_CHECKING:
    from vnetlab.examine import Findings

pytestmark = pytest.mark.kernel
FILES = sorted(p.name for p in taps.TOPOLOGIES.iterdir() if p.suffix in (".yaml", ".graphml"))


@cache
def examined(file: str, pairs: str, name: str) -> Findings:
    with Lab(taps.delivered(file), name) as lab:
        return lab.examine(pairs)


@pytest.mark.parametrize("file", FILES)
def test_all_is_covered_or_out_of_reach(file: str, lab_name: str) -> None:
    found = examined(file, "all", lab_name.rpartition(".")[0]).coverage
    assert found is not None
    assert [str(each.item) for each in found.uncovered if not each.why] == []
    assert len(found.covered) + len(found.uncovered) == found.total


@pytest.mark.parametrize("file", FILES)
def test_the_model_meets_the_rules_that_the_kernel_counts(file: str, lab_name: str) -> None:
    """Both ways: what any flow meets in the model has been counted, and nothing else has."""
    findings = examined(file, "all", lab_name.rpartition(".")[0])
    assert {v.kind for v in findings.verdicts} == {VerdictKind.HOLDS}
    assert findings.coverage is not None
    assert findings.coverage.disputed == ()


@pytest.mark.parametrize("file", [f for f in FILES if f != "campus.yaml"])
def test_a_cover_exercises_as_much_with_far_fewer(file: str, lab_name: str) -> None:
    everything = examined(file, "all", lab_name.rpartition(".")[0])
    least = examined(file, "cover", lab_name)
    assert {v.kind for v in least.verdicts} == {VerdictKind.HOLDS}
    assert everything.coverage is not None
    assert least.coverage is not None
    assert least.coverage.covered == everything.coverage.covered
    assert len(least.verdicts) * 8 < len(everything.verdicts)
    assert len(least.verdicts) + least.left_out == len(everything.verdicts)


def test_a_rule_that_nothing_meets_is_named_without_an_excuse(lab_name: str) -> None:
    with Lab(taps.delivered("nat.yaml"), lab_name) as lab:
        rule = "insert rule inet vnetlab forward ip saddr 10.40.0.77 tcp dport 23 counter drop"
        done = lab["hv1"].run(["nft", *rule.split()])
        assert done.returncode == 0, done.stderr
        found = lab.examine().coverage
    assert found is not None
    assert [u.item.name for u in found.uncovered if not u.why] == ["inet vnetlab forward 1"]
