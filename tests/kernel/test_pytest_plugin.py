"""The pytest plugin, used as its users do: in a pytest run of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from nested import environment

TOPOLOGY = """
name: c-plugin
segments:
  lan: {subnets: [192.0.2.0/24]}
hosts:
  hv1:
    nics: {eth0: lan}
    networks:
      bench: {mode: host-only, subnets: [10.30.0.0/24]}
    vms: {tool: bench, lamp: bench}
machines: {peer: lan}
"""

GUARANTEES = """
from vnetlab.pytest_plugin import assert_holds, vnetlab_guarantees

@vnetlab_guarantees("case.yaml")
def test_promise(guarantee, verdict):
    assert verdict.guarantee == guarantee
    assert_holds(verdict)
"""


def run(place: Path, test: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (place / "case.yaml").write_text(TOPOLOGY)
    (place / "test_case.py").write_text(test)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, "test_case.py"],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_lab_fixture_gives_a_lab_that_is_up_and_shared(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
import pytest

pytestmark = pytest.mark.topology("case.yaml")
seen = []

def test_run(lab):
    seen.append(lab)
    assert "10.30.0." in lab["tool"].run(["ip", "address"], check=True).stdout
    lab.expect("tool", "lamp", protocol="tcp", port=80)

def test_denied(lab):
    assert lab is seen[0]
    verdict = lab.expect("peer", "tool", protocol="icmp", outcome="silent")
    assert verdict.observed == "silent"
""",
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_a_wrong_expectation_fails_with_its_paragraph(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
import pytest

@pytest.mark.topology("case.yaml")
def test_wrong(lab):
    lab.expect("peer", "tool", protocol="icmp", outcome="delivered")
""",
    )
    assert done.returncode == 1
    assert "promised: delivered" in done.stdout
    assert "observed: silent" in done.stdout


def test_one_test_per_guarantee_with_names_that_stay(tmp_path: Path) -> None:
    first = run(tmp_path, GUARANTEES, "--collect-only", "-q")
    again = run(tmp_path, GUARANTEES, "--collect-only", "-q")
    names = [line for line in first.stdout.splitlines() if "::" in line]
    assert names == [line for line in again.stdout.splitlines() if "::" in line]
    assert len(set(names)) == len(names) > 10
    done = run(tmp_path, GUARANTEES, "-q")
    assert done.returncode == 0, done.stdout
    assert f"{len(names)} passed" in done.stdout


def test_a_flight_and_a_lab_of_one_topology_do_not_meet(tmp_path: Path) -> None:
    both = (
        GUARANTEES
        + """
import pytest

@pytest.fixture(autouse=True)
def up(lab):
    pass

pytestmark = pytest.mark.topology("case.yaml")
"""
    )
    done = run(tmp_path, both, "-q", "-k", "same-network")
    assert done.returncode == 0, done.stdout


def test_a_flight_that_fails_is_not_flown_again(tmp_path: Path) -> None:
    broken = (
        GUARANTEES
        + """
from pathlib import Path
from vnetlab.lab import Lab

def probe(lab):
    with Path("flights").open("a") as file:
        file.write("flown")
    raise RuntimeError("no such luck")

Lab.probe = probe
"""
    )
    done = run(tmp_path, broken, "-q")
    assert done.returncode == 1
    assert "no such luck" in done.stdout
    assert "its first test says why" in done.stdout
    assert (tmp_path / "flights").read_text() == "flown"


def test_xdist_shares_the_guarantees_out(tmp_path: Path) -> None:
    done = run(tmp_path, GUARANTEES, "-n", "2")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_a_broken_verdict_fails_with_its_paragraph(tmp_path: Path) -> None:
    sabotage = (
        GUARANTEES
        + """
import pytest
from msgspec.structs import replace
from vnetlab.guarantees import Outcome, VerdictKind

@pytest.fixture
def verdict(verdict):
    return replace(verdict, kind=VerdictKind.BROKEN, observed=Outcome.SILENT, reason="it was cut")
"""
    )
    done = run(tmp_path, sabotage, "-x")
    assert done.returncode == 1
    assert "BROKEN " in done.stdout
    assert "observed: silent" in done.stdout
    assert "because: it was cut" in done.stdout


def test_an_assertion_of_the_users_own_gets_the_paragraph_too(tmp_path: Path) -> None:
    own = (
        GUARANTEES
        + """
@vnetlab_guarantees("case.yaml")
def test_own(verdict):
    assert verdict.kind == "nonsense"
"""
    )
    done = run(tmp_path, own, "-x", "-k", "test_own")
    assert done.returncode == 1
    assert "vnetlab verdict" in done.stdout
    assert "promised: " in done.stdout


def test_what_cannot_be_probed_is_skipped_aloud(tmp_path: Path) -> None:
    unavailable = (
        GUARANTEES
        + """
import pytest
from msgspec.structs import replace
from vnetlab.guarantees import VerdictKind

@pytest.fixture
def verdict(verdict):
    return replace(verdict, kind=VerdictKind.UNAVAILABLE, observed=None, reason="no tap here")
"""
    )
    done = run(tmp_path, unavailable, "-q")
    assert done.returncode == 0
    assert "guarantees that were not probed here" in done.stdout
    assert "x no tap here" in done.stdout


@pytest.mark.parametrize(
    ("test", "complaint"),
    [
        ("def test_x(lab): pass", "@pytest.mark.topology"),
        ("def test_x(verdict): pass", "@vnetlab_guarantees"),
        (GUARANTEES.replace("case.yaml", "no-such.yaml"), "no-such.yaml"),
    ],
)
def test_misuse_says_what_to_write(test: str, complaint: str, tmp_path: Path) -> None:
    done = run(tmp_path, test)
    assert done.returncode != 0
    assert complaint in done.stdout
