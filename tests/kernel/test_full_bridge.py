"""A bridge that the kernel gives no further port: what was there before is there again, exactly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_converge import assert_equal, sorted_state

from vnetlab.compile import compile_topology
from vnetlab.errors import KernelError
from vnetlab.kernel import control
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.read import Node, read
from vnetlab.lab import Lab
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.kernel.spaces import Spaces
    from vnetlab.state import State

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
PORTS = 1023
"""BR_MAX_PORTS of net/bridge/br_private.h, which counts from 1."""
BEFORE = """
name: full
segments: {lan: {subnets: [192.0.2.0/24]}}
machines: {peer: lan}
hosts:
  hv:
    nics: {eth0: lan}
    networks:
      home: {mode: nat, uplink: eth0, subnets: [10.40.0.0/22]}
      den: {mode: host-only, subnets: [10.50.0.0/24]}
    vms: {web: home, cam: home, tool: den}
"""
AFTER = BEFORE.replace("tool: den}", "tool: den, last: home}").replace("cam: home", "cam: den")
FILL = """
import subprocess, sys
bridge, count = sys.argv[1], int(sys.argv[2])
lines = (f"link add f{n} numtxqueues 1 numrxqueues 1 master {bridge} type veth "
         f"peer name g{n} numtxqueues 1 numrxqueues 1" for n in range(count))
subprocess.run(["ip", "-batch", "-"], input="\\n".join(lines), text=True, check=True)
"""


def vnetlab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vnetlab", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.fixture
def lab(lab_name: str, tmp_path: Path) -> Iterator[Lab]:
    file = tmp_path / "full.yaml"
    file.write_text(BEFORE)
    made = vnetlab("up", str(file), "--name", lab_name)
    assert made.returncode == 0, made.stderr
    with Lab.attach(lab_name) as attached:
        yield attached
    assert vnetlab("down", lab_name).returncode == 0


def bridge_of(lab: Lab, altname: str) -> str:
    shown = json.loads(lab["hv"].run(["ip", "-j", "link", "show", "dev", altname]).stdout)
    assert isinstance(shown[0]["ifname"], str)
    return shown[0]["ifname"]


def fill(lab: Lab, bridge: str) -> None:
    """Put devices on a bridge until it takes no more."""
    shown = json.loads(lab["hv"].run(["ip", "-j", "link", "show", "master", bridge]).stdout)
    lab["hv"].run([sys.executable, "-c", FILL, bridge, str(PORTS - len(shown))])


def present(lab: Lab) -> State:
    names = {**dict.fromkeys(("web", "cam", "tool", "last"), "vm"), "hv": "host", "peer": "machine"}
    with Agent(lab._running()) as agent:
        return sorted_state(agent.call(read, tuple(Node(name, kind) for name, kind in names.items())))


def test_a_refused_port_restores_what_was_there(lab: Lab, tmp_path: Path) -> None:
    bridge = bridge_of(lab, "hv.home")
    fill(lab, bridge)
    before = present(lab)
    assert sum(link.master == bridge for link in before.namespace("hv").links) == PORTS
    file = tmp_path / "full.yaml"
    file.write_text(AFTER)
    refused = vnetlab("up", str(file), "--name", lab.name)
    assert refused.returncode == 4
    for part in ("hv: ", "last.eth0", bridge, "Exchange full", "1,023 ports", "ip link", "is restored"):
        assert part in refused.stderr, part
    assert "Traceback" not in refused.stderr
    assert_equal(present(lab), before)
    with Agent(lab._running()) as agent:
        root = agent.call(files_of, None)
    assert not {".change", ".change.new"} & set(root)
    ping = [sys.executable, str(ROOT / "tests/pinging.py"), address_of(lab, "hv", "hv.home"), "1", "0"]
    assert lab["web"].run(ping).returncode == 0


def files_of(spaces: Spaces, _: None) -> list[str]:
    return [file.name for file in Path(f"/proc/self/fd/{spaces.root}").iterdir()]


def address_of(lab: Lab, node: str, device: str) -> str:
    shown = json.loads(lab[node].run(["ip", "-4", "-j", "address", "show", "dev", device]).stdout)
    address = shown[0]["addr_info"][0]["local"]
    assert isinstance(address, str)
    return address


def test_a_new_lab_that_the_kernel_refuses_is_not_there(
    lab_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader refuses so large a network; here it does not."""
    monkeypatch.setattr("vnetlab.cascade.MAX_BRIDGE_PORTS", PORTS + 9)
    vms = ", ".join(f"vm{n}: home" for n in range(PORTS + 1))
    text = BEFORE.replace("vms: {web: home, cam: home, tool: den}", f"vms: {{{vms}}}")
    text = text.replace("10.40.0.0/22", "10.40.0.0/21")
    topology = Topology.parse(text, "full.yaml")
    assert len(compile_topology(topology).namespaces) > PORTS
    with pytest.raises(KernelError, match=r"vm1023.eth0.*Exchange full.*1,023 ports"):
        Lab(topology, lab_name).up()
    with pytest.raises(OSError, match="refused"):
        control.connect(os.geteuid(), lab_name).close()
