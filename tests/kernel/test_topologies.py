"""Every topology that is delivered with vnetlab keeps every promise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vnetlab import Lab
from vnetlab.guarantees import Verdict, VerdictKind
from vnetlab.report.paragraph import paragraph

FILES = sorted((Path(__file__).parents[2] / "topologies").iterdir())


@pytest.mark.kernel
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_every_guarantee_holds(file: Path) -> None:
    with Lab(file, f"topologies.{os.getpid()}") as lab:
        verdicts = lab.probe()
    failed: list[Verdict] = [v for v in verdicts if v.kind is not VerdictKind.HOLDS]
    assert verdicts
    assert not failed, "\n\n".join(paragraph(v) for v in failed[:10])
