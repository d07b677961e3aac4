"""Networks and segments with more ports than a bridge takes: on which bridges these are, and what follows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from cascades import MODES, PORTS, TRUNKS, lab_of, small_bridges, text_of

from vnetlab import cascade, names
from vnetlab.compile import compile_topology
from vnetlab.coverage import coverage
from vnetlab.errors import TopologyError
from vnetlab.explain.lexicon import Lexicon
from vnetlab.explain.steps import tell
from vnetlab.forecast import forecast
from vnetlab.guarantees import Outcome
from vnetlab.items import ItemKind
from vnetlab.modes import guarantees_for
from vnetlab.mutate.faults import faults_of
from vnetlab.plan import AttachPort, ForgetMacs, Step, diff
from vnetlab.predict.around import model_of
from vnetlab.state import Bridge, Veth
from vnetlab.topology.model import Topology
from vnetlab.topology.schema import json_schema

if TYPE_CHECKING:
    from vnetlab.state import Namespace, State

ISOLATION = ("cascade: true", "cascade: true, port_isolation: true")
SEGMENT = ", cascade: true"
SHARED = """
segments: {lan: {subnets: [192.0.2.0/24]}}
hosts:
  hv:
    nics: {eth0: lan}
    networks:
      one: {mode: bridge, FIRST}
      two: {mode: bridge, cascade: true}
    vms: {a1: two, b1: one, a2: two, b2: one, a3: two, a4: two}
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_bridges(monkeypatch)


def places(space: Namespace) -> dict[str, str]:
    """Return the readable name of the bridge that each port is on, by the port's."""
    called = {link.name: link.altname for link in space.links}
    return {link.altname or link.name: called[link.master] for link in space.links if link.master}


def masters(topology: Topology) -> dict[str, str]:
    return places(compile_topology(topology).namespace("hv"))


def trees(state: State) -> list[tuple[set[str], list[tuple[str, str]]]]:
    """Return the bridges and the trunks between them, of every namespace."""
    found = []
    for space in state.namespaces:
        ports = {link.name: link for link in space.links if link.master}
        pairs = [
            (port.master, ports[port.peer].master)
            for port in ports.values()
            if isinstance(port, Veth) and port.peer_namespace == space.name and port.name < port.peer
        ]
        found.append(({link.name for link in space.links if isinstance(link, Bridge)}, pairs))
    return found


@pytest.mark.parametrize("mode", MODES)
def test_what_fits_on_one_bridge_is_on_one_bridge(mode: str, small: None) -> None:
    with_it = compile_topology(lab_of(mode, PORTS, segment=SEGMENT, machines=PORTS - 1))
    without = compile_topology(
        lab_of(mode, PORTS, options="mtu: 1500" if mode != "bridge" else "reach: []", machines=PORTS - 1)
    )
    assert with_it == without


def test_ports_come_in_the_order_of_the_file_and_the_tree_grows_at_its_end(small: None) -> None:
    found = masters(lab_of("nat", 11))
    vms = {vm.removesuffix(".eth0"): bridge for vm, bridge in found.items() if vm.startswith("v")}
    assert vms == {
        **dict.fromkeys(("v0", "v1", "v2"), "hv.net"),
        **dict.fromkeys(("v3", "v4", "v5"), "hv.net+1"),
        **dict.fromkeys(("v6", "v7", "v8"), "hv.net+2"),
        **dict.fromkeys(("v9", "v10"), "hv.net+3"),
    }
    trunks = {port: bridge for port, bridge in found.items() if "+" in port}
    assert trunks == {
        "hv.net+1.upper": "hv.net", "hv.net+1.lower": "hv.net+1",
        "hv.net+2.upper": "hv.net", "hv.net+2.lower": "hv.net+2",
        "hv.net+3.upper": "hv.net+1", "hv.net+3.lower": "hv.net+3",
    }  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_one_more_at_the_end_moves_nobody(mode: str, small: None) -> None:
    for count in range(1, 12):
        before, after = masters(lab_of(mode, count)), masters(lab_of(mode, count + 1))
        assert before.items() <= after.items(), count


