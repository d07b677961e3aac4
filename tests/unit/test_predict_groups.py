"""Endpoints of equal treatment: what is said of one of them is what would be found of the others."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from random_labs import Document, documents
from sabotage import in_namespace, with_link, with_rule, with_sysctl, without_rules

from vnetlab import names
from vnetlab.compile import compile_topology
from vnetlab.forecast import forecast
from vnetlab.guarantees import Outcome
from vnetlab.modes import guarantees_for
from vnetlab.policy import BLACKHOLE, USUAL, Policy, PolicyRule, TableRoute
from vnetlab.predict.around import model_of
from vnetlab.predict.groups import groups_of
from vnetlab.predict.matrix import predict
from vnetlab.predict.mentions import mentions
from vnetlab.predict.miniature import is_single
from vnetlab.state import Neighbour, State, StaticRoute
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vnetlab.guarantees import Guarantee
    from vnetlab.predict.journey import Prediction
    from vnetlab.predict.matrix import Predictions
    from vnetlab.state import Namespace, NftTable
    from vnetlab.topology.model import IPAddress

TOPOLOGIES = sorted((Path(__file__).parents[2] / "topologies").glob("*.*"))
MANY = """
name: many
segments:
  lan: {subnets: [192.0.2.0/24, "2001:db8:1::/64"]}
hosts:
  hv:
    nics: {eth0: lan}
    networks:
      office: {mode: bridge, uplink: eth0}
      dmz: {mode: routed, uplink: eth0, subnets: [10.20.0.0/24, "fd00:20::/64"]}
      home: {mode: nat, uplink: eth0, subnets: [10.40.0.0/24, "fd00:40::/64"]}
    vms: {a1: office, a2: office, a3: office, b1: dmz, b2: dmz, b3: dmz, c1: home, c2: home, c3: home}
machines: {peer: lan, other: lan}
"""


@pytest.fixture(scope="module")
def many() -> Topology:
    return Topology.parse(MANY)


def each_by_itself(topology: Topology, state: State, guarantees: Sequence[Guarantee]) -> list[Prediction]:
    """Follow every flow, alike or not."""
    model = model_of(topology, state, guarantees)
    taps = {vm.name for vm in topology.vms.values() if vm.backend == "tap"}
    return [
        model.send(g.source, g.flow).prediction(
            g.destination,
            is_host=g.destination in topology.hosts,
            is_guest=g.destination in taps,
            any_frame=g.expected not in (Outcome.DELIVERED, Outcome.REFUSED),
        )
        for g in guarantees
    ]


def differing(topology: Topology, state: State, guarantees: Sequence[Guarantee]) -> Sequence[object]:
    """Return where the two ways of asking disagree; which bystander a reason names does not matter."""
    of = dict(groups_of(topology, state, mentions(state)).of)
    of |= {names.port(vm.name, n.name): of[vm.name] for vm in topology.vms.values() for n in vm.nics}
    grouped, alone = predict(topology, state, guarantees), each_by_itself(topology, state, guarantees)

    def plain(prediction: Prediction) -> Prediction:
        words = prediction.reason.replace(": ", " : ").split(" ")
        return replace(prediction, reason=" ".join(str(of.get(word, word)) for word in words))

    triples = zip(guarantees, grouped, alone, strict=True)
    return [(g, a, b) for g, a, b in triples if (a != b and plain(a) != plain(b)) or a.used != b.used][:3]


def groups(topology: Topology, state: State | None = None) -> set[tuple[str, ...]]:
    state = state or compile_topology(topology)
    return set(groups_of(topology, state, mentions(state)).members)


def broken(state: State, seed: int) -> State:
    """Break something somewhere: a rule, a port, a setting, an entry."""
    rng = random.Random(seed)
    space = rng.choice([n for n in state.namespaces if n.links])
    link = rng.choice(space.links)
    owners = [a.address.ip for n in state.namespaces for a in n.addresses]
    ways: list[Callable[[Namespace], Namespace]] = [
        lambda n: replace(n, links=tuple(replace(k, mtu=1300) if k == link else k for k in n.links)),
        lambda n: replace(n, links=tuple(replace(k, up=False) if k == link else k for k in n.links)),
        lambda n: replace(n, addresses=n.addresses[1:]),
        lambda n: replace(n, routes=n.routes[1:]),
        lambda n: replace(n, tables=n.tables[1:]),
        lambda n: replace(n, tables=tuple(_without_one(t, rng) for t in n.tables)),
        lambda n: replace(n, policy=_barring(rng.choice(owners))),
    ]
    change = rng.choice(ways)
    return State(tuple(change(n) if n is space else n for n in state.namespaces))


def _barring(source: IPAddress) -> Policy:
    """Return policy routing by which one sender's packets end in silence."""
    rule = PolicyRule(source.version, 7, 0, BLACKHOLE, ip_network(source))
    return Policy((rule, *USUAL[source.version][1:]))


