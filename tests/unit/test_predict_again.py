"""What was predicted of one State is said of another where both are the same to the model, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from vnetlab.compile import compile_topology
from vnetlab.modes import guarantees_for
from vnetlab.mutate.faults import faults_of
from vnetlab.predict.matrix import predict, predict_again
from vnetlab.state import State, Sysctl
from vnetlab.topology.model import Topology

TOPOLOGIES = Path(__file__).parents[2] / "topologies"


@pytest.mark.parametrize("name", ["isolated", "bridge"])
def test_no_fault_that_matters_is_taken_for_the_same(name: str) -> None:
    topology = Topology.load(TOPOLOGIES / f"{name}.yaml")
    state, guarantees = compile_topology(topology), guarantees_for(topology)
    before = predict(topology, state, guarantees)
    faults = faults_of(state, seed=1, sample=24)
    same = [fault for fault in faults if predict_again(topology, before, fault.state, guarantees) is before]
    for fault in same:
        after = predict(topology, fault.state, guarantees)
        assert list(after) == list(before), fault.id
        assert [each.used for each in after] == [each.used for each in before], fault.id
    assert len(same) < len(faults) // 2


def turned_about(state: State) -> State:
    """Return a State whose parts stand in another order, where no order is meant."""
    return State(
        tuple(
            replace(
                space,
                links=space.links[::-1],
                routes=tuple(sorted(space.routes, key=str)),
                neighbours=space.neighbours[::-1],
                sysctls=(*space.sysctls, Sysctl("net/ipv4/conf/all/log_martians", "1")),
            )
            for space in reversed(state.namespaces)
        )
    )


def test_order_and_what_nobody_asks_for_do_not_matter() -> None:
    topology = Topology.load(TOPOLOGIES / "nat.yaml")
    state, guarantees = compile_topology(topology), guarantees_for(topology)
    before = predict(topology, state, guarantees)
    other = turned_about(state)
    assert other != state
    assert predict_again(topology, before, other, guarantees) is before
    after = predict(topology, other, guarantees)
    # Of several who drop a packet the first is named as the reason.
    assert [replace(each, reason="") for each in after] == [replace(each, reason="") for each in before]


BARE = {
    "addresses": lambda namespace: replace(namespace, addresses=()),
    "rules": lambda namespace: replace(namespace, tables=()),
    "settings": lambda namespace: replace(namespace, sysctls=()),
}


@pytest.mark.parametrize("what", BARE)
def test_what_is_gone_is_asked_about_again(what: str) -> None:
    topology = Topology.load(TOPOLOGIES / "nat.yaml")
    state, guarantees = compile_topology(topology), guarantees_for(topology)
    before = predict(topology, state, guarantees)
    bare = State(tuple(BARE[what](n) if n.kind == "host" else n for n in state.namespaces))
    assert list(predict_again(topology, before, bare, guarantees)) != list(before)
