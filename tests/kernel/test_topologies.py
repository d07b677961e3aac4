"""Every topology that is delivered with vnetlab keeps every promise.

Who may not make taps has the rest of each.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import taps

from vnetlab import Lab, Topology
from vnetlab.guarantees import Verdict, VerdictKind
from vnetlab.report.paragraph import paragraph

FILES = sorted((Path(__file__).parents[2] / "topologies").iterdir())
WITH_TAPS = [file for file in FILES if taps.has_taps(file.read_text())]
pytestmark = [pytest.mark.kernel, pytest.mark.ordinary, pytest.mark.spread]


def params(files: list[Path]) -> list[object]:
    return [
        pytest.param(file, id=file.name, marks=[taps.needed] if file in WITH_TAPS else []) for file in files
    ]


@pytest.mark.parametrize("file", params(FILES))
def test_every_guarantee_holds(file: Path) -> None:
    proven(Topology.load(file))


@pytest.mark.parametrize("file", [] if taps.OPEN else WITH_TAPS, ids=lambda path: path.name)
def test_every_guarantee_holds_without_taps(file: Path) -> None:
    proven(Topology.parse(taps.without(file.read_text()), file.name))


def proven(topology: Topology) -> None:
    with Lab(topology, f"topologies.{os.getpid()}") as lab:
        verdicts = lab.probe()
    failed: list[Verdict] = [v for v in verdicts if v.kind is not VerdictKind.HOLDS]
    assert verdicts
    assert not failed, "\n\n".join(paragraph(v) for v in failed[:10])
