"""Networks and segments on several bridges, by packets: what they promise holds as on one."""

from __future__ import annotations

import sys
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cascades import MODES, lab_of, small_bridges, text_of
from test_converge import assert_equal, sorted_state

from vnetlab.compile import compile_topology
from vnetlab.explain.question import Words
from vnetlab.guarantees import VerdictKind
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.read import nodes_of, read
from vnetlab.lab import Lab
from vnetlab.mutate.bench import Bench
from vnetlab.mutate.faults import faults_of
from vnetlab.mutate.run import judged
from vnetlab.mutate.score import Fate
from vnetlab.state import Bridge
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.state import State

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
SEGMENT = ", cascade: true"
OPTIONS = ("cascade: true", "cascade: true, port_isolation: true")
WAYS = (("v7", "v4"), ("v4", "v7"), ("v0", "v7"), ("v7", "m4"), ("m4", "v7"), ("v7", "hv"), ("hv", "v7"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_bridges(monkeypatch)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("mode", MODES)
def test_every_promise_holds_and_all_is_exercised(lab_name: str, mode: str, options: str) -> None:
    topology = lab_of(mode, 8, options=options, machines=5, segment=SEGMENT, tap=6)
    with Lab(topology, lab_name) as lab:
        found = lab.examine()
        explained = [lab.explain(Words(*way)) for way in WAYS if "v6" not in way]
    assert [v for v in found.verdicts if v.kind is not VerdictKind.HOLDS] == []
    assert found.coverage is not None
    assert found.coverage.disputed == ()
    assert [u.item for u in found.coverage.uncovered if not u.why] == []
    assert [(e.guarantee.source, e.guarantee.destination) for e in explained if not e.agrees] == []


def present(lab: Lab, topology: Topology) -> State:
    with Agent(lab._running()) as agent:
        return agent.call(read, nodes_of(compile_topology(topology)))


def indices(lab: Lab) -> dict[str, str]:
    """Return the kernel's number of each device of the host, which a device keeps while it is there."""
    lines = lab["hv"].run(["ip", "-o", "link", "show"]).stdout.splitlines()
    return {line.split(": ")[1].partition("@")[0]: line.split(":")[0] for line in lines}


def bridges(state: State) -> list[str]:
    return [link.altname for link in state.namespace("hv").links if isinstance(link, Bridge)]


def is_heard(lab: Lab, source: str, destination: str) -> bool:
    """Tell whether a single echo request is answered: nobody is asked twice."""
    (nic,) = lab.topology.vms[destination].nics
    ping = [sys.executable, str(ROOT / "tests/pinging.py"), str(nic.addresses[0].ip), "1", "0"]
    return lab[source].run(ping).returncode == 0


@pytest.fixture
def ended(lab_name: str) -> Iterator[str]:
    """Give a lab its name, and end it."""
    yield lab_name
    with Lab.attach(lab_name) as lab:
        lab.down()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("mode", "options"), list(zip(MODES, cycle(OPTIONS), strict=False)))
def test_a_lab_grows_past_a_bridge_and_back(ended: str, mode: str, options: str) -> None:
    few, many = lab_of(mode, 3, options=options), lab_of(mode, 8, options=options)
    Lab(few, ended).up()
    with Lab.attach(ended) as lab:
        before, first = present(lab, few), indices(lab)
    Lab(many, ended).up()
    with Lab.attach(ended) as lab:
        assert first.items() <= indices(lab).items(), "what was there is there"
        assert bridges(present(lab, many)) == [*bridges(before), "hv.net+1", "hv.net+2"]
        assert [v for v in lab.probe() if v.kind is not VerdictKind.HOLDS] == []
        assert lab.drift().same
    Lab(few, ended).up()
    with Lab.attach(ended) as lab:
        assert indices(lab) == first
        assert_equal(sorted_state(present(lab, few)), sorted_state(before))
        assert [v for v in lab.probe() if v.kind is not VerdictKind.HOLDS] == []


@pytest.mark.usefixtures("small")
def test_who_moved_to_another_bridge_is_found_at_once(ended: str) -> None:
    """He says nothing by himself: bridges that went on to believe what they heard would send it elsewhere."""
    topology = lab_of("nat", 8)
    Lab(topology, ended).up()
    with Lab.attach(ended) as lab:
        assert is_heard(lab, "v0", "v6")
        assert is_heard(lab, "v7", "v3")
    less = Topology.parse(text_of("nat", 8).replace("v1: net, ", ""), "cascade.yaml")
    moved = [v for v in ("v0", "v2", "v3", "v4", "v5", "v6", "v7") if master(topology, v) != master(less, v)]
    assert moved == ["v3", "v6"]
    Lab(less, ended).up()
    with Lab.attach(ended) as lab:
        assert is_heard(lab, "v0", "v6")
        assert is_heard(lab, "v7", "v3")


def master(topology: Topology, vm: str) -> str:
    space = compile_topology(topology).namespace("hv")
    return next(link.master for link in space.links if link.altname == f"{vm}.eth0")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("mode", ["bridge", "isolated", "nat"])
def test_a_wall_of_a_leaf_that_is_gone_is_noticed(mode: str, options: str) -> None:
    topology = lab_of(mode, 7, options=options)
    with Bench(topology) as bench:
        walls = [
            f for f in faults_of(bench.state) if "+" in f.id and f.id.endswith("-ingress: no such chain")
        ]
        found = judged(topology, bench, walls)
    assert [result.fate for result in found.results] == [Fate.KILLED] * 2


@pytest.mark.alone  # one broadcast there may overflow the backlog, which proves nothing to other flights
def test_more_vms_than_a_bridge_takes_reach_each_other(lab_name: str) -> None:
    text = text_of("nat", 1100).replace("10.9.0.0/24", "10.96.0.0/16")
    with Lab(Topology.parse(text, "cascade.yaml"), lab_name) as lab:
        shown = lab["hv"].run(["ip", "-o", "link", "show", "type", "bridge"]).stdout.splitlines()
        assert len(shown) == len(("hv.net", "hv.net+1", "hv.den"))
        assert is_heard(lab, "v0", "v1099")
        assert is_heard(lab, "v1000", "v1099")
