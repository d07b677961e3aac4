"""`explain` in labs that are up: what it predicts, sends and sees, and that it leaves nothing behind."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import taps
from msgspec.structs import replace
from sabotage import without_rules

from vnetlab import Lab, Topology
from vnetlab.cli.cmd_explain import command
from vnetlab.compile import compile_topology
from vnetlab.errors import LabLost
from vnetlab.explain.answer import tell_of
from vnetlab.explain.explanation import Explanation
from vnetlab.explain.question import Words
from vnetlab.guarantees import Outcome
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.read import Node, read
from vnetlab.kernel.tap import attach
from vnetlab.kernel.trace import Hooks, Tracer
from vnetlab.state import State

ROOT = Path(__file__).parents[2]
CASES = sorted(path.parent for path in (ROOT / "tests" / "golden" / "explain").glob("*/topology.yaml"))
VNETLAB = [sys.executable, "-m", "vnetlab"]

FIVE = """
name: five
segments:
  lan: {subnets: [192.0.2.0/24, "2001:db8:1::/64"]}
hosts:
  hv1:
    nics: {eth0: {segment: lan, addresses: [192.0.2.10/24, "2001:db8:1::10/64"]}}
    networks:
      office: {mode: bridge, uplink: eth0}
      vault: {mode: isolated, subnets: [10.10.0.0/24]}
      home:
        mode: nat
        uplink: eth0
        subnets: [10.40.0.0/24, "fd00:40::/64"]
        forwards: [{protocol: tcp, port: 8080, to: web, to_port: 80}]
    vms:
      desk: office
      safe1: vault
      safe2: {networks: [vault], backend: tap}
      web: home
machines:
  peer: lan
  other: {segment: lan, routes: none}