@pytest.mark.parametrize("options", ISOLATION)
@pytest.mark.parametrize("mode", MODES)
def test_bridges_are_a_tree_and_no_bridge_has_too_many_ports(mode: str, options: str, small: None) -> None:
    state = compile_topology(lab_of(mode, 23, options=options, machines=9, segment=SEGMENT))
    for space, (bridges, trunks) in zip(state.namespaces, trees(state), strict=True):
        roots = {bridge: bridge for bridge in bridges}
        for one, other in trunks:
            assert roots[one] != roots[other], "a loop"
            roots = {b: roots[one] if root == roots[other] else root for b, root in roots.items()}
        assert len(set(roots.values())) == len(bridges) - len(trunks)
        ports = Counter(link.master for link in space.links if link.master)
        assert all(number <= PORTS + TRUNKS + 1 for number in ports.values())


def test_devices_have_names_and_macs_of_their_own(small: None) -> None:
    beside = "{mode: nat, uplink: eth0, subnets: [10.8.0.0/24], cascade: true}"
    text = text_of("nat", 40, machines=20, segment=SEGMENT)
    text = text.replace("{mode: host-only, subnets: [10.8.0.0/24]}", beside)
    more = ", ".join(f"w{n}: den" for n in range(40))
    state = compile_topology(Topology.parse(text.replace("tool: den", more), "cascade.yaml"))
    for space in state.namespaces:
        kernel, readable = [li.name for li in space.links], [li.altname for li in space.links if li.altname]
        assert len({*kernel, *readable}) == len(kernel) + len(readable)
        assert all(len(name.encode()) <= names.DEVICE_NAME_BYTES for name in kernel)
    macs = Counter(link.mac for space in state.namespaces for link in space.links)
    uplink = state.namespace("hv").link("eth0").mac
    assert [mac for mac, number in macs.items() if number > 1 and mac != uplink] == []


def test_every_device_of_a_tree_has_the_mtu_of_its_network(small: None) -> None:
    state = compile_topology(lab_of("nat", 9, options="cascade: true, mtu: 1400"))
    tree = [li for li in state.namespace("hv").links if li.altname.startswith("hv.net")]
    assert len(tree) == 1 + 3 * 2
    assert {link.mtu for link in tree} == {1400}


def test_port_isolation_is_of_ports_towards_vms_alone(small: None) -> None:
    links = compile_topology(lab_of("nat", 11, options=ISOLATION[1])).namespace("hv").links
    isolated = {link.altname for link in links if link.isolated}
    assert isolated == {f"v{n}.eth0" for n in range(11)} | {f"hv.net+{n}.upper" for n in (1, 2, 3)}


def test_bridge_networks_isolate_trunks_too(small: None) -> None:
    space = compile_topology(lab_of("bridge", 9, options=ISOLATION[1])).namespace("hv")
    (table,) = (table for table in space.tables if table.family == "bridge")
    (rule,) = table.chains[0].rules
    uppers = [link.name for link in space.links if link.altname.endswith(".upper")]
    lowers = [link.name for link in space.links if link.altname.endswith(".lower")]
    assert uppers
    assert all(rule.text.count(name) == 2 for name in uppers)
    assert not any(name in rule.text for name in lowers)


@pytest.mark.parametrize("mode", MODES)
def test_the_host_is_walled_off_from_every_leaf(mode: str, small: None) -> None:
    space = compile_topology(lab_of(mode, 9)).namespace("hv")
    leaves = [li.name for li in space.links if isinstance(li, Bridge) and "+" in li.altname]
    (walls,) = (table for table in space.tables if table.family == "netdev")
    for leaf in leaves:
        hooks = [chain.hook for chain in walls.chains if f'"{leaf}"' in chain.hook]
        assert [hook.split()[3] for hook in hooks] == ["ingress", "egress"]
        assert all(hook.endswith("policy drop;") for hook in hooks)
        assert not any(leaf in sysctl.key for sysctl in space.sysctls)
    assert len(leaves) == 2


@pytest.mark.parametrize("options", ISOLATION)
@pytest.mark.parametrize("mode", MODES)
def test_what_is_promised_is_predicted(mode: str, options: str, small: None) -> None:
    found = forecast(lab_of(mode, 8, options=options, machines=5, segment=SEGMENT), every_pair=True)
    wrong = [
        g for g, p in zip(found.guarantees, found.predictions, strict=True) if g.expected is not p.outcome
    ]
    assert wrong == []
    once = any(g.id.endswith(".one-host-side") for g in found.guarantees)
    assert once is (mode != "bridge")


