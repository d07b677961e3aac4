"""Names as long as allowed, in every place of the kernel where they appear; commands never meet a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vnetlab.guarantees import VerdictKind
from vnetlab.lab import Lab
from vnetlab.topology.model import Topology
from vnetlab.topology.values import MAX_NAME

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]


def long(letter: str) -> str:
    return letter * MAX_NAME


def topology() -> Topology:
    networks = {
        long("o"): {"mode": "bridge", "uplink": long("e")},
        long("i"): {"mode": "isolated", "subnets": ["10.9.0.0/24"], "port_isolation": True},
        long("d"): {"mode": "routed", "uplink": long("e"), "subnets": ["10.20.0.0/24"], "deny": "drop"},
        long("b"): {"mode": "host-only", "subnets": ["10.30.0.0/24"], "reach": [long("d")]},
        long("n"): {
            "mode": "nat",
            "uplink": long("e"),
            "subnets": ["10.40.0.0/24", "fd00:40::/64"],
            "forwards": [{"protocol": "tcp", "port": 8080, "to": long("w"), "to_port": 80}],
        },
    }
    plugs = {"v": "o", "x": "i", "y": "i", "z": "d", "u": "b", "w": "n"}
    host = {
        "nics": {long("e"): long("s")},
        "networks": networks,
        "vms": {long(vm): long(network) for vm, network in plugs.items()},
    }
    lan = {"subnets": ["192.0.2.0/24", "2001:db8::/64"]}
    return Topology.of(segments={long("s"): lan}, hosts={long("h"): host}, machines={long("m"): long("s")})


def test_a_lab_of_long_names_holds(lab_name: str) -> None:
    name = (lab_name + "." + long("l"))[:MAX_NAME]
    with Lab(topology(), name) as lab:
        assert {verdict.kind for verdict in lab.probe()} == {VerdictKind.HOLDS}
        assert "eth0" in lab[long("w")].run(["ip", "link"]).stdout


def test_arguments_reach_a_command_as_they_are(lab_name: str) -> None:
    words = ["$(id)", "; reboot", "`id`", "a b", '"', "'", "\x1b[31m", "*", "\n", "--", "-rf", "${HOME}"]
    show = "import json, sys; print(json.dumps(sys.argv[1:]))"
    with Lab(topology(), lab_name) as lab:
        done = lab[long("w")].run([sys.executable, "-c", show, *words])
    assert json.loads(done.stdout) == words


def test_a_node_that_is_not_there_is_named_harmlessly(lab_name: str, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("segments: {lan: {}}\nmachines: {a: lan}\n")
    vnetlab = [sys.executable, "-m", "vnetlab"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*vnetlab, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=60
        )

    assert run("up", str(file), "--name", lab_name).returncode == 0
    try:
        done = run("exec", "--lab", lab_name, "\x1b[31m\nx", "--", "true")
        absent = run("exec", "--lab", lab_name, "a", "--", "no\x1b[31m")
    finally:
        run("down", lab_name)
    assert (done.returncode, done.stderr) == (2, f"vnetlab: lab {lab_name} has no node \\x1b[31m\\nx\n")
    assert (absent.returncode, "\x1b" in absent.stderr) == (127, False)


STRANGER = """
import socket, sys
from vnetlab.kernel import control
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
    connection.connect(control.address(int(sys.argv[1]), sys.argv[2]))
    try:
        connection.send(b"spaces")
        print(socket.recv_fds(connection, 4096, 4)[:2])
    except OSError as error:
        print(type(error).__name__)
"""


def test_a_holder_answers_its_owner_only(lab_name: str, ordinary_user: list[str]) -> None:
    if os.geteuid():
        pytest.skip("only root can act as somebody else")
    with Lab(Topology.parse("segments: {lan: {}}\nmachines: {a: lan}\n"), lab_name):
        asked = [*ordinary_user, "-c", STRANGER, "0", lab_name]
        done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() in ("(b'', [])", "BrokenPipeError", "ConnectionResetError")
