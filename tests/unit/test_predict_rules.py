"""nft text understood: every rule that is written here or listed by nft, and what is left unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from vnetlab.compile import compile_topology
from vnetlab.predict.parse import parse_rule
from vnetlab.predict.rules import Key, NoTrack, Reject, SetMark, Translate, Verdict, VerdictMap
from vnetlab.predict.tables import parse_hook
from vnetlab.topology.model import Topology

TOPOLOGIES = Path(__file__).parents[2] / "topologies"


@pytest.mark.parametrize("file", sorted(TOPOLOGIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_compiled_rule_is_understood(file: Path) -> None:
    state = compile_topology(Topology.load(file))
    tables = [(table.family, table) for n in state.namespaces for table in n.tables]
    rules = [(family, rule) for family, table in tables for chain in table.chains for rule in chain.rules]
    parsed = [(rule.text, parse_rule(rule.text, family)) for family, rule in rules]
    assert [text for text, rule in parsed if rule.unknown or rule.action is None] == []


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("accept", Verdict("accept")),
        ("counter packets 3 bytes 180 drop", Verdict("drop")),
        ('log prefix "no: " level warn drop comment "why"', Verdict("drop")),
        ("jump other", Verdict("jump", "other")),
        ("reject", Reject("icmpx", "port-unreachable")),
        ("reject with tcp reset", Reject("tcp", "reset")),
        ("reject with icmp type host-unreachable", Reject("icmp", "host-unreachable")),
        ("reject with icmpx admin-prohibited", Reject("icmpx", "admin-prohibited")),
        ("masquerade to :1024-65535", Translate("masquerade", None, None, (1024, 65535))),
        ("dnat ip to 10.0.0.1:80", Translate("dnat", 4, 0x0A000001, (80, 80))),
        ("dnat ip6 to [fd00::1]:80", Translate("dnat", 6, (0xFD << 120) | 1, (80, 80))),
        ("snat to 10.0.0.1", Translate("snat", 4, 0x0A000001, None)),
        ("redirect to :8080", Translate("redirect", None, None, (8080, 8080))),
    ],
)
def test_actions(text: str, action: object) -> None:
    rule = parse_rule(text)
    assert (rule.action, rule.unknown) == (action, "")


def test_effects() -> None:
    assert parse_rule("meta mark set 0x10 notrack").effects == (SetMark(16), NoTrack())


def test_matches() -> None:
    rule = parse_rule(
        'iifname != { $lan, "lo" } tcp dport { 22, 80-90 } ct state new accept', defines={"lan": "eth0"}
    )
    names, ports, state = rule.matches
    assert names.operator == "!="
    assert names.members[0][0].exact == {"eth0", "lo"}
    wanted = ports.members[0][0]
    assert [wanted.has(port) for port in (22, 79, 80, 90, 91)] == [True, False, True, True, False]
    assert state.operator == "has"
    assert state.members[0][0].exact == {8}


def test_a_verdict_map() -> None:
    action = parse_rule("tcp dport vmap { 22 : accept, 23-25 : jump other }").action
    assert isinstance(action, VerdictMap)
    assert action.keys == (Key("tcp", "dport"),)
    assert [verdict for _, verdict in action.entries] == [Verdict("accept"), Verdict("jump", "other")]


@pytest.mark.parametrize(
    ("text", "why", "matches"),
    [
        ("tcp dport @ports accept", "@ports", 0),
        ("tcp dport 22 tcp option maxseg exists accept", "option", 1),
        ("dnat to ip saddr map @hosts", "@hosts", 0),
        ("dnat to 10.0.0.5-10.0.0.9", "10.0.0.5-10.0.0.9", 0),
        ("snat ip to 10.0.0.0/30", "10.0.0.0/30", 0),
        ("dnat to numgen inc mod 2 map { 0 : 10.0.0.1 }", "numgen", 0),
        ("tcp dport != 70-22 drop", "70-22", 0),
        ("flow add @fast", "flow", 0),
        ("@th,64,8 0x99 drop", "@th", 0),
        ("masquerade random", "random", 0),
        ("ct original bytes 10 accept", "original", 0),
        ("accept accept", "after a verdict", 0),
    ],
)
def test_what_is_not_understood_is_unknown(text: str, why: str, matches: int) -> None:
    rule = parse_rule(text)
    assert why in rule.unknown
    assert len(rule.matches) == matches


@pytest.mark.parametrize(
    ("text", "family", "priority"),
    [
        ("type filter hook prerouting priority raw + 10; policy accept;", "inet", -290),
        ("type nat hook postrouting priority srcnat; policy accept;", "ip", 100),
        ("type filter hook forward priority filter - 5; policy drop;", "bridge", -205),
        ("type filter hook input priority -10;", "inet", -10),
    ],
)
def test_priorities(text: str, family: str, priority: int) -> None:
    assert parse_hook(text, family).priority == priority


def test_devices_of_a_hook() -> None:
    text = 'type filter hook ingress devices = { "eth0", $other } priority -500; policy drop;'
    hook = parse_hook(text, "netdev", {"other": "eth1"})
    assert (hook.devices, hook.policy) == (("eth0", "eth1"), "drop")


def test_what_is_no_hook_is_refused() -> None:
    with pytest.raises(ValueError, match="no nftables hook"):
        parse_hook("type filter priority 0", "inet")