def test_nobody_hears_his_host_by_a_leaf_whose_wall_is_gone(small: None) -> None:
    """The promise is there for this: the rules of a network know its hub alone."""
    for options in ISOLATION:
        topology = lab_of("nat", 8, options=options)
        state = compile_topology(topology)
        promises = [g for g in guarantees_for(topology) if g.id == "nat.one-host-side"]
        faults = [f for f in faults_of(state) if f.id.endswith("-ingress: no such chain") and "+" in f.id]
        assert len(faults) == 2
        for fault in faults:
            model = model_of(topology, fault.state, promises)
            ends = [
                model.send(g.source, g.flow).prediction("hv", is_host=True, is_guest=False, any_frame=True)
                for g in promises
            ]
            assert Outcome.DELIVERED in [end.outcome for end in ends]


def test_networks_that_may_not_cascade_come_first_on_a_bridge_that_they_share(small: None) -> None:
    shared = Topology.parse(SHARED.replace("FIRST", "uplink: eth0"))
    found = {port: bridge for port, bridge in masters(shared).items() if port.endswith(".eth0")}
    hub = "hv.eth0.switch"
    assert found == {
        "b1.eth0": hub, "b2.eth0": hub, "a1.eth0": hub,
        **dict.fromkeys(("a2.eth0", "a3.eth0", "a4.eth0"), "hv.two+1"),
    }  # fmt: skip
    both = Topology.parse(SHARED.replace("FIRST", "cascade: true"))
    found = {port: bridge for port, bridge in masters(both).items() if port.endswith(".eth0")}
    assert found == {
        "a1.eth0": hub, "b1.eth0": hub, "a2.eth0": hub,
        "b2.eth0": "hv.one+1", "a3.eth0": "hv.two+1", "a4.eth0": "hv.two+1",
    }  # fmt: skip


def problems(text: str) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        Topology.parse(text, "cascade.yaml")
    return [f"{problem.thing}: {problem.wrong}; {problem.remedy}" for problem in caught.value.problems]


def test_a_network_that_is_too_large_may_cascade_and_the_refusal_says_so(small: None) -> None:
    (problem,) = problems(text_of("nat", 4, options="mtu: 1500"))
    assert problem == (
        "hosts.hv.networks.net: has 4 VMs, and one Linux bridge takes 3; "
        "spread them over several networks, or write `cascade: true`"
    )
    (problem,) = problems(text_of("nat", 1, machines=3))
    assert problem.endswith(
        "spread them over several segments with a router between, or write `cascade: true`"
    )
    (problem,) = problems(SHARED.replace("FIRST", "uplink: eth0").replace("a4: two", "a4: one, a5: one"))
    assert "hosts.hv.networks.one: has 4 VMs" in problem


def test_even_a_tree_takes_so_many(monkeypatch: pytest.MonkeyPatch, small: None) -> None:
    monkeypatch.setattr(cascade, "MAX_LEAVES", 2)
    lab_of("nat", 9, machines=8, segment=SEGMENT)
    (problem,) = problems(text_of("nat", 10))
    assert problem == (
        "hosts.hv.networks.net: has 10 VMs, and a Linux bridge with 2 leaf bridges takes 9; "
        "spread them over several networks"
    )
    (problem,) = problems(text_of("nat", 1, machines=9, segment=SEGMENT))
    assert "has 10 NICs of hosts and machines, and a Linux bridge with 2 leaf bridges takes 9" in problem


def test_an_uplink_takes_so_many_trunks(small: None) -> None:
    text = SHARED.replace("FIRST", "cascade: true").replace(
        "a4: two", "a4: two, a5: two, b3: one, b4: one, b5: one, b6: one, b7: one"
    )
    (problem,) = problems(text)
    assert problem == (
        "hosts.hv.networks.two: cascades beside others on the bridge of eth0, where 3 leaf bridges would "
        "have to be joined to it, and it takes 2; give it another uplink, or put its VMs on one of the others"
    )


def test_the_schema_knows_the_key() -> None:
    definitions = json_schema()["$defs"]
    for element in ("Network", "Segment"):
        assert definitions[element]["properties"]["cascade"]["type"] == "boolean"


