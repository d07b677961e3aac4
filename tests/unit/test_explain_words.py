"""The pure parts of `explain`: questions, rows beside each other, rule names, and what marks a packet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from vnetlab import Topology
from vnetlab.cli.main import run
from vnetlab.compile import compile_topology
from vnetlab.errors import UserError
from vnetlab.explain.answer import tell_of
from vnetlab.explain.compare import Row, compare
from vnetlab.explain.event import Event, Header, What
from vnetlab.explain.lexicon import Lexicon
from vnetlab.explain.question import Words, guarantee_of
from vnetlab.explain.steps import in_order
from vnetlab.guarantees import Outcome, Special
from vnetlab.kernel.trace import Hooks, marking_table, rule_labels
from vnetlab.names import port
from vnetlab.predict.packet import Packet, Role
from vnetlab.predict.walk import Arrival
from vnetlab.probe.follow import single, tag_matches
from vnetlab.probe.frames import Frames
from vnetlab.topology.model import Family

TEXT = """
name: small
segments:
  lan: {subnets: [192.0.2.0/24, "2001:db8::/64"]}
hosts:
  hv1:
    nics: {eth0: lan}
    networks:
      home: {mode: nat, uplink: eth0, subnets: [10.40.0.0/24]}
      vault: {mode: isolated, subnets: [10.10.0.0/24]}
    vms:
      web: home
      cam: home
      safe1: vault
      safe2: {networks: [vault], backend: tap}
