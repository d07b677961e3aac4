"""Differences between the compiled State and one that was read back, told in words."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sabotage as s
from msgspec.structs import replace

from vnetlab.compile import compile_topology
from vnetlab.drift import drift
from vnetlab.state import Address, Namespace, Neighbour, NftChain, NftRule, NftTable, State
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Callable

NAT = compile_topology(Topology.load(Path(__file__).parents[2] / "topologies" / "nat.yaml"))


def _host(**changes: object) -> State:
    return s.in_namespace(NAT, "hv1", lambda n: replace(n, **changes))


def _down(state: State) -> State:
    return s.with_link(state, "hv1", lambda link: link.name == "eth0", lambda link: replace(link, up=False))


def _policy(state: State) -> State:
    return s.in_chain(
        state, "hv1", "forward", lambda c: replace(c, hook=c.hook.replace("policy drop", "policy accept"))
    )


def _reversed(state: State) -> State:
    return s.in_chain(state, "hv1", "forward", lambda c: replace(c, rules=c.rules[::-1]))


def test_a_state_does_not_differ_from_itself() -> None:
    assert drift(NAT, NAT) == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda n: s.without_rules(n, "hv1", "srcnat", "under the uplink"), "inet vnetlab srcnat lacks `"),
        (lambda n: s.with_rule(n, "hv1", "forward", "ip ttl 7 drop"), "forward: `sabotage` is there besides"),
        (lambda n: s.reworded(n, "hv1", "forward", ",related", ""), "says otherwise"),
        (_reversed, "inet vnetlab forward has its rules in another order"),
        (_policy, "chain inet vnetlab forward hooks in otherwise"),
        (lambda n: s.without_tables(n, "hv1", "inet"), "lacks table inet vnetlab"),
        (lambda n: s.with_table(n, "hv1", NftTable("ip", "x", ())), "has table ip x besides"),
        (
            lambda n: s.with_sysctl(n, "hv1", "net/ipv4/conf/eth0/rp_filter", "1"),
            "net/ipv4/conf/eth0/rp_filter is 1 instead of 0",
        ),
        (_down, "eth0 is down"),
        (lambda _: _host(routes=()), "lacks route 0.0.0.0/0 via "),
        (
            lambda _: _host(addresses=(Address("eth0", ip_interface("10.9.0.1/24")),)),
            "has address 10.9.0.1/24 of eth0 besides",
        ),
        (
            lambda _: _host(neighbours=(Neighbour("eth0", ip_address("10.9.0.2"), "02:00:00:00:00:02"),)),
            "has neighbour 10.9.0.2 at 02:00:00:00:00:02 dev eth0 besides",
        ),
        (lambda _: _host(links=()), "lacks device eth0"),
        (lambda _: _host(beyond=("policy rule 100",)), "has policy rule 100"),
    ],
)
def test_each_difference_is_told(change: Callable[[State], State], told: str) -> None:
    found = drift(NAT, change(NAT))
    assert all(text.startswith("hv1: ") for text in found)
    assert any(told in text for text in found), found


def test_namespaces_that_came_or_went() -> None:
    less = State(NAT.namespaces[:-1])
    assert drift(NAT, less) == (f"{NAT.namespaces[-1].name}: is gone",)
    assert drift(less, NAT) == (f"{NAT.namespaces[-1].name}: is there besides",)


def _one_rule(text: str, priority: str) -> State:
    hook = f"type filter hook forward priority {priority}; policy drop;"
    chain = NftChain("forward", hook, (NftRule(text, "no web"),))
    table = NftTable("inet", "t", (chain,), (("up", "eth0"),))
    return State((Namespace("h", "host", tables=(table,)),))


def test_the_same_rule_in_other_words_is_no_difference() -> None:
    """What nft lists it words otherwise than it was written."""
    written = _one_rule("iifname $up tcp dport 80 reject with icmpx admin-prohibited", "filter")
    listed = _one_rule('iifname "eth0" tcp dport 80 reject with icmpx type admin-prohibited', "0")
    assert written != listed
    assert drift(written, listed) == ()
