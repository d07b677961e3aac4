"""What rules of many kinds say of a packet, one rule at a time, without a kernel."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from msgspec.structs import replace

from vnetlab.kernel.read_tables import tables
from vnetlab.predict.conntrack import ESTABLISHED, NEW, Conntrack, Entry, Tracked, tuple_of
from vnetlab.predict.hooks import Hooks
from vnetlab.predict.nat import set_up
from vnetlab.predict.packet import ECHO_REQUEST, ICMP, SYN, SYN_ACK, TCP, UDP, Arp, Packet
from vnetlab.predict.parse import parse_rule
from vnetlab.predict.passage import Passage, Unknown
from vnetlab.predict.rules import Key, Lookup, SetField, SetMark, Translate
from vnetlab.predict.space import Space
from vnetlab.predict.tables import base_chains
from vnetlab.state import Namespace

SPACE = Space(Namespace("hv", "host"))
SOURCE, DESTINATION = int(ip_address("10.20.0.1")), int(ip_address("192.0.2.9"))
ASKED = Packet(4, SOURCE, DESTINATION, TCP, 50000, 80, SYN, 63)
ANSWER = Packet(4, DESTINATION, SOURCE, TCP, 80, 50000, SYN_ACK)
NAME = Packet(4, SOURCE, DESTINATION, UDP, 50000, 53, size=800)
ECHO = Packet(4, SOURCE, DESTINATION, ICMP, 7, kind=ECHO_REQUEST[4])


def said(
    rules: str, packet: Packet | Arp, tracked: Tracked | None = None, sets: str = "", mark: int = 0
) -> str:
    """Return `drop` or `accept`: what a chain of the rules says of a packet. Raises Unknown."""
    passage = Passage(SPACE, packet, "red", "office", mark=mark)
    passage.tracked = tracked
    return of_chain(rules, passage, sets)


def of_chain(rules: str, passage: Passage, sets: str = "") -> str:
    listing = (
        f"table inet t {{\n{sets}\nchain c {{\ntype filter hook forward priority filter; policy accept;\n"
    )
    (base,) = base_chains(tables(f"{listing}{rules}\n}}\n}}\n"))
    decision = base.ruleset.run(base.chain, passage)
    return getattr(decision.action, "kind", "reject")


@pytest.mark.parametrize(
    ("rule", "packet", "fits"),
    [
        ("tcp flags syn", ASKED, True),
        ("tcp flags syn", ANSWER, True),
        ("tcp flags == syn", ANSWER, False),
        ("tcp flags != syn", ANSWER, True),
        ("tcp flags ! ack", ANSWER, False),
        ("tcp flags ! ack", ASKED, True),
        ("tcp flags syn,ack / syn,ack", ANSWER, True),
        ("tcp flags & (syn|ack) == (syn|ack)", ASKED, False),
        ("tcp flags { syn, ack }", ANSWER, False),
        ("tcp flags { syn | ack }", ANSWER, True),
        ("ip saddr & 0.0.0.1 == 0.0.0.1", ASKED, True),
        ("ip daddr & 0.0.0.255 > 0.0.0.127", ASKED, False),
        ("ip saddr != 10.20.0.0-10.30.255.255", ASKED, False),
        ("udp dport & 61440 == 0", NAME, True),
        ("meta length > 1000", NAME, False),
        ("ip length 800", NAME, True),
        ("udp length 780", NAME, True),
        ("ip dscp != cs0", NAME, False),
        ("ip dscp { cs0, ef }", NAME, True),
        ("ip6 dscp cs0", NAME, False),
        ("ip hdrlength 5", NAME, True),
        ("vlan id 5", NAME, False),
        ("sctp dport != 5", NAME, False),
        ("th sport 2048", ECHO, True),
        ("meta l4proto . th dport { tcp . 22 }", ECHO, False),
        ('iif . oif { "red" . "office" }', NAME, True),
        ('iifname "re*"', NAME, True),
        ("ip saddr . tcp dport vmap { 10.20.0.0/24 . 80-90 : drop }", ASKED, True),
        ("icmp type . icmp code { echo-request . net-unreachable }", ECHO, True),
        ("ct mark != 9", ASKED, False),
        ("ct direction != reply", ASKED, False),
    ],
)
def test_matches(rule: str, packet: Packet, fits: bool) -> None:
    verdict = "" if "vmap" in rule else " drop"
    assert said(f"{rule}{verdict}", packet) == ("drop" if fits else "accept")


def test_an_unknown_match_counts_where_nothing_else_decides() -> None:
    rule = "limit rate over 10/second burst 5 packets tcp dport 22 drop"
    assert said(rule, ASKED) == "accept"
    assert said("meta cpu != 3 counter packets 0 bytes 0", ASKED) == "accept"
    for doubtful in ("limit rate 1 mbytes/second", "quota over 10 mbytes", "ct count over 3", "meta skuid 0"):
        with pytest.raises(Unknown, match=doubtful.split(" ")[0]):
            said(f"tcp dport 80 {doubtful} drop", ASKED)
    with pytest.raises(Unknown, match="hour"):
        said('meta hour "10:00"-"12:00" drop', ASKED)


@pytest.mark.parametrize(
    ("rule", "packet", "why"),
    [
        ("th dport 53 drop", ECHO, "checksum"),
        ("meta length > 100 drop", ASKED, "length"),
        ("tcp sport 1024 drop", replace(ASKED, source_port=1024, drawn=(1024, 2000)), "draws"),
    ],
)
def test_values_that_nobody_knows(rule: str, packet: Packet, why: str) -> None:
    with pytest.raises(Unknown, match=why):
        said(rule, packet)


def test_a_catch_all_is_asked_last() -> None:
    rule = "tcp dport vmap { * : drop, 80 : accept }"
    assert said(rule, ASKED) == "accept"
    assert said(rule, replace(ASKED, destination_port=81)) == "drop"


def test_a_mark_stays_where_its_rule_does_not_fit() -> None:
    assert said("meta mark set 1 tcp dport 22 accept\nmeta mark 1 drop", ASKED) == "drop"


def test_marks_are_made_of_marks_and_maps() -> None:
    passage = Passage(SPACE, ASKED, mark=0x107)
    of_chain("meta mark set meta mark & 0x0000000f | 0x00000010", passage)
    assert passage.mark == 0x17
    of_chain("meta mark set tcp dport map { 22 : 0x1, 80 : 0x2 }", passage)
    assert passage.mark == 2
    assert of_chain("meta mark set udp dport map { 53 : 0x1 } drop", passage) == "accept"


def test_a_connection_has_a_mark_and_two_tuples() -> None:
    entry = Entry(tuple_of(ASKED))
    new, back = Tracked(NEW, entry), Tracked(ESTABLISHED, entry, is_reply=True)
    said("ct mark set 7", ASKED, new)
    assert said("ct mark 7 drop", ANSWER, back) == "drop"
    assert said("ct original ip daddr 192.0.2.9 ct reply proto-src 80 drop", ANSWER, back) == "drop"
    assert said("ct original ip6 daddr fd00::1 drop", ANSWER, back) == "accept"
    assert said("ct protocol tcp ct l3proto ipv4 drop", ASKED, new) == "drop"


def test_fields_that_are_set() -> None:
    passage = Passage(SPACE, ASKED)
    assert of_chain("ip ttl set 9 ip dscp set ef\nip dscp ef ip ttl 9 drop", passage) == "drop"
    assert passage.ip.ttl == 9
    assert of_chain("ip6 hoplimit set 3 drop", passage) == "accept"


def test_effects_are_parsed() -> None:
    assert parse_rule("ct mark set meta mark").effects == (SetMark(0, Key("meta", "mark"), connection=True),)
    assert parse_rule("ip6 hoplimit set 3").effects == (SetField(Key("ip6", "hoplimit"), 3),)
    assert "jhash" in parse_rule("meta mark set jhash ip saddr mod 2").unknown


def test_translations_by_map() -> None:
    action = parse_rule("dnat ip to tcp dport map { 80 : 10.0.0.2 . 8080 }").action
    assert isinstance(action, Translate)
    assert isinstance(action.lookup, Lookup)
    assert (action.version, action.fills, action.lookup.entries[0][1]) == (
        4,
        ("address", "port"),
        (0x0A000002, 8080),
    )
    ports = parse_rule("redirect to :tcp dport map { 80 : 443 }").action
    assert isinstance(ports, Translate)
    assert ports.fills == ("port",)


def test_a_source_port_outside_the_range_is_drawn() -> None:
    entry = Entry(tuple_of(ASKED))
    set_up(Translate("snat", 4, 1, (1024, 2000)), Passage(SPACE, ASKED), entry, source=True)
    assert (entry.reply.destination_port, entry.drawn) == (1024, (1024, 2000))
    set_up(Translate("dnat", 4, 1, (1024, 2000)), Passage(SPACE, ASKED), entry, source=False)
    assert entry.reply.source_port == 1024


def test_conntrack_works_for_the_families_that_ask_for_it() -> None:
    listing = """table inet t {
chain n {
type nat hook prerouting priority dstnat; policy accept;
RULE
}
}
"""
    for rule, versions in (("accept", ()), ("dnat ip to 10.0.0.1", (4,)), ("masquerade", (4, 6))):
        assert Hooks(base_chains(tables(listing.replace("RULE", rule)))).tracks == frozenset(versions)


def test_ingress_of_inet_lets_arp_pass() -> None:
    listing = (
        'table FAMILY t {\nchain c {\ntype filter hook ingress device "red" priority 0; policy drop;\n}\n}\n'
    )
    question = Arp(1, "02:00:00:00:00:01", 1, "00:00:00:00:00:00", 2)
    for family, stops in (("inet", False), ("netdev", True)):
        hooks = Hooks(base_chains(tables(listing.replace("FAMILY", family))))
        stop = hooks.at_device("ingress", "red", Passage(SPACE, question, "red"), lambda label, verdict: None)
        assert bool(stop) is stops


def test_named_sets_of_every_kind_are_read() -> None:
    sets = """set pairs {
typeof ip saddr . tcp dport
size 128
elements = { 10.20.0.1 . 80 counter packets 0 bytes 0 comment "a, b" }
}
set nets {
type ipv4_addr
flags interval
auto-merge
elements = { 192.0.2.0/24,
10.9.0.3-10.9.0.7 }
}
set seen {
type ipv4_addr
flags dynamic
}
counter hits {
packets 0 bytes 0
}"""
    rule = 'ip saddr . tcp dport @pairs ip daddr @nets counter name "hits" drop'
    assert said(rule, ASKED, sets=sets) == "drop"
    assert said("ip daddr != @nets drop", ASKED, sets=sets) == "accept"
    with pytest.raises(Unknown, match="@seen"):
        said("ip saddr @seen drop", ASKED, sets=sets)


def test_a_chain_with_the_priority_of_translation_is_unknown() -> None:
    listing = """table ip t {
chain n {
type nat hook postrouting priority srcnat; policy accept;
masquerade
}
chain f {
type filter hook postrouting priority srcnat; policy accept;
drop
}
}
"""
    hooks = Hooks(base_chains(tables(listing)))
    with pytest.raises(Unknown, match="which of them came first"):
        hooks.at_layer3("postrouting", Passage(SPACE, ASKED), Conntrack(), lambda label, verdict: None)