"""
HERE = taps.as_possible(FIVE)


def with_its_needs(case: Path) -> object:
    needs = [taps.needed] if taps.has_taps((case / "topology.yaml").read_text()) else []
    return pytest.param(case, id=case.name, marks=needs)


def words_of(case: Path) -> Words:
    """Return the question of a golden case, read as the command reads it."""
    typed = shlex.split((case / "command.txt").read_text())[2:]
    found = command.make_context("explain", typed).params
    return Words(
        found["source"], found["destination"], found["protocol"], found["port"] or 0, found["family"],
        found["pretended"], found["ttl"], found["size"] or 0,
    )  # fmt: skip


def present(lab: Lab) -> State:
    nodes = tuple(Node(info.name, info.kind) for info in lab.description.nodes)
    with Agent(lab._running()) as agent:
        return agent.call(read, nodes)


@pytest.fixture
def five(lab_name: str) -> Iterator[Lab]:
    with Lab(Topology.parse(HERE), lab_name) as lab:
        yield lab


@pytest.fixture
def kept(lab_name: str, tmp_path: Path) -> Iterator[str]:
    """Return the name of a lab that other processes find."""
    file = tmp_path / "five.yaml"
    file.write_text(HERE)
    lab = Lab(file, lab_name)
    lab.up()
    yield lab_name
    lab.down()


def vnetlab(*arguments: str, prefix: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    argv = [*(prefix or VNETLAB), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env=environment)


@pytest.mark.parametrize("case", [with_its_needs(case) for case in CASES])
def test_what_is_explained_of_a_file_happens_in_its_lab(case: Path, lab_name: str) -> None:
    with Lab(case / "topology.yaml", lab_name) as lab:
        explanation = lab.explain(words_of(case))
    assert explanation.differences == ()
    assert explanation.observed is not None
    assert explanation.observed.outcome is explanation.guarantee.expected or not explanation.guarantee.id
    assert all(row.agrees for row in explanation.observed.rows)
    assert explanation.told.end == explanation.declared.end


def test_every_rule_that_is_predicted_is_traced(five: Lab) -> None:
    observed = five.explain(Words("web", "peer", "udp", 53)).observed
    assert observed is not None
    chains = [row.observed.thing for row in observed.rows if row.observed and row.observed.what == "chain"]
    assert chains == [
        "inet vnetlab forward: home: VM to the LAN and beyond",
        "inet vnetlab srcnat: home: under the uplink's address, from an unprivileged port",
        "inet vnetlab forward: home: answers and ICMP errors of flows that its VMs began",
    ]


def test_the_lab_is_as_before(five: Lab) -> None:
    before = present(five)
    for question in (Words("web", "peer"), Words("safe1", "peer"), Words("desk", "peer", family="ipv6")):
        assert five.explain(question).agrees
    assert present(five) == before
    assert "vnetlab-explain" not in ruleset(five)


def test_asking_again_gives_the_same_answer(five: Lab) -> None:
    """Each time from another port: conntrack remembers the flow of the last time, and its translation."""
    for _ in range(3):
        assert five.explain(Words("web", "peer", "udp", 53)).differences == ()


def delete_rule(lab: Lab, chain: str, comment: str) -> None:
    listing = lab["hv1"].run(["nft", "-a", "list", "chain", "inet", "vnetlab", chain]).stdout
    (line,) = [
        line for line in listing.splitlines() if f'comment "{comment}"' in line and " ip6 " not in line
    ]
    handle = line.rpartition(" ")[2]
    lab["hv1"].run(["nft", "delete", "rule", "inet", "vnetlab", chain, "handle", handle])


def first_difference(explanation: Explanation) -> tuple[str, str]:
    observed = explanation.observed
    assert observed is not None
    assert observed.first_difference is not None
    row = observed.rows[observed.first_difference]
    return tuple(event.thing if event else "" for event in (row.predicted, row.observed))  # type: ignore[return-value]


def test_a_deleted_masquerade_is_the_first_difference(five: Lab) -> None:
    delete_rule(five, "srcnat", "home: under the uplink's address")
    explanation = five.explain(Words("web", "peer"))
    assert explanation.changed
    assert not explanation.kept
    assert first_difference(explanation) == (
        "inet vnetlab srcnat: home: under the uplink's address",
        "inet vnetlab leak: home: nothing leaves untranslated",
    )
    assert explanation.observed is not None
    assert explanation.observed.as_present
    assert explanation.observed.outcome is Outcome.SILENT
    assert explanation.declared.end.outcome is Outcome.DELIVERED


def test_a_deleted_forward_is_the_first_difference(five: Lab) -> None:
    delete_rule(five, "forward", "home: forward tcp 8080 to web")
    explanation = five.explain(Words("peer", "hv1", "tcp", 8080))
    assert explanation.changed
    assert first_difference(explanation) == (
        "inet vnetlab forward: home: forward tcp 8080 to web",
        "inet vnetlab forward: policy",
    )


def test_a_sender_without_a_route_is_told(five: Lab) -> None:
    five["web"].run(["ip", "route", "del", "default"])
    explanation = five.explain(Words("web", "192.0.2.99"))
    assert explanation.told.end.sentence().startswith("stopped on web: it has no route to 192.0.2.99")
    assert explanation.changed
    assert explanation.observed is not None
    assert explanation.observed.trouble == ()
    assert explanation.observed.as_present
    assert all(row.observed is None for row in explanation.observed.rows)


def test_a_wrong_prediction_is_told(five: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model and kernel at odds: the model is given a State in which a rule is missing that the lab has."""
    from vnetlab.explain import live

    about = "home: VM to the LAN and beyond"
    wrong = without_rules(compile_topology(five.topology), "hv1", "forward", about)
    monkeypatch.setattr(live, "compile_topology", lambda topology: wrong)
    told = tell_of
    monkeypatch.setattr(
        live, "tell_of", lambda t, g, s, basis="compiled": replace(told(t, g, wrong), basis=basis)
    )
    explanation = five.explain(Words("web", "peer"))
    assert not explanation.agrees
    assert explanation.told.end.outcome is Outcome.REJECTED
    assert explanation.observed is not None
    assert explanation.observed.outcome is Outcome.DELIVERED
    assert first_difference(explanation) == (
        "inet vnetlab forward: home: VM to where its mode gives no path",
        "inet vnetlab forward: home: VM to the LAN and beyond",
    )


def test_a_leak_out_of_an_isolated_network_is_seen(five: Lab) -> None:
    five["hv1"].run(["nft", "flush", "table", "netdev", "vnetlab"])
    five["hv1"].run(["nft", "delete", "table", "netdev", "vnetlab"])
    explanation = five.explain(Words("safe1", "hv1"))
    assert explanation.changed
    assert not explanation.agrees


def test_what_the_model_does_not_know_is_observed_all_the_same(five: Lab) -> None:
    rule = ["nft", "insert", "rule", "inet", "vnetlab", "forward", "limit", "rate", "1000/second", "accept"]
    five["hv1"].run(rule)
    explanation = five.explain(Words("web", "peer"))
    assert explanation.told.end.outcome is None
    assert not explanation.agrees
    assert explanation.observed is not None
    assert explanation.observed.outcome is Outcome.DELIVERED