def _without_one(table: NftTable, rng: random.Random) -> NftTable:
    chains = list(table.chains)
    at = rng.randrange(len(chains))
    rules = list(chains[at].rules)
    del rules[rng.randrange(len(rules))]
    chains[at] = replace(chains[at], rules=tuple(rules))
    return replace(table, chains=tuple(chains))


@pytest.mark.parametrize("file", TOPOLOGIES, ids=lambda path: path.stem)
def test_counts_are_those_of_the_whole(file: Path) -> None:
    topology = Topology.load(file)
    found = forecast(topology, every_pair=False)
    counts: Counter[str] = Counter()
    for guarantee, count in zip(found.guarantees, found.counts, strict=True):
        counts[guarantee.id] += count * (not is_single(guarantee))
    assert +counts == Counter(g.id for g in guarantees_for(topology) if not is_single(g))


@pytest.mark.parametrize("file", [f for f in TOPOLOGIES if f.stem != "campus"], ids=lambda path: path.stem)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "broken"])
def test_predictions_are_those_of_each_by_itself(file: Path, whole: bool) -> None:
    topology = Topology.load(file)
    state = compile_topology(topology)
    state = state if whole else broken(state, TOPOLOGIES.index(file))
    guarantees = guarantees_for(topology)
    assert differing(topology, state, guarantees) == []


@settings(
    max_examples=20,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(documents(max_vms=8), st.integers(0, 1000))
def test_predictions_of_random_labs(document: Document, seed: int) -> None:
    topology = Topology.of(**document)
    state = compile_topology(topology)
    state = broken(state, seed) if seed else state
    guarantees = guarantees_for(topology)
    assert differing(topology, state, guarantees) == []
    found = forecast(topology, every_pair=False)
    told = zip(found.guarantees, found.counts, strict=True)
    assert sum(n for g, n in told if not is_single(g)) == sum(not is_single(g) for g in guarantees)


def test_members_of_a_group(many: Topology) -> None:
    assert groups(many) == {
        ("hv",), ("a1", "a2", "a3"), ("b1", "b2", "b3"), ("c1", "c2", "c3"), ("peer", "other"),
    }  # fmt: skip


def test_whoever_the_file_names_is_alone() -> None:
    text = MANY.replace(
        'uplink: eth0, subnets: [10.40.0.0/24, "fd00:40::/64"]',
        "uplink: eth0, subnets: [10.40.0.0/24], forwards: [{protocol: tcp, port: 80, to: c2}]",
    )
    assert {("c1", "c3"), ("c2",)} <= groups(Topology.parse(text))


def _rule(topology: Topology, text: str) -> State:
    return with_rule(compile_topology(topology), "hv", "forward", text)


def _address(topology: Topology, vm: str) -> str:
    return str(topology.vms[vm].nics[0].addresses[0].ip)


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        ("ip saddr {b2} drop", "b2"),
        ("ip daddr {{ {b2}, 10.20.0.1 }} drop", "b2"),
        ("ip saddr . tcp dport {{ {b2} . 80 }} drop", "b2"),
        ("ether saddr {b2-mac} drop", "b2"),
        ('iifname {{ "{b2-port}" }} drop', "b2"),
        ("dnat ip to {c3}:80", "c3"),
    ],
)
def test_whoever_a_rule_mentions_is_alone(many: Topology, text: str, apart: str) -> None:
    words = {vm: _address(many, vm) for vm in many.vms}
    words |= {f"{vm}-mac": node.nics[0].mac for vm, node in many.vms.items()}
    words |= {f"{vm}-port": names.port(vm, "eth0") for vm in many.vms}
    found = groups(many, _rule(many, text.format_map(words)))
    assert (apart,) in found
    assert not any(apart in group for group in found if len(group) > 1)


