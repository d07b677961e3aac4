"""What somebody changes by hand on bridges, ports and routes: `status` shows it, and `up` mends it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_converge import assert_equal, sorted_state

from vnetlab import names
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.read import nodes_of, read
from vnetlab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.state import State

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
TEXT = """
name: by-hand
segments: {lan: {subnets: [192.0.2.0/24, "2001:db8:1::/64"]}}
machines: {peer: lan}
hosts:
  hv:
    nics: {eth0: lan}
    networks:
      home: {mode: nat, uplink: eth0, subnets: [10.40.0.0/24, "fd00:40::/64"]}
    vms: {web: home, cam: home}
"""
PORT = names.port("web", "eth0")
BRIDGED = "ip link set dev hv.home type bridge"
SET = f"bridge link set dev {PORT}"
BY_HAND = {
    "a spanning tree": ("hv", f"{BRIDGED} stp_state 1", ("stp_state of", "forward_delay of")),
    "a bridge": (
        "hv",
        f"{BRIDGED} ageing_time 0 forward_delay 1500 mcast_snooping 1 group_fwd_mask 8",
        ("ageing_time of", "forward_delay of", "mcast_snooping of", "group_fwd_mask of"),
    ),
    "a port": (
        "hv",
        f"{SET} hairpin on learning off flood off; {SET} mcast_flood off bcast_flood off neigh_suppress on",
        ("hairpin", "learning", "flood of", "mcast_flood", "bcast_flood", "neigh_suppress"),
    ),
    "a locked port": ("hv", f"{SET} locked on", ("locked of",)),
    "a disabled port": ("hv", f"{SET} state 0", (f"{PORT} (web.eth0) is down",)),
    "routes besides": (
        "web",
        "ip route add default via 10.40.0.3 metric 70; ip -6 route add default via fd00:40::3 metric 71",
        ("metric 70 besides", "metric 71 besides"),
    ),
    "another metric": (
        "web",
        "ip route add default via 10.40.0.1 metric 72; ip route del default via 10.40.0.1 metric 0",
        ("lacks route 0.0.0.0/0", "metric 72 besides"),
    ),
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file = tmp_path_factory.mktemp("drift") / "by-hand.yaml"
    file.write_text(TEXT)
    name = f"by-hand.{os.getpid()}"
    made = vnetlab("up", str(file), "--name", name)
    assert made.returncode == 0, made.stderr
    with Lab.attach(name) as attached:
        yield attached
    assert vnetlab("down", name).returncode == 0


def vnetlab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vnetlab", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


def present(lab: Lab) -> State:
    with Agent(lab._running()) as agent:
        return sorted_state(agent.call(read, nodes_of(lab._desired())))


@pytest.mark.parametrize("what", BY_HAND)
def test_it_is_shown_and_mended(lab: Lab, tmp_path: Path, what: str) -> None:
    file = tmp_path / "by-hand.yaml"
    file.write_text(TEXT)
    before = present(lab)
    assert vnetlab("status", lab.name, "--drift").returncode == 0
    node, command, words = BY_HAND[what]
    done = lab[node].run(["sh", "-ec", command])
    assert done.returncode == 0, done.stderr
    assert present(lab) != before
    shown = vnetlab("status", lab.name, "--drift", "--json")
    assert shown.returncode == 1
    differences = lab_differences(lab)
    assert len(differences) == len(words)
    assert all(any(word in text and text.startswith(f"{node}: ") for text in differences) for word in words)
    mended = vnetlab("up", str(file), "--name", lab.name)
    assert mended.returncode == 0, mended.stderr
    assert_equal(present(lab), before)
    assert vnetlab("status", lab.name, "--drift").returncode == 0
    address = lab["peer"].run(["getent", "ahostsv4", "peer"]).stdout.split()[0]
    ping = [sys.executable, str(ROOT / "tests/pinging.py"), address, "1", "0"]
    assert lab["web"].run(ping).returncode == 0


def lab_differences(lab: Lab) -> tuple[str, ...]:
    """Return what a report would name beside verdicts that differ."""
    from vnetlab.compile import compile_topology
    from vnetlab.drift import drift

    return drift(compile_topology(lab.topology), present(lab))
