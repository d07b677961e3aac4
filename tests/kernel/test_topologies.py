"""Every topology that is delivered with vnetlab keeps every promise.

Who may not make taps has the rest of each.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import taps

from vnetlab import Lab, Topology
from vnetlab.guarantees import Verdict, VerdictKind
from vnetlab.report.paragraph import paragraph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.coverage import Coverage
    from vnetlab.examine import Findings

LARGEST = "campus.yaml"
FILES = sorted(taps.TOPOLOGIES.iterdir())
pytestmark = [pytest.mark.kernel, pytest.mark.spread]


def cases() -> Iterator[object]:
    """Return each file as it is, and without its taps where none can be made."""
    for file in FILES:
        # The largest is not for every user again.
        again = [] if file.name == LARGEST else [pytest.mark.ordinary]
        taps_in_it = taps.has_taps(file.read_text())
        yield pytest.param(file, True, id=file.name, marks=again + [taps.needed] * taps_in_it)
        if taps_in_it and not taps.OPEN:
            yield pytest.param(file, False, id=f"{file.name}-without-taps", marks=again)


@pytest.mark.parametrize(("file", "whole"), list(cases()))
def test_every_guarantee_holds(file: Path, whole: bool) -> None:
    """And each object of the lab is exercised, or out of reach; a cover exercises as much with far fewer."""
    topology = Topology.load(file) if whole else taps.delivered(file.name)
    with Lab(topology, f"topologies.{os.getpid()}") as lab:
        found = lab.examine()
        least = lab.examine("cover") if file.name != LARGEST and not os.geteuid() else None
    failed: list[Verdict] = [v for v in found.verdicts if v.kind is not VerdictKind.HOLDS]
    assert found.verdicts
    assert not failed, "\n\n".join(paragraph(v) for v in failed[:10])
    assert_covered(found.coverage)
    if least is not None:
        assert_as_much(least, found)


def assert_covered(coverage: Coverage | None) -> None:
    assert coverage is not None
    assert [str(each.item) for each in coverage.uncovered if not each.why] == []
    assert len(coverage.covered) + len(coverage.uncovered) == coverage.total
    # Both ways: what any flow meets in the model has been counted, and nothing else has.
    assert coverage.disputed == ()


def assert_as_much(least: Findings, everything: Findings) -> None:
    assert {v.kind for v in least.verdicts} == {VerdictKind.HOLDS}
    assert everything.coverage is not None
    assert least.coverage is not None
    assert least.coverage.covered == everything.coverage.covered
    assert len(least.verdicts) * 8 < len(everything.verdicts)
    assert len(least.verdicts) + least.left_out == len(everything.verdicts)
