"""Faults are what they say, and the model tells those that matter from those that do not."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

from vnetlab.cli import main as cli
from vnetlab.compile import compile_topology
from vnetlab.modes import guarantees_for
from vnetlab.mutate import fault as kinds
from vnetlab.mutate import wording
from vnetlab.mutate.affected import Affected, Index
from vnetlab.mutate.behaviour import behaviour_of
from vnetlab.mutate.fault import Fault, changed, changes_of
from vnetlab.mutate.faults import faults_of
from vnetlab.mutate.oracle import Oracle
from vnetlab.mutate.recording import Recorder
from vnetlab.mutate.score import Fate, Result, Score
from vnetlab.predict.around import model_of
from vnetlab.report.mutations import mutations_object, survivor
from vnetlab.state import Namespace, NftRule, State
from vnetlab.topology.model import Topology

TOPOLOGIES = Path(__file__).parents[2] / "topologies"


@cache
def state_of(name: str) -> State:
    return compile_topology(Topology.load(TOPOLOGIES / name))


@cache
def faults(name: str) -> tuple[Fault, ...]:
    return faults_of(state_of(name))


@cache
def oracle(name: str) -> Oracle:
    topology = Topology.load(TOPOLOGIES / name)
    return Oracle(topology, state_of(name), guarantees_for(topology))


def fault(name: str, text: str) -> Fault:
    return next(each for each in faults(name) if text in each.id)


def rules_of(state: State, host: str, chain: str, family: str = "inet") -> tuple[NftRule, ...]:
    tables = (t for t in state.namespace(host).tables if t.family == family)
    return next(c.rules for t in tables for c in t.chains if c.name == chain)


def with_rules(state: State, host: str, chain: str, rules: tuple[NftRule, ...]) -> State:
    def change(namespace: Namespace) -> Namespace:
        tables = tuple(
            replace(t, chains=tuple(replace(c, rules=rules) if c.name == chain else c for c in t.chains))
            for t in namespace.tables
        )
        return replace(namespace, tables=tables)

    return changed(state, host, change)


@pytest.mark.parametrize("name", sorted(path.name for path in TOPOLOGIES.glob("*.yaml")))
def test_every_fault_is_one_change_and_has_a_name_of_its_own(name: str) -> None:
    state, found = state_of(name), faults(name)
    assert len({each.id for each in found}) == len(found)
    for each in found:
        assert [n.name for n in changes_of(state, each.state)] == [each.namespace], each.id
        assert each.kind in kinds.KINDS


def test_every_kind_of_fault_is_made_somewhere() -> None:
    made = {each.kind for name in ("five-modes.yaml", "port-isolation.yaml") for each in faults(name)}
    assert made == set(kinds.KINDS)


def test_every_rule_is_deleted() -> None:
    state = state_of("nat.yaml")
    deleted = {
        rule
        for each in faults("nat.yaml")
        if ": delete " in each.id and each.namespace == "hv1"
        for table, now in zip(state.namespace("hv1").tables, each.state.namespace("hv1").tables, strict=True)
        for chain, left in zip(table.chains, now.chains, strict=True)
        for rule in chain.rules
        if rule not in left.rules or len(chain.rules) != len(left.rules)
    }
    assert deleted == {r for t in state.namespace("hv1").tables for c in t.chains for r in c.rules}


@pytest.mark.parametrize(
    ("edit", "text", "results"),
    [
        (wording.prefixes, "ip saddr 10.0.0.0/24 drop", [
            "ip saddr 10.0.0.0/23 drop", "ip saddr 10.0.0.0/25 drop",
        ]),
        (wording.prefixes, "ip6 saddr fd00::1 drop", ["ip6 saddr fd00::/127 drop"]),
        (wording.prefixes, "ip daddr { 10.0.0.0/24, 10.0.1.0/24 } drop", [
            "ip daddr { 10.0.0.0/25, 10.0.1.0/24 } drop", "ip daddr { 10.0.0.0/24, 10.0.1.0/25 } drop",
        ]),
        (wording.ports, "tcp dport 80 dnat ip to 10.0.0.1:8080", [
            "tcp dport 81 dnat ip to 10.0.0.1:8080", "tcp dport 79 dnat ip to 10.0.0.1:8080",
            "tcp dport 80 dnat ip to 10.0.0.1:8081", "tcp dport 80 dnat ip to 10.0.0.1:8079",
        ]),
        (wording.ports, "masquerade to :1024-65535", [
            "masquerade to :1025-65535", "masquerade to :1023-65535", "masquerade to :1024-65534",
        ]),
        (wording.ports, "ip6 daddr 2001:db8:0:6565::1 accept", []),
        (wording.verdicts, "ip daddr 10.0.0.1 accept", ["ip daddr 10.0.0.1 drop"]),
        (wording.verdicts, "reject with icmpx admin-prohibited", ["accept"]),
        (wording.matches, 'iifname != "a" ct state invalid drop', [
            'iifname "a" ct state invalid drop', 'iifname != "a" ct state != invalid drop',
        ]),
        (wording.matches, "fib daddr oif missing drop", ["fib daddr oif exists drop"]),
    ],
)  # fmt: skip
def test_edits_of_a_rule(edit: object, text: str, results: list[str]) -> None:
    assert callable(edit)
    assert [found.text for found in edit(text)] == results


def test_an_interface_is_swapped_for_one_that_is_not_named_already() -> None:
    text = 'iifname { "a", "lo" } oifname "b" accept'
    assert [edit.text for edit in wording.devices(text, ("a", "b", "c"))] == [
        'iifname { "b", "lo" } oifname "b" accept',
        'iifname { "a", "b" } oifname "b" accept',
        'iifname { "a", "lo" } oifname "c" accept',
    ]


def test_a_rule_twice_and_one_of_them_deleted_is_no_fault() -> None:
    name, topology = "host-only.yaml", Topology.load(TOPOLOGIES / "host-only.yaml")
    plain = state_of(name)
    first, *rest = rules_of(plain, "hv1", "forward")
    doubled = with_rules(plain, "hv1", "forward", (first, first, *rest))
    twice = Oracle(topology, doubled, guarantees_for(topology))
    assert twice.opinion(Fault("x", kinds.RULE_DELETED, "hv1", "forward[0]", plain)).equivalent


def test_a_fault_that_no_guarantee_notices_has_a_witness() -> None:
    topology = Topology.load(TOPOLOGIES / "host-only.yaml")
    state = state_of("host-only.yaml")
    few = tuple(g for g in guarantees_for(topology) if g.id == "segment.machines")
    blind = Oracle(topology, state, few)
    opinion = blind.opinion(fault("host-only.yaml", 'guard[0]: delete "bench: forged source'))
    assert opinion.noticed_by == ()
    assert opinion.witness is not None
    assert "hv1 receives" in opinion.witness.difference


def test_the_suite_notices_and_says_by_what() -> None:
    topology = Topology.load(TOPOLOGIES / "host-only.yaml")
    guarantees = guarantees_for(topology)
    found = fault("host-only.yaml", 'guard[0]: 10.30.0.0/24 -> 10.30.0.0/23 "bench: forged source')
    numbers = oracle("host-only.yaml").opinion(found).noticed_by
    assert {guarantees[n].id for n in numbers} == {"host-only.source-edge"}


def test_what_the_model_does_not_know_is_not_equivalent() -> None:
    found = fault("host-only.yaml", 'unroutable[2]: delete "quiet: VM to where the host has no route"')
    opinion = oracle("host-only.yaml").opinion(found)
    assert opinion.unknown
    assert opinion.doubtful
    assert not opinion.equivalent


@pytest.mark.parametrize("name", ["host-only.yaml", "port-isolation.yaml", "backbone.graphml"])
def test_a_flow_that_is_not_followed_again_goes_the_way_of_before(name: str) -> None:
    topology, state = Topology.load(TOPOLOGIES / name), state_of(name)
    guarantees = guarantees_for(topology)
    flows = [(each.source, each.flow) for each in guarantees[::9]]
    taken = {n.name: n.kind for n in state.namespaces}
    plain = model_of(topology, state, guarantees)
    recorder = Recorder(plain.world)
    listened = plain.within(recorder.world())
    index = Index(recorder.footprint(lambda f=flow: listened.follow(*f)) for flow in flows)  # type: ignore[misc]
    before = [behaviour_of(plain.follow(*flow), taken) for flow in flows]
    of_each_kind = {each.kind: each for each in faults(name)} | {
        each.kind + "'": each for each in faults(name)[::-1]
    }
    for each in of_each_kind.values():
        changes = changes_of(state, each.state)
        shared, anew = plain.changed(changes), model_of(topology, each.state, guarantees)
        known = {n.name: n for n in state.namespaces}
        again = set(Affected(known, changes, shared, recorder).among(index))
        for number, flow in enumerate(flows):
            after = behaviour_of(anew.follow(*flow), taken)
            assert number in again or after == before[number], (each.id, flow)
            if number in again and number % 5 == 0:
                assert behaviour_of(shared.follow(*flow), taken) == after, (each.id, flow)


def test_a_sample_is_reproducible() -> None:
    state = state_of("nat.yaml")
    ids = [[each.id for each in faults_of(state, seed, 30)] for seed in (1, 1, 2)]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]
    assert len(ids[0]) == 30


def test_the_score_leaves_out_what_is_equivalent() -> None:
    killed, equal, left = faults("isolated.yaml")[:3]
    results = (
        Result(killed, Fate.KILLED),
        Result(equal, Fate.EQUIVALENT),
        Result(left, Fate.SURVIVED, doubt="nobody knows"),
    )
    score = Score("isolated", 3, results)
    assert score.total.score == 0.5
    found = mutations_object(score)
    assert found["summary"] == {"faults": 3, "equivalent": 1, "killed": 1, "survived": 1, "score": 0.5}
    assert [each["verdict"] for each in found["faults"]] == ["killed", "equivalent", "survived"]
    assert left.id in survivor(results[2])
    assert "nobody knows" in survivor(results[2])


@pytest.mark.parametrize(
    "arguments", [["mutate"], ["mutate", "no-such.yaml"], ["mutate", "x.yaml", "--sample", "0"]]
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    assert capsys.readouterr().out == ""
