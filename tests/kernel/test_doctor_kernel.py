"""`vnetlab doctor` on a real kernel: what is hostile around it is told, and nothing is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from machine import NO_USER_NAMESPACES, state_of_machine

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
DOCTOR = [sys.executable, "-m", "vnetlab", "doctor", "--json"]
NEW = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Ucn", "--keep-caps"]
MODES = {"bridge", "isolated", "routed", "host-only", "nat"}
DEADLINE = 60


def run(argv: list[str], *, path: str = "") -> tuple[int, dict[str, Any]]:
    environment = os.environ | {"PYTHONPATH": f"{path}:{ROOT}" if path else str(ROOT)}
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=DEADLINE, env=environment,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def by_name(found: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in found["checks"]}


def test_this_machine_runs_every_mode_and_is_left_as_it_was() -> None:
    before = state_of_machine()
    code, found = run(DOCTOR)
    assert state_of_machine() == before
    assert code == 0
    assert found["summary"]["modes"] == dict.fromkeys(MODES, "ok")
    assert {check["area"] for check in found["checks"]} == {
        "privileges", "modes", "kernel", "libraries", "limits", "interference", "virtualization",
    }  # fmt: skip
    wanting = [c["name"] for c in found["checks"] if c["state"] != "ok" and not c["remedy"]]
    assert wanting == []


def test_an_ordinary_user_is_told_what_cannot_be_looked_at(ordinary_user: list[str]) -> None:
    done = subprocess.run(
        [*ordinary_user, "-m", "vnetlab", "doctor", "--json"],
        capture_output=True, text=True, check=False, timeout=DEADLINE, cwd="/",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["summary"]["modes"] == dict.fromkeys(MODES, "ok")
    rules = by_name(found)["nftables"]
    assert (rules["state"], "as root" in rules["remedy"]) == ("unknown", True)
    assert "user namespace" in by_name(found)["user"]["finding"]


def test_hostile_rules_are_named_and_the_modes_run_all_the_same() -> None:
    hostile = """
nft -f - <<'END'
table inet angry {
    chain forward { type filter hook forward priority 0; policy drop; }
    chain input { type filter hook input priority 0; policy accept; counter reject; }
}
END
for key in iptables ip6tables arptables; do
    test ! -e /proc/sys/net/bridge/bridge-nf-call-$key || echo 1 > /proc/sys/net/bridge/bridge-nf-call-$key
done
exec "$@"
"""
    code, found = run([*NEW, "sh", "-euc", hostile, "sh", *DOCTOR])
    checks = by_name(found)
    assert code == 0
    assert checks["nftables"]["state"] == "limited"
    assert "chain forward of inet angry (hook forward) drops by policy" in checks["nftables"]["finding"]
    assert "chain input of inet angry (hook input) ends with a rule" in checks["nftables"]["finding"]
    if Path("/proc/sys/net/bridge").exists():
        assert checks["bridge netfilter"]["state"] == "limited"
    assert found["summary"]["modes"] == dict.fromkeys(MODES, "ok")


def test_bridge_netfilter_that_is_off() -> None:
    calm = """
for key in /proc/sys/net/bridge/bridge-nf-call-*; do test ! -e "$key" || echo 0 > "$key"; done
exec "$@"
"""
    _, found = run([*NEW, "sh", "-euc", calm, "sh", *DOCTOR])
    assert by_name(found)["bridge netfilter"]["state"] == "ok"
    assert by_name(found)["nftables"]["finding"] == "no tables"


def test_addresses_of_a_file_are_compared_with_the_routes(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("hosts: {h: {networks: {n: {mode: host-only, subnets: [10.77.3.0/24]}}, vms: {a: n}}}\n")
    meeting = """
ip link set lo up
ip route add 10.77.0.0/16 dev lo
exec "$@"
"""
    code, found = run([*NEW, "sh", "-euc", meeting, "sh", *DOCTOR, str(file)])
    check = by_name(found)["addresses"]
    assert (code, check["state"]) == (0, "limited")
    assert "10.77.3.0/24 of network n on h and the machine's route to 10.77.0.0/16 by lo" in check["finding"]
    _, apart = run([*NEW, *DOCTOR, str(file)])
    assert by_name(apart)["addresses"]["state"] == "ok"


@pytest.mark.parametrize("library", ["numpy", "pydantic", "networkx"])
def test_a_library_that_is_missing_is_told_without_a_traceback(library: str, tmp_path: Path) -> None:
    (tmp_path / f"{library}.py").write_text(f"raise ImportError('No module named {library}')\n")
    code, found = run(DOCTOR, path=str(tmp_path))
    assert code == 3
    assert any(check["state"] == "missing" for check in found["checks"])
    assert any(f"No module named {library}" in check["finding"] for check in found["checks"])


def test_no_nftables_binding(tmp_path: Path) -> None:
    broken = tmp_path / "nftables"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('no libnftables here')\n")
    code, found = run(DOCTOR, path=str(tmp_path))
    checks = by_name(found)
    assert code == 3
    assert checks["libnftables"]["state"] == "missing"
    assert "apt install python3-nftables" in checks["libnftables"]["remedy"]
    assert checks["nat"]["state"] == "missing"
    assert checks["nftables"]["state"] == "unknown"


def test_no_user_namespaces(ordinary_user: list[str]) -> None:
    ask = 'from vnetlab.cli.main import run\nsys.exit(run(["doctor", "--json"]))\n'
    done = subprocess.run(
        [*ordinary_user, "-c", NO_USER_NAMESPACES + ask],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stderr) == (3, "")
    checks = by_name(json.loads(done.stdout))
    assert checks["namespaces"]["state"] == "missing"
    assert checks["without root"]["state"] == "limited"
    assert {checks[mode]["state"] for mode in MODES} == {"unknown"}


def test_the_table_shows_every_check() -> None:
    done = subprocess.run(
        [word for word in DOCTOR if word != "--json"],
        capture_output=True, text=True, check=False, timeout=DEADLINE, cwd=ROOT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    _, found = run(DOCTOR)
    assert all(f"\n{check['name']} " in done.stdout for check in found["checks"])
    assert "All five modes can run here." in done.stdout
