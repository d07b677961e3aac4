"""Labs at random: four answers that agree.

What the topology promises, what the model says of the compiled State and of the one read back from the
kernel, and what packets do.

VNETLAB_LABS sets how many labs are tried (20 unless set), VNETLAB_SEED which.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from random_labs import Document, documents

from vnetlab import Lab, Topology
from vnetlab.guarantees import VerdictKind
from vnetlab.report.paragraph import paragraph

LABS = int(os.environ.get("VNETLAB_LABS", "20"))
SEED = int(os.environ.get("VNETLAB_SEED", "20261123"))


@pytest.mark.kernel
@seed(SEED)
@settings(
    max_examples=LABS,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(documents())
def test_four_answers_agree(document: Document) -> None:
    topology = Topology.of(**document)
    with Lab(topology, f"random.{os.getpid()}") as lab:
        findings = lab.examine()
    verdicts = findings.verdicts
    assert [paragraph(v) for v in verdicts if v.kind is not VerdictKind.HOLDS] == []
    assert {(v.predicted, v.present, v.observed) == (v.guarantee.expected,) * 3 for v in verdicts} <= {True}
    assert findings.coverage is None or findings.coverage.disputed == ()
