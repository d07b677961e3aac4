"""The model of Linux: it agrees with every promise, and stops agreeing when the state is broken."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from vnetlab.cli import main as cli
from vnetlab.compile import compile_topology
from vnetlab.guarantees import Flow, Outcome, Protocol
from vnetlab.modes import guarantees_for
from vnetlab.predict.compare import differences
from vnetlab.predict.matrix import predict
from vnetlab.predict.model import Model
from vnetlab.predict.world import Sockets
from vnetlab.state import (
    Address,
    Bridge,
    Namespace,
    Neighbour,
    NftChain,
    NftRule,
    NftTable,
    State,
    StaticRoute,
    Sysctl,
    Veth,
)
from vnetlab.switching import Option
from vnetlab.topology.model import Family, Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnetlab.predict.journey import Prediction

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
FILES = sorted(p for p in TOPOLOGIES.iterdir() if p.suffix in (".yaml", ".graphml"))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_model_and_promises_agree(file: Path) -> None:
    topology = Topology.load(file)
    guarantees = guarantees_for(topology)
    predictions = predict(topology, compile_topology(topology), guarantees)
    unknown = [p.reason for p in predictions if p.outcome is None]
    assert unknown == []
    pairs = zip(guarantees, predictions, strict=True)
    assert [
        (g.id, g.source, g.destination, g.flow, said) for g, p in pairs if (said := differences(g, p))
    ] == []


def broken_rules() -> Iterator[tuple[str, int]]:
    """Every rule of the forward chain that some flow of this topology ends at.

    One is for packets that belong to no flow, one for hosts with a second uplink: this one has neither.
    """
    topology = Topology.load(TOPOLOGIES / "five-modes.yaml")
    forward = chains(compile_topology(topology).namespace("hv1"))["forward"]
    for number, rule in enumerate(forward.rules):
        if "ct state invalid" not in rule.text and rule.text.startswith("iifname"):
            yield rule.comment, number


def chains(namespace: Namespace) -> dict[str, NftChain]:
    return {chain.name: chain for table in namespace.tables for chain in table.chains}


@pytest.mark.parametrize(("name", "number"), list(broken_rules()))
def test_a_missing_rule_is_noticed(name: str, number: int) -> None:
    topology = Topology.load(TOPOLOGIES / "five-modes.yaml")
    guarantees = guarantees_for(topology)

    def without(chain: NftChain) -> NftChain:
        rules = chain.rules[:number] + chain.rules[number + 1 :]
        return replace(chain, rules=rules) if chain.name == "forward" else chain

    state = with_chains(compile_topology(topology), "hv1", without)
    predictions = predict(topology, state, guarantees)
    wrong = [g for g, p in zip(guarantees, predictions, strict=True) if differences(g, p)]
    assert wrong, name


def with_chains(state: State, name: str, change: Callable[[NftChain], NftChain]) -> State:
    namespace = state.namespace(name)
    tables = tuple(replace(t, chains=tuple(change(c) for c in t.chains)) for t in namespace.tables)
    return with_namespace(state, replace(namespace, tables=tables))


def with_namespace(state: State, changed: Namespace) -> State:
    return State(tuple(changed if n.name == changed.name else n for n in state.namespaces))


# A small world: a - r - b, where r routes between two links, all of it made by hand.


def end(name: str, peer: str, peer_device: str, address: str, via: str) -> Namespace:
    return Namespace(
        name,
        "vm",
        links=(Veth(name="eth0", mac=mac_of(name), peer_namespace=peer, peer=peer_device),),
        addresses=(Address("eth0", ip_interface(address)),),
        routes=(StaticRoute(ip_network("0.0.0.0/0"), ip_address(via), "eth0"),),
    )


def mac_of(name: str) -> str:
    return f"02:00:00:00:00:{ord(name[0]):02x}"


def router(*rules: str, hook: str = "type filter hook forward priority 0; policy accept;") -> Namespace:
    chain = NftChain("c", hook, tuple(NftRule(rule, rule) for rule in rules))
    return Namespace(
        "r",
        "host",
        links=(
            Veth(name="left", mac="02:00:00:00:01:01", peer_namespace="a", peer="eth0"),
            Veth(name="right", mac="02:00:00:00:01:02", peer_namespace="b", peer="eth0"),
        ),
        addresses=(
            Address("left", ip_interface("10.0.1.1/24")),
            Address("right", ip_interface("10.0.2.1/24")),
        ),
        sysctls=tuple(Sysctl(f"net/ipv4/conf/{d}/forwarding", "1") for d in ("left", "right")),
        tables=(NftTable("inet", "t", (chain,)),) if rules else (),
    )


def small(middle: Namespace) -> State:
    return State(
        (
            end("a", "r", "left", "10.0.1.2/24", "10.0.1.1"),
            middle,
            end("b", "r", "right", "10.0.2.2/24", "10.0.2.1"),
        )
    )


ECHO = Flow(Family.IPV4, Protocol.ICMP, ip_address("10.0.2.2"), ip_address("10.0.1.2"), 7)
TCP = replace(ECHO, protocol=Protocol.TCP, source_port=50000, destination_port=80)
UDP = replace(TCP, protocol=Protocol.UDP, destination_port=53)


def ask(state: State, flow: Flow = ECHO, source: str = "a", destination: str = "b") -> Prediction:
    sockets = (Sockets("b", frozenset({("tcp", 80), ("udp", 53)})),)
    model = Model(state, sockets=sockets)
    return model.send(source, flow).prediction(destination, is_host=destination == "r")


def test_a_packet_and_its_answer_are_followed_over_a_router() -> None:
    for flow in (ECHO, TCP, UDP):
        found = ask(small(router()), flow)
        assert (found.outcome, found.answered) == (Outcome.DELIVERED, True)
        assert found.received is not None
        assert (found.received.ttl, found.received.source_mac) == (63, "02:00:00:00:01:02")


def test_a_closed_port_refuses() -> None:
    for flow in (TCP, UDP):
        assert ask(small(router()), replace(flow, destination_port=9)).outcome is Outcome.REFUSED


def test_a_host_that_does_not_forward_is_silent() -> None:
    found = ask(small(replace(router(), sysctls=())))
    assert (found.outcome, found.reason) == (Outcome.SILENT, "r: route: left does not forward: drop")


def test_a_setting_of_all_is_one_of_every_device_until_it_says_otherwise() -> None:
    every = Sysctl("net/ipv4/conf/all/forwarding", "1")
    off = Sysctl("net/ipv4/conf/left/forwarding", "0")
    for sysctls, outcome in (
        ((every,), Outcome.DELIVERED),
        ((off, every), Outcome.DELIVERED),
        ((every, off), Outcome.SILENT),
    ):
        assert ask(small(replace(router(), sysctls=sysctls))).outcome is outcome


def test_a_spent_ttl_is_told() -> None:
    found = ask(small(router()), replace(ECHO, ttl=1))
    assert (found.outcome, found.error_code) == (Outcome.REJECTED, "ttl-exceeded")
    assert found.error_from == ip_address("10.0.1.1")


def test_a_packet_too_big_for_the_next_link_is_told() -> None:
    middle = router()
    narrow = replace(middle, links=(middle.links[0], replace(middle.links[1], mtu=1280)))
    assert ask(small(narrow), replace(ECHO, size=1400)).error_code == "frag-needed"
    assert ask(small(narrow), replace(ECHO, size=1280)).outcome is Outcome.DELIVERED


def test_nobody_at_the_next_hop_is_not_reached() -> None:
    found = ask(small(router()), replace(ECHO, destination_address=ip_address("10.0.2.9")))
    assert found.outcome is Outcome.SILENT
    assert "nobody on right has 10.0.2.9" in found.reason


def test_a_permanent_neighbour_is_believed() -> None:
    wrong = Neighbour("right", ip_address("10.0.2.2"), "02:00:00:00:00:77")
    assert ask(small(replace(router(), neighbours=(wrong,)))).outcome is Outcome.SILENT


def test_a_device_that_is_down_passes_nothing() -> None:
    middle = router()
    down = replace(middle, links=(middle.links[0], replace(middle.links[1], up=False)))
    assert ask(small(down)).outcome is not Outcome.DELIVERED


@pytest.mark.parametrize(
    ("rule", "outcome", "code"),
    [
        ("ip saddr 10.0.1.0/24 drop", Outcome.SILENT, ""),
        ("ip saddr != 10.0.1.0/24 drop", Outcome.DELIVERED, ""),
        ("icmp type echo-request reject with icmpx admin-prohibited", Outcome.REJECTED, "admin-prohibited"),
        ('iifname "left" oifname "right" ip ttl 63 reject', Outcome.REJECTED, "port-unreachable"),
        ("iifname { left, x } meta l4proto { tcp, udp } drop", Outcome.DELIVERED, ""),
        ("ct state established drop", Outcome.DELIVERED, ""),
        ("ct state new drop", Outcome.SILENT, ""),
        ("meta l4proto vmap { tcp : accept, icmp : drop }", Outcome.SILENT, ""),
        ("ip saddr . ip daddr { 10.0.1.2 . 10.0.2.0/24 } drop", Outcome.SILENT, ""),
        ("fib saddr . iif oif missing drop", Outcome.DELIVERED, ""),
        ("ip6 saddr != ::1 drop", Outcome.DELIVERED, ""),
    ],
)
def test_rules_are_evaluated(rule: str, outcome: Outcome, code: str) -> None:
    found = ask(small(router(rule)))
    assert (found.outcome, found.error_code) == (outcome, code)


def test_an_answer_is_stopped_by_its_state() -> None:
    found = ask(small(router("ct state established ct direction reply drop")))
    assert (found.outcome, found.answered) == (Outcome.DELIVERED, False)


def test_what_is_not_known_is_never_guessed() -> None:
    found = ask(small(router("meta cpu 0 drop")))
    assert found.outcome is None
    assert "meta cpu" in found.reason


def test_what_is_not_known_does_not_matter_to_packets_that_never_meet_it() -> None:
    assert ask(small(router("tcp dport 22 meta cpu 0 drop"))).outcome is Outcome.DELIVERED
    assert ask(small(router("ip saddr 10.9.9.9 limit rate 1/second drop"))).outcome is Outcome.DELIVERED


def test_what_a_state_has_no_word_for_is_not_guessed_either() -> None:
    found = ask(small(replace(router(), beyond=("policy rule 100",))))
    assert found.outcome is None
    assert "r: policy rule 100" in found.reason


def test_what_a_port_is_told_otherwise_is_not_guessed_either() -> None:
    own = router()
    links = tuple(replace(link, options=(Option("hairpin", 1),)) for link in own.links[:1])
    found = ask(small(replace(own, links=(*links, *own.links[1:]))))
    assert found.outcome is None
    assert "has hairpin 1" in found.reason


def test_of_equal_priorities_the_last_chain_comes_first() -> None:
    hook = "type filter hook forward priority 0; policy accept;"
    first = NftTable("inet", "one", (NftChain("c", hook, (NftRule("drop", "one"),)),))
    last = NftTable("inet", "two", (NftChain("c", hook, (NftRule("reject", "two"),)),))
    found = ask(small(replace(router(), tables=(first, last))))
    assert found.outcome is Outcome.REJECTED


def test_masquerade_is_undone_for_answers_and_errors() -> None:
    hook = "type nat hook postrouting priority srcnat; policy accept;"
    middle = router('oifname "right" masquerade', hook=hook)
    found = ask(small(middle), UDP)
    assert found.received is not None
    assert found.received.source_address == ip_address("10.0.2.1")
    assert found.answered
    closed = ask(small(middle), replace(UDP, destination_port=9))
    assert (closed.outcome, closed.error_from) == (Outcome.REFUSED, ip_address("10.0.2.2"))


def test_a_forwarded_port_reaches_its_machine() -> None:
    hook = "type nat hook prerouting priority dstnat; policy accept;"
    middle = router("tcp dport 8080 dnat ip to 10.0.2.2:80", hook=hook)
    flow = replace(TCP, destination_address=ip_address("10.0.1.1"), destination_port=8080)
    found = ask(small(middle), flow)
    assert (found.outcome, found.answered) == (Outcome.DELIVERED, True)
    assert found.received is not None
    assert found.received.destination_port == 80


@pytest.mark.parametrize(("ignore", "answered"), [("0", True), ("1", False), ("2", False), ("8", False)])
def test_who_answers_arp_for_an_address_of_another_device(ignore: str, answered: bool) -> None:
    setting = Sysctl("net/ipv4/conf/all/arp_ignore", ignore)
    question = Flow(
        Family.IPV4, Protocol.RESOLUTION, ip_address("10.0.2.1"), ip_address("10.0.1.2"), out_nic="eth0"
    )
    found = ask(small(replace(router(), sysctls=(setting,))), question, destination="r")
    assert found.answered is answered


def switch(*isolated: str) -> State:
    ports = tuple(
        Veth(
            name=f"p{n}",
            mac=f"fe:00:00:00:00:{ord(n):02x}",
            master="br",
            isolated=n in isolated,
            peer_namespace=n,
            peer="eth0",
        )
        for n in "abc"
    )
    bridge = Bridge(name="br", mac="02:00:00:00:02:00")
    ends = tuple(end(n, "s", f"p{n}", f"10.0.1.{i}/24", "10.0.1.1") for i, n in enumerate("abc", start=2))
    return State((Namespace("s", "segment", links=(bridge, *ports)), *ends))


def test_isolated_ports_reach_only_others() -> None:
    near = replace(ECHO, destination_address=ip_address("10.0.1.3"))
    assert ask(switch(), near).outcome is Outcome.DELIVERED
    assert ask(switch("a"), near).outcome is Outcome.DELIVERED
    assert ask(switch("a", "b"), near).outcome is Outcome.SILENT


def test_bridges_in_a_ring_are_a_loop() -> None:
    """Two switches joined by two cables, without spanning tree, carry a broadcast for ever."""

    def joined(name: str, other: str) -> Namespace:
        cables = tuple(
            Veth(name=f"x{n}", mac=f"fe:00:00:00:{ord(name):02x}:{n:02x}", master="br", peer_namespace=other,
                 peer=f"x{n}")
            for n in (1, 2)
        )  # fmt: skip
        bridge = Bridge(name="br", mac=f"02:00:00:00:02:{ord(name):02x}")
        tail = Veth(name="p", mac="fe:00:00:00:00:99", master="br", peer_namespace="a", peer="eth0")
        return Namespace(name, "segment", links=(bridge, *cables, *((tail,) if name == "s" else ())))

    state = State((joined("s", "t"), joined("t", "s"), end("a", "s", "p", "10.0.1.2/24", "10.0.1.1")))
    question = replace(ECHO, destination_address=ip_address("255.255.255.255"), out_nic="eth0")
    found = ask(state, question)
    assert (found.outcome, found.reason) == (None, "it goes round for ever")


def test_the_command_shows_agreement(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["predict", str(TOPOLOGIES / "nat.yaml"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    count = len(found["predictions"])
    assert found["summary"] == {"agree": count, "differ": 0, "unknown": 0}
    assert {p["predicted"] for p in found["predictions"]} <= {str(outcome) for outcome in Outcome}
    assert cli.run(["predict", str(TOPOLOGIES / "nat.yaml")]) == 0
    assert f"{count} guarantees: promise and model: {count} agree" in capsys.readouterr().out


def test_the_command_tells_of_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wrong.yaml"
    text = (TOPOLOGIES / "host-only.yaml").read_text()
    names = list(Topology.load(TOPOLOGIES / "host-only.yaml").vms)
    wish = f"  - {{from: {names[0]}, to: {names[1]}, protocol: udp, port: 5000, outcome: silent}}\n"
    file.write_text(f"{text}\nexpect:\n{wish}" if "expect:" not in text else text + wish)
    assert cli.run(["predict", str(file)]) == 1
    out = capsys.readouterr().out
    assert "differ: expect.silent" in out
    assert "delivered instead of silent" in out