def steps(before: Topology, after: Topology) -> tuple[Step, ...]:
    return diff(compile_topology(before), compile_topology(after)).steps


@pytest.mark.parametrize("options", ISOLATION)
@pytest.mark.parametrize("mode", MODES)
def test_to_grow_past_a_bridge_and_back_touches_no_port_that_is_there(
    mode: str, options: str, small: None
) -> None:
    few, many = lab_of(mode, 3, options=options), lab_of(mode, 4, options=options)
    old = {link.name for space in compile_topology(few).namespaces for link in space.links}
    for plan in (steps(few, many), steps(many, few)):
        touched = {getattr(step, "device", "") for step in plan} - {"", "lo"}
        assert not touched & (old - {"eth0"})
        assert {step.namespace for step in plan if getattr(step, "device", "") == "eth0"} <= {"v3"}


def test_bridges_forget_whom_they_heard_by_trunks_where_ports_move(small: None) -> None:
    before = lab_of("nat", 8)
    text = text_of("nat", 8).replace("v1: net, ", "")
    plan = steps(before, Topology.parse(text, "cascade.yaml"))
    moved = {(step.device, step.bridge) for step in plan if isinstance(step, AttachPort)}
    assert len(moved) == 2, "one of each leaf"
    altnames = {li.name: li.altname for li in compile_topology(before).namespace("hv").links}
    forgotten = [altnames[step.device] for step in plan if isinstance(step, ForgetMacs)]
    assert sorted(forgotten) == [f"hv.net+{leaf}.{end}" for leaf in (1, 2) for end in ("lower", "upper")]
    last = max(n for n, step in enumerate(plan) if isinstance(step, AttachPort))
    assert all(n > last for n, step in enumerate(plan) if isinstance(step, ForgetMacs))


def test_ports_that_nothing_is_let_out_by_are_told_across_trunks(small: None) -> None:
    topology = lab_of("isolated", 11, options=ISOLATION[1])
    state = compile_topology(topology)
    found = coverage(topology, state, frozenset())
    why = {
        u.item.about: u.why
        for u in found.uncovered
        if u.item.kind is ItemKind.PORT and u.item.namespace == "hv"
    }
    ports = [f"v{n}.eth0" for n in range(11)] + [f"hv.net+{n}.upper" for n in (1, 2, 3)]
    assert all(why[port].startswith("nothing is let out by it: ") for port in ports)
    assert "nothing comes in by hv.net+3.lower" in why["v9.eth0"]
    heard = coverage(lab_of("isolated", 11), compile_topology(lab_of("isolated", 11)), frozenset())
    assert not any(u.why for u in heard.uncovered if "net+" in u.item.about)


def test_a_way_by_trunks_is_told_in_words(small: None) -> None:
    topology = lab_of("routed", 11, machines=4, segment=SEGMENT)
    promises = [g for g in guarantees_for(topology) if (g.source, g.destination) == ("v10", "m3")]
    model = model_of(topology, compile_topology(topology), promises)
    journey = model.send("v10", promises[0].flow)
    told = [f"{step.node}: {step.text}" for step in tell(Lexicon(topology), journey) if step.way == "request"]
    hub = names.network_bridge(topology.hosts["hv"], topology.networks[0])
    assert told[1:4] == [
        "hv: switches it from v10 out by the trunk of leaf 3",
        "hv: switches it from the trunk of leaf 3 out by the trunk of leaf 1",
        f"hv: takes it in from network net (bridge {hub})",
    ]
    assert told[-3:-1] == ["segment:lan: carries it to the trunk of leaf 1", "segment:lan: carries it to m3"]


@pytest.mark.parametrize("mode", MODES)
def test_no_fault_makes_a_loop(mode: str, small: None) -> None:
    """A frame that goes round would take the machine with it."""
    state = compile_topology(lab_of(mode, 14, machines=6, segment=SEGMENT))
    for seed in range(5):
        for fault in faults_of(state, seed):
            for bridges, trunks in trees(fault.state):
                joined = {bridge: bridge for bridge in bridges}
                for one, other in trunks:
                    assert joined[one] != joined[other], fault.id
                    joined = {b: joined[one] if r == joined[other] else r for b, r in joined.items()}
