"""A State that travels between processes is the same State, and of the same types."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from vnetlab.compile import compile_topology
from vnetlab.topology.model import Topology

TOPOLOGIES = sorted((Path(__file__).parents[2] / "topologies").glob("*.yaml"))


@pytest.mark.parametrize("file", TOPOLOGIES, ids=lambda file: file.stem)
def test_it_arrives_as_it_was_sent(file: Path) -> None:
    sent = compile_topology(Topology.load(file))
    arrived = pickle.loads(pickle.dumps(sent))
    assert arrived == sent
    for there, here in zip(arrived.namespaces, sent.namespaces, strict=True):
        assert [repr(each) for each in (*there.addresses, *there.routes, *there.sysctls)] == [
            repr(each) for each in (*here.addresses, *here.routes, *here.sysctls)
        ]