machines:
  peer: lan
  other: lan
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("webb", "peer"), "small has no node webb; did you mean web?"),
        (("web", "peeer"), "small has no node peeer; did you mean peer?"),
        (("web", "xyz"), "small has no node xyz; its nodes are hv1, web, cam"),
        (("web", "web"), "source and destination are one node"),
        (("web", "peer", "--port", "80"), "icmp has no ports"),
        (("web", "peer", "--protocol", "tcp"), "add one, such as --port 443"),
        (("web", "peer", "--family", "ipv6"), "no address family in common"),
        (("web", "2001:db8::5"), "no address family in common"),
        (("web", "224.0.0.1"), "unicast"),
        (("web", "peer", "--source", "nobody"), "is no IP address"),
        (("safe2", "192.0.2.99"), "behind a tap"),
        (("web", "peer", "--protocol", "sctp"), "sctp"),
        (("web",), "Missing argument"),
    ],
)
def test_usage(
    file: str, arguments: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "--file", file, *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert complaint in shown.err


def test_json_of_a_file(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "--file", file, "safe1", "peer", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["lab"] is None
    assert found["observed"] is None
    assert found["predicted"] == found["declared"]
    end = found["predicted"]["end"]
    assert (end["outcome"], end["node"], end["network"]) == ("silent", "hv1", "hv1/vault")
    assert end["place"] == f"{file}:10"
    assert end["decided_by"].startswith("ingress: netdev vnetlab ")
    steps = found["predicted"]["steps"]
    assert [step["node"] for step in steps] == ["safe1", "hv1", "hv1"]
    assert found["promise"]["kept"] is True


def test_an_unknown_rule_ends_with_one(file: str) -> None:
    topology = Topology.load(file)
    state = compile_topology(topology)
    hosts = [n for n in state.namespaces if n.kind == "host"]
    odd = [replace(n, beyond=("a policy rule",)) if n in hosts else n for n in state.namespaces]
    told = tell_of(
        topology, guarantee_of(topology, Words("web", "peer")), replace(state, namespaces=tuple(odd))
    )
    assert told.end.outcome is None
    assert "does not know" in told.end.sentence()


def test_the_family_is_the_first_that_works() -> None:
    topology = Topology.parse(TEXT)
    assert guarantee_of(topology, Words("web", "peer")).flow.family is Family.IPV4
    assert guarantee_of(topology, Words("other", "peer", family="ipv6")).flow.family is Family.IPV6
    assert guarantee_of(topology, Words("other", "2001:db8::99")).flow.family is Family.IPV6
    with pytest.raises(UserError):
        guarantee_of(topology, Words("web", "peer", family="ipv6"))


def test_who_sends() -> None:
    """A kernel of ours routes and resolves by itself; a guest's frame, and a crafted one, name a MAC."""
    topology = Topology.parse(TEXT)
    own = guarantee_of(topology, Words("web", "peer")).flow
    assert (own.next_hop_mac, own.out_nic) == ("", "")
    assert guarantee_of(topology, Words("safe2", "safe1")).flow.next_hop_mac
    crafted = guarantee_of(topology, Words("safe1", "peer")).flow
    assert crafted.special is Special.CRAFTED
    assert crafted.next_hop_mac


def test_an_address_is_asked_for_at_its_owner() -> None:
    topology = Topology.parse(TEXT)
    (own,) = topology.vms["web"].nics[0].addresses
    found = guarantee_of(topology, Words("cam", str(own.ip)))
    assert (found.destination, found.expected) == ("web", Outcome.DELIVERED)
    assert guarantee_of(topology, Words("web", "192.0.2.99")).destination == ""


HEADER = Header("10.0.0.1", "10.0.0.2", 0, 0, 64)


def event(node: str, thing: str, verdict: str = "", role: str = "request") -> Event:
    return Event(What.CHAIN if verdict else What.FRAME, node, thing, verdict, role, HEADER)


def test_equal_events_are_one_row_each() -> None:
    events = (event("hv1", "vp1"), event("hv1", "forward: a", "accept"), event("web", "eth0"))
    assert compare(events, events[::-1]) == tuple(Row(e, e) for e in events)


def test_one_event_is_no_proof_of_two() -> None:
    twice = (event("hv1", "vp1"), event("hv1", "vp1"))
    assert [row.agrees for row in compare(twice, twice[:1])] == [True, False]


def test_what_happened_instead_stands_beside_what_did_not() -> None:
    arrives, accepts, leaves = event("hv1", "vp1"), event("hv1", "srcnat: a", "accept"), event("gw", "eth0")
    drops = event("hv1", "leak: a", "drop")
    assert compare((arrives, accepts, leaves), (arrives, drops)) == (
        Row(arrives, arrives),
        Row(accepts, drops),
        Row(leaves, None),
    )


def test_what_nobody_predicted_stands_where_it_happened() -> None:
    arrives, drops = event("hv1", "vp1"), event("hv1", "forward: policy", "drop")
    leak, answer = event("gw", "eth0"), event("hv1", "eth0", role="answer")
    rows = compare((arrives, drops), (answer, arrives, drops, leak))
    assert rows[:2] == (Row(arrives, arrives), Row(drops, drops))
    assert set(rows[2:]) == {Row(None, leak), Row(None, answer)}


def test_another_header_is_another_event() -> None:
    seen = event("web", "eth0")
    rows = compare((seen,), (replace(seen, header=replace(HEADER, ttl=63)),))
    assert [row.agrees for row in rows] == [False]


LISTING = """
table inet vnetlab { # handle 1
	set allowed { # handle 9
		type ipv4_addr
		elements = { 192.0.2.1 }
	}

	chain forward { # handle 2
		type filter hook forward priority filter; policy drop;
		iifname "vb1" counter packets 3 bytes 108 accept comment "home: VM to the LAN" # handle 7
		ip saddr { 10.0.0.1, 10.0.0.2 } counter packets 0 bytes 0 drop # handle 8
	}
}
table bridge vnetlab { # handle 3
	chain forward { # handle 1
		iifname "a" drop comment "office: port isolation" # handle 2
	}
}
"""


def test_rules_are_named_as_predictions_name_them() -> None:
    assert rule_labels(LISTING) == {
        ("inet vnetlab forward", 7): "home: VM to the LAN",
        ("inet vnetlab forward", 8): "ip saddr { 10.0.0.1, 10.0.0.2 } drop",
        ("bridge vnetlab forward", 2): "office: port isolation",
    }


def test_marking_tables_have_an_owner() -> None:
    texts = marking_table("t", ("meta l4proto udp",), Hooks(("vb1",), bridge=True))
    assert [text.split()[1] for text in texts] == ["inet", "bridge", "netdev"]
    assert all("flags owner\n" in text for text in texts)
    assert texts[2].count('device "vb1"') == 2
    assert len(marking_table("t", ("meta l4proto udp",), Hooks())) == 1


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize("protocol", ["icmp", "udp", "tcp"])
def test_a_packet_has_the_tag_that_marks_it(protocol: str, family: str) -> None:
    """The first expression finds the packet itself: offset and value are read out of its bytes."""
    topology = Topology.parse(TEXT.replace("10.40.0.0/24", '10.40.0.0/24, "fd00:40::/64"'))
    words = Words("web", "peer", protocol, 0 if protocol == "icmp" else 99, family)
    flight = single(topology, guarantee_of(topology, words, 50001))
    nonce = 0x1234_5678
    (shot,) = flight.shots
    (packet,) = Frames(nonce).packets(0, shot, shot.source)
    bits, length, value = tag_matches(flight, nonce)[0].partition("@th,")[2].replace(",", " ").split()
    at = (20 if family == "ipv4" else 40) + int(bits) // 8
    assert int.from_bytes(packet[at : at + int(length) // 8], "big") == int(value)
    assert not flight.controls
    assert {station.name for station in flight.stations} == {"web", "peer"}


def test_the_lexicon_knows_every_device() -> None:
    topology = Topology.parse(TEXT)
    lexicon = Lexicon(topology)
    for namespace in compile_topology(topology).namespaces:
        for link in namespace.links:
            words = lexicon.device(namespace.name, link.name)
            assert words != link.name or link.name in ("eth0", "switch"), link.name
    assert lexicon.device("hv1", port("web", "eth0")) == "the port of web"


@pytest.mark.parametrize("question", [("web", "peer"), ("safe1", "peer"), ("cam", "web"), ("safe2", "safe1")])
def test_no_hop_of_the_model_is_lost(question: tuple[str, str]) -> None:
    topology = Topology.parse(TEXT)
    told = tell_of(topology, guarantee_of(topology, Words(*question)), compile_topology(topology))
    shown = [hop for step in told.steps for hop in step.hops]
    assert sorted(shown) == sorted(str(hop) for hop in told.journey.hops)


def test_arrivals_stand_between_the_hops_that_they_came_between() -> None:
    topology = Topology.parse(TEXT)
    told = tell_of(topology, guarantee_of(topology, Words("web", "peer")), compile_topology(topology))
    items = list(in_order(told.journey))
    assert len(items) == len(told.journey.hops) + len(told.journey.arrivals)
    payloads = [i.payload if isinstance(i, Arrival) else i.before for i in items]
    requests = [p for p in payloads if isinstance(p, Packet) and p.role is Role.REQUEST]
    assert [p.ttl for p in requests] == sorted((p.ttl for p in requests), reverse=True)
    roles = [p.role for p in payloads]
    assert roles == sorted(roles, key=[Role.REQUEST, Role.ANSWER].index)
