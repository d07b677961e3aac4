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

FILES = sorted(taps.TOPOLOGIES.iterdir())
pytestmark = [pytest.mark.kernel, pytest.mark.spread]


def cases() -> Iterator[object]:
    """Return each file as it is, and without its taps where none can be made."""
    for file in FILES:
        # The largest is not for every user again.
        again = [] if file.name == "campus.yaml" else [pytest.mark.ordinary]
        taps_in_it = taps.has_taps(file.read_text())
        yield pytest.param(file, True, id=file.name, marks=again + [taps.needed] * taps_in_it)
        if taps_in_it and not taps.OPEN:
            yield pytest.param(file, False, id=f"{file.name}-without-taps", marks=again)


@pytest.mark.parametrize(("file", "whole"), list(cases()))
def test_every_guarantee_holds(file: Path, whole: bool) -> None:
    topology = Topology.load(file) if whole else taps.delivered(file.name)
    with Lab(topology, f"topologies.{os.getpid()}") as lab:
        verdicts = lab.probe()
    failed: list[Verdict] = [v for v in verdicts if v.kind is not VerdictKind.HOLDS]
    assert verdicts
    assert not failed, "\n\n".join(paragraph(v) for v in failed[:10])
