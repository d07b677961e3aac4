"""Faults in a real lab: each is noticed by packets, and nothing is left of any of them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from machine import left_behind

from vnetlab.errors import KernelError
from vnetlab.mutate.bench import Bench
from vnetlab.mutate.fault import MAC, NEIGHBOUR, NEXT_HOP
from vnetlab.mutate.faults import faults_of
from vnetlab.mutate.run import judged, mutate
from vnetlab.mutate.score import Fate
from vnetlab.topology.model import Topology

pytestmark = pytest.mark.kernel

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
LARGE = "campus.yaml"
"""Its battery takes a minute to follow: of it only faults are tried that some promise notices."""
SURVIVED = {
    "port-isolation.yaml": (
        "hv1/guard: priority -50",
        "hv1/vault2.eth0: on the bridge hv1.dmz",
        "address fd00:20::1/64 of hv1.dmz: /63",
        "hv1/srcnat[4]: invert ct status",
    ),
    "backbone.graphml": (
        "Prague/unroutable: no such chain",
        "Oslo/ipv6 all: forwarding off",
        "Oslo/ipv4 eth0: forwarding off",
        "Hamburg/address 100.64.0.2/29 of eth0: /30",
        "4d9f/64 of eth0: /65",
        "Zurich/address fd00::8:96fa:108a:90d8:1f4d/64 of eth2: /63",
    ),
    "dual-stack.yaml": ('accept -> drop "bench: between its subnets', "10.30.0.67/24 of eth0: /25"),
}
"""What no packet noticed at some time."""
SAMPLED = ("five-modes.yaml",)
"""Of the others each was broken whole once; what came of it is in the page about mutation."""
SEED = int(os.environ.get("VNETLAB_SEED", "20261124"))
COMMAND = [sys.executable, "-m", "vnetlab", "mutate"]


@pytest.mark.parametrize("name", SAMPLED)
def test_a_sample_of_every_other_one_is_noticed(name: str) -> None:
    score = mutate(Topology.load(TOPOLOGIES / name), seed=SEED, sample=3, benches=2)
    assert [result.fault.id for result in score.survivors] == []
    assert score.total.faults == 3


@pytest.mark.parametrize("name", SURVIVED)
def test_what_survived_once_is_noticed_and_a_sample_too(name: str) -> None:
    topology = Topology.load(TOPOLOGIES / name)
    with Bench(topology) as bench:
        every = faults_of(bench.state, SEED)
        once = [fault for fault in every if any(text in fault.id for text in SURVIVED[name])]
        sample = random.Random(SEED).sample([fault for fault in every if fault not in once], 3)
        score = judged(topology, bench, [*once, *sample])
    assert len(once) == len(SURVIVED[name])
    assert [result.fault.id for result in score.survivors] == []


def test_a_sample_of_a_large_lab_is_noticed() -> None:
    topology = Topology.load(TOPOLOGIES / LARGE)
    with Bench(topology) as bench:
        found = [f for f in faults_of(bench.state, SEED) if f.kind in (NEXT_HOP, NEIGHBOUR, MAC)]
        score = judged(topology, bench, random.Random(SEED).sample(found, 4))
    assert [result.fate for result in score.results] == [Fate.KILLED] * 4


def test_a_fault_is_undone_and_what_is_not_is_found() -> None:
    with Bench(Topology.load(TOPOLOGIES / "isolated.yaml")) as bench:
        fault = next(f for f in faults_of(bench.state) if f.id.endswith("eth0: MTU 1280"))
        bench.change(bench.state, fault.state)
        with pytest.raises(KernelError, match="is not as it was before"):
            bench.check(fault.id)
        bench.change(fault.state, bench.state)
        bench.check(fault.id)


def test_json_and_nothing_else_on_stdout() -> None:
    command = [*COMMAND, str(TOPOLOGIES / "isolated.yaml"), "--sample", "5", "--seed", "3", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["lab"], found["seed"], found["summary"]["faults"]) == ("isolated", 3, 5)
    killed = [each for each in found["faults"] if each["verdict"] == "killed"]
    assert all(each["noticed_by"]["guarantee"] for each in killed)


def test_ctrl_c_leaves_nothing(session_mark: str) -> None:
    command = [*COMMAND, str(TOPOLOGIES / "isolated.yaml")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(3)
    process.send_signal(signal.SIGINT)  # while faults are flown, after the last of them was thought of
    assert process.wait(timeout=5) == 128 + signal.SIGINT, "all that is left takes longer than that"
    assert [line for line in left_behind(session_mark) if str(process.pid) in line] == []
