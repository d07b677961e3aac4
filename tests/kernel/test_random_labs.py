"""Labs at random: four answers that agree.

What the topology promises, what the model says of the compiled State and of the one read back from the
kernel, and what packets do.

VNETLAB_LABS sets how many labs are tried (20 unless set), VNETLAB_SEED which.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from random_labs import Document, documents

from vnetlab import Lab, Topology
from vnetlab.compile import compile_topology
from vnetlab.guarantees import VerdictKind
from vnetlab.kernel.read import Node, read
from vnetlab.modes import guarantees_for
from vnetlab.predict.compare import differences
from vnetlab.predict.matrix import predict
from vnetlab.report.paragraph import paragraph

if TYPE_CHECKING:
    from vnetlab.guarantees import Guarantee
    from vnetlab.state import State

LABS = int(os.environ.get("VNETLAB_LABS", "20"))
SEED = int(os.environ.get("VNETLAB_SEED", "20261123"))


def _disagreements(topology: Topology, state: State, guarantees: tuple[Guarantee, ...]) -> list[str]:
    return [
        f"{g.id} {g.source} -> {g.destination} {g.flow.destination_address} {g.flow.protocol}: "
        f"{prediction.reason} {differences(g, prediction)}"
        for g, prediction in zip(guarantees, predict(topology, state, guarantees), strict=True)
        if prediction.outcome is None or differences(g, prediction)
    ]


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
    guarantees = guarantees_for(topology)
    nodes = tuple(Node(n.name, n.kind) for n in compile_topology(topology).namespaces if n.kind != "segment")
    assert _disagreements(topology, compile_topology(topology), guarantees) == [], "predicted"
    with Lab(topology, f"random.{os.getpid()}") as lab:
        present = lab._running_agent().call(read, nodes)
        verdicts = lab.probe()
    assert _disagreements(topology, present, guarantees) == [], "present"
    failed = [paragraph(v) for v in verdicts if v.kind is not VerdictKind.HOLDS]
    assert failed == [], "observed"