def test_a_rule_about_single_bits_tells_everybody_apart(many: Topology) -> None:
    found = groups(many, _rule(many, "ip saddr & 0.0.0.1 == 0.0.0.1 drop"))
    assert max(len(group) for group in found) == 1


def test_members_of_one_set_of_devices_stay_together(many: Topology) -> None:
    ports = ", ".join(f'"{names.port(vm, "eth0")}"' for vm in ("b1", "b2", "b3"))
    assert ("b1", "b2", "b3") in groups(many, _rule(many, f"iifname {{ {ports} }} drop"))


def test_what_differs_in_the_state_tells_apart(many: Topology) -> None:
    state = compile_topology(many)
    port, entry = (
        names.port("b2", "eth0"),
        Neighbour("eth0", many.vms["c2"].nics[0].addresses[0].ip, "02:" + "0" * 14),
    )
    cases = [
        with_link(state, "hv", lambda k: k.name == port, lambda k: replace(k, isolated=True)),
        with_link(
            state, "b2", lambda k: k.name == "eth0", lambda k: replace(k, mac=many.vms["b1"].nics[0].mac)
        ),
        with_sysctl(state, "b2", "net/ipv4/conf/all/arp_ignore", "8"),
        with_sysctl(state, "hv", f"net/ipv4/conf/{port}/forwarding", "1"),
    ]
    barring = _barring(many.vms["b2"].nics[0].addresses[0].ip)
    cases += [in_namespace(state, where, lambda n: replace(n, policy=barring)) for where in ("hv", "b2")]
    assert all(("b2",) in groups(many, each) for each in cases)
    told = in_namespace(state, "peer", lambda n: replace(n, neighbours=(entry,)))
    assert {("c2",), ("peer",)} <= groups(many, told)


def test_a_next_hop_of_a_policy_route_is_alone(many: Topology) -> None:
    state, hop = compile_topology(many), many.vms["b2"].nics[0].addresses[0].ip
    host = many.hosts["hv"]
    bridge = names.network_bridge(host, host.networks[many.vms["b2"].nics[0].network])
    route = TableRoute(100, StaticRoute(ip_network("203.0.113.0/24"), hop, bridge))
    policy = Policy((PolicyRule(4, 7, 100), *USUAL[4][1:]), (route,))
    assert ("b2",) in groups(many, in_namespace(state, "hv", lambda n: replace(n, policy=policy)))


def test_devices_that_a_policy_rule_asks_for_are_apart(many: Topology) -> None:
    first, second = (names.port(vm, "eth0") for vm in ("b1", "b2"))
    rule = PolicyRule(4, 7, 254, iif=first, oif=second)
    policy = Policy((rule, *USUAL[4][1:]))
    found = groups(many, in_namespace(compile_topology(many), "hv", lambda n: replace(n, policy=policy)))
    assert {("b1",), ("b2",), ("b3",)} <= found


def test_a_rule_that_mentions_nobody_keeps_them_together(many: Topology) -> None:
    state = without_rules(compile_topology(many), "hv", "forward", "home: VM to the LAN and beyond")
    assert ("c1", "c2", "c3") in groups(many, state)


@cache
def predicted(file: Path) -> Predictions:
    topology = Topology.load(file)
    return predict(topology, compile_topology(topology), guarantees_for(topology))


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("file", TOPOLOGIES, ids=lambda file: file.stem)
def test_what_many_exercise_together_is_what_each_does(file: Path, share: float) -> None:
    found = predicted(file)
    mask = np.random.default_rng(int(share * 100)).random(len(found)) < share
    each = [prediction for prediction, chosen in zip(found, mask, strict=True) if chosen]
    together = found.summed(mask)
    assert frozenset().union(*(p.used for p in together)) == frozenset().union(*(p.used for p in each))
    after = [frozenset().union(*(p.after or () for p in some)) for some in (together, each)]
    assert after[0] == after[1]
    assert any(p.after is None for p in together) == any(p.after is None for p in each)
    assert len(together) <= len(set(found.which.tolist()))


def test_predictions_are_exchanged_with_and_without_what_they_exercise(many: Topology) -> None:
    found = predict(many, compile_topology(many), guarantees_for(many))
    for number in range(0, len(found), 7):
        assert found.bare(number) == found[number]
        assert not found.bare(number).used
    assert not found.differs_from(found)
    other = predict(many, _rule(many, "ip daddr 192.0.2.1 drop"), guarantees_for(many))
    assert found.differs_from(other) == (found != other)
