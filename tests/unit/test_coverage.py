"""Coverage: what counts as exercised, and excuses that hold only as long as their reason does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sabotage as s
from msgspec.structs import replace

from vnetlab.compile import compile_topology
from vnetlab.coverage import coverage, disputed, exercised_by, forwards_of, items_of
from vnetlab.guarantees import Outcome
from vnetlab.items import Item, ItemKind
from vnetlab.predict.journey import Prediction
from vnetlab.topology.model import Topology
from vnetlab.unreached import why_not

if TYPE_CHECKING:
    from vnetlab.state import State

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
FIVE = Topology.load(TOPOLOGIES / "five-modes.yaml")
STATE = compile_topology(FIVE)
ITEMS = tuple(items_of(STATE))


def item(about: str, state: State = STATE) -> Item:
    return next(i for i in items_of(state) if about in i.about or about in i.name)


def test_every_object_of_a_state_has_one_name() -> None:
    assert len(set(ITEMS)) == len(ITEMS)
    rules = sum(len(c.rules) for n in STATE.namespaces for t in n.tables for c in t.chains)
    assert sum(i.kind is ItemKind.RULE for i in ITEMS) == rules
    assert sum(i.kind is ItemKind.ROUTE for i in ITEMS) == sum(len(n.routes) for n in STATE.namespaces)


def test_a_rule_counts_by_its_counter_and_not_by_the_model() -> None:
    rule = item("home: VM to the LAN and beyond")
    chain, _, position = rule.name.rpartition(" ")
    moved = frozenset({(rule.namespace, chain, int(position))})
    assert rule not in exercised_by(FIVE, STATE, [rule], frozenset(), frozenset())
    assert rule in exercised_by(FIVE, STATE, [], moved, frozenset())


def test_a_port_counts_where_flows_and_frames_go_both_ways() -> None:
    port = next(i for i in ITEMS if i.kind is ItemKind.PORT)
    moved = frozenset({(port.namespace, port.name)})
    ways = [port._replace(way="in"), port._replace(way="out")]
    assert exercised_by(FIVE, STATE, ways, frozenset(), moved) == {port}
    assert exercised_by(FIVE, STATE, ways[:1], frozenset(), moved) == set()
    assert exercised_by(FIVE, STATE, ways, frozenset(), frozenset()) == set()
    assert exercised_by(FIVE, STATE, [], frozenset(), moved) == set()


def test_a_route_counts_by_the_model() -> None:
    route = next(i for i in ITEMS if i.kind is ItemKind.ROUTE)
    assert exercised_by(FIVE, STATE, [route], frozenset(), frozenset()) == {route}


def test_a_forward_counts_by_any_of_its_rules() -> None:
    forwards = forwards_of(FIVE, STATE)
    assert [i.name for i in forwards] == [
        "home: tcp 8080 to web port 80, ipv4",
        "home: tcp 8080 to web port 80, ipv6",
    ]
    for forward, rules in forwards.items():
        assert forward.about.startswith(str(TOPOLOGIES / "five-modes.yaml"))
        assert len(rules) == 2
        for rule in rules:
            chain, _, position = rule.name.rpartition(" ")
            found = exercised_by(FIVE, STATE, [], frozenset({("hv1", chain, int(position))}), frozenset())
            assert found == {rule, forward}


def test_counts_and_what_is_left() -> None:
    everything = frozenset(ITEMS) | frozenset(forwards_of(FIVE, STATE))
    whole = coverage(FIVE, STATE, everything)
    assert (whole.uncovered, len(whole.covered)) == ((), whole.total)
    route = next(i for i in ITEMS if i.kind is ItemKind.ROUTE)
    less = coverage(FIVE, STATE, everything - {route})
    assert [(u.item, u.why) for u in less.uncovered] == [(route, "")]
    assert less.count(ItemKind.ROUTE) == less.totals[ItemKind.ROUTE] - 1


def test_rules_that_model_and_counters_disagree_on_are_told() -> None:
    one, other = [i for i in ITEMS if i.kind is ItemKind.RULE][:2]
    met = Prediction(Outcome.SILENT, "", False, used=frozenset({one}))
    assert disputed([met], frozenset({one})) == ()
    first, second = disputed([met], frozenset({other}))
    assert "met in the model, and its counter did not move" in first
    assert "its counter moved, and nothing met it in the model" in second
    assert disputed([met, replace(met, outcome=None)], frozenset()) == ()


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ("bench: has no ipv6 subnet", "IPv6 is off on hv1.bench"),
        ("outsider to where the host has no route", "hv1 has a route to every address: 0.0.0.0/0, ::/0"),
        ("the host to itself", "by lo comes only what hv1 sends to itself"),
        (
            "dmz: from where its mode gives no path",
            "decided before by `dmz: the LAN and beyond to VM`, `dmz: VM to where its mode",
        ),
    ],
)
def test_excuses(about: str, why: str) -> None:
    assert why in why_not(STATE, [item(about)])[item(about)]


@pytest.mark.parametrize(
    ("about", "state"),
    [
        (
            "bench: has no ipv6 subnet",
            s.with_sysctl(
                STATE, "hv1", f"net/ipv6/conf/{s.bridge_of(STATE, 'hv1', 'hv1.bench')}/disable_ipv6", "0"
            ),
        ),
        (
            "outsider to where the host has no route",
            s.in_namespace(STATE, "hv1", lambda n: replace(n, routes=())),
        ),
        (
            "dmz: from where its mode gives no path",
            s.reworded(STATE, "hv1", "forward", "ip daddr 10.20.0.0/24", "ip daddr 10.20.0.0/25"),
        ),
        (
            "dmz: from where its mode gives no path",
            s.without_rules(STATE, "hv1", "forward", "bench: VM to where its mode gives no path"),
        ),
    ],
)
def test_an_excuse_falls_with_its_reason(about: str, state: State) -> None:
    assert item(about, state) not in why_not(state, [item(about, state)])


def test_rules_that_carry_traffic_have_no_excuse() -> None:
    for about in (
        "home: VM to the LAN and beyond",
        "dmz: the LAN and beyond to VM",
        "home: forged source",
        "home: nothing leaves untranslated",
    ):
        assert why_not(STATE, [item(about)]) == {}


def test_a_port_that_hears_nobody_is_excused_while_that_is_so() -> None:
    topology = Topology.load(TOPOLOGIES / "port-isolation.yaml")
    state = compile_topology(topology)
    port = next(i for i in items_of(state) if i.about == "vault1.eth0")
    nic = next(i for i in items_of(state) if i.namespace == "vault1" and i.kind is ItemKind.PORT)
    excuses = why_not(state, [port, nic])
    assert "the other ports are isolated from it, and `vault: frame of the host" in excuses[port]
    assert "nothing leaves vault1.eth0" in excuses[nic]
    joined = s.with_link(
        state, "hv1", lambda link: link.altname == "vault2.eth0", lambda link: replace(link, isolated=False)
    )
    assert why_not(joined, [port, nic]) == {}
    assert why_not(s.without_tables(state, "hv1", "netdev"), [port, nic]) == {}