def test_what_switches_forgot_is_no_difference(five: Lab) -> None:
    for link in present(five).namespace("hv1").links:
        if type(link).__name__ == "Bridge":
            five["hv1"].run(["ip", "link", "set", link.name, "type", "bridge", "fdb_flush"])
    assert five.explain(Words("desk", "peer")).differences == ()


@taps.needed
def test_a_tap_in_use_is_said(five: Lab) -> None:
    with Agent(five._running()) as agent:
        assert agent.call(take_tap, "safe2")
        explanation = five.explain(Words("safe2", "safe1"))
    assert explanation.observed is not None
    assert explanation.observed.outcome is None
    assert any("safe2" in line for line in explanation.observed.trouble)
    assert not explanation.agrees


_TAKEN: list[int] = []


def take_tap(spaces: Any, node: str) -> bool:
    from vnetlab import names

    with spaces.inside("hv1"):
        _TAKEN.append(attach(names.port(node, "eth0")))
    return True


def test_json_has_everything(kept: str) -> None:
    done = vnetlab("explain", "--lab", kept, "web", "peer", "--protocol", "tcp", "--port", "443", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["lab"], found["source"], found["destination"]) == (kept, "web", "peer")
    assert (found["flow"]["protocol"], found["flow"]["destination_port"]) == ("tcp", 443)
    assert found["predicted"]["state"] == "present"
    assert found["declared"]["state"] == "compiled"
    assert found["predicted"]["end"]["outcome"] == found["observed"]["outcome"] == "delivered"
    assert found["agrees"] is True
    assert found["observed"]["first_difference"] is None
    assert all(hop["agrees"] for hop in found["observed"]["hops"])
    translated = next(step for step in found["predicted"]["steps"] if step["verdict"] == "translate")
    assert translated["packet"]["source"] == "192.0.2.10"
    assert translated["hops"]


def test_text_of_a_live_lab(kept: str) -> None:
    done = vnetlab("explain", "--lab", kept, "safe1", "peer")
    assert (done.returncode, done.stderr) == (0, "")
    assert "dropped on hv1 by network `vault` (mode isolated, " in done.stdout
    assert "five.yaml:10): isolated networks have no path outward" in done.stdout
    assert "predicted and observed agree: silent" in done.stdout


def test_a_sabotaged_lab_ends_with_one(kept: str) -> None:
    flush = ["--", "nft", "flush", "chain", "inet", "vnetlab", "srcnat"]
    assert vnetlab("exec", "--lab", kept, "hv1", *flush).returncode == 0
    done = vnetlab("explain", "--lab", kept, "web", "peer")
    assert done.returncode == 1
    assert "The lab is not as its file says." in done.stdout
    assert done.stdout.count("<-- first difference") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_one_that_is_killed(five: Lab, number: signal.Signals) -> None:
    """The marking tables have an owner: the kernel removes them with the socket of whoever made them."""
    with Agent(five._running()) as agent, pytest.raises(LabLost):
        agent.call(mark_and_die, number)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline and "vnetlab-explain" in ruleset(five):
        time.sleep(0.05)
    assert "vnetlab-explain" not in ruleset(five)


def mark_and_die(spaces: Any, number: signal.Signals) -> None:
    with spaces.inside("hv1"):
        tracer = Tracer("vnetlab-explain-test", ("meta l4proto udp",), Hooks(("eth0",), bridge=True))
        loaded = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        assert loaded.count("vnetlab-explain-test") == 3
        assert tracer.read() == ()
    os.kill(os.getpid(), number)
    time.sleep(5)


def ruleset(lab: Lab) -> str:
    return str(lab["hv1"].run(["nft", "list", "ruleset"]).stdout)


def test_an_ordinary_user_may_ask(ordinary_user: list[str], lab_name: str, tmp_path: Path) -> None:
    text = taps.without(FIVE)  # /dev/net/tun may be root's
    tmp_path.chmod(0o755)
    file = Path("/tmp") / f"{lab_name}.yaml"
    file.write_text(text)
    prefix = [*ordinary_user, "-m", "vnetlab"]
    try:
        up = vnetlab("up", str(file), "--name", lab_name, prefix=prefix)
        assert up.returncode == 0, up.stderr
        for destination in ("peer", "safe1"):
            done = vnetlab("explain", "--lab", lab_name, "web", destination, prefix=prefix)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "predicted and observed agree" in done.stdout
    finally:
        vnetlab("down", lab_name, prefix=prefix)
        file.unlink()


def test_an_unknown_lab() -> None:
    assert vnetlab("explain", "--lab", "no-such-lab", "a", "b").returncode == 2
    assert vnetlab("explain", "--lab", "one", "--file", "two", "a", "b").returncode == 2
