"""The benchmarks: budgets that no change may exceed unseen, and a floor that makes what vnetlab makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.job import job
from benchmarks.shape import shape_for, topology_text
from benchmarks.witness import Witness
from vnetlab.compile import compile_topology
from vnetlab.lab import Lab
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kernel
ROOT = Path(__file__).parents[2]
SHOWN = (
    ["ip", "-br", "link"],
    ["ip", "-br", "address"],
    ["ip", "route"],
    ["ip", "-6", "route", "show", "proto", "static"],
    ["bridge", "link"],
    ["nft", "list", "ruleset"],
    ["sh", "-c", "cd /proc/sys/net && grep -rs . ipv4/conf ipv6/conf ipv4/icmp_ratelimit bridge | sort"],
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the floor makes namespaces by itself")


def test_smoke_keeps_to_the_budgets() -> None:
    done = subprocess.run([ROOT / "benchmarks/run", "--smoke"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Callable[[str, list[str]], str]]:
    """Build the floor of ten machines; yield what runs a command in one of its namespaces."""
    state = compile_topology(Topology.parse(topology_text(shape_for(10, hosts_per_site=1)), "t.yaml"))
    names = [space.name for space in state.namespaces]
    (tmp_path / "job").write_text(job(state))
    command = [sys.executable, "-I", "-S", str(ROOT / "benchmarks/floor.py"), str(tmp_path / "job")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        spaces = json.loads(process.stdout.readline())["spaces"]

        def run(node: str, argv: list[str]) -> str:
            path = f"/proc/{process.pid}/fd/{spaces[names.index(node)]}"
            shell = ["nsenter", f"--net={path}", *argv]
            return subprocess.run(shell, check=True, capture_output=True, text=True).stdout

        yield run


@as_root
def test_the_floor_makes_the_same_lab(floor: Callable[[str, list[str]], str], lab_name: str) -> None:
    with Lab(Topology.parse(topology_text(shape_for(10, hosts_per_site=1)), "t.yaml"), lab_name) as lab:
        for node in ("hv0", "peer0", "vm0", "vm1", "vm2", "vm9"):
            for argv in SHOWN:
                made = lab[node].run(argv, check=True).stdout
                assert _plain(floor(node, argv)) == _plain(made), (node, argv)


def _plain(text: str) -> str:
    """Return the text without the numbers of peers, indices and counters, which are the kernel's choice."""
    words = (word.partition("@")[0] for line in sorted(text.splitlines()) for word in line.split())
    return " ".join(word for word in words if not word.rstrip(":").isdigit())


@as_root
def test_a_witness_sees_the_end_of_a_namespace() -> None:
    from benchmarks import spaces

    home = spaces.current()
    dying = spaces.create()
    spaces.enter(home)
    os.close(home)
    with Witness() as seen:
        seen.plant(dying)
        assert seen.present()
        os.close(dying)
        seen.wait()
        assert not seen.present()
