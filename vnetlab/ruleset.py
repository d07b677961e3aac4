"""The nftables tables of a host, put together from what its networks add. Pure.

One table of family inet holds all layer-3 rules of a host, so that one transaction changes them together.
Rejected: a table for each network. Base chains of one priority are all evaluated and a drop in any of them
is final, so an accept in one table could not open what another table's policy closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.modes.base import UNROUTABLE, Objects, Rules, devices
from vnetlab.state import NftChain, NftRule, NftTable

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE = "vnetlab"
OUTSIDERS = "outsider to where the host has no route"
"""Comment of the rule that speaks for the host's own LAN side."""
_UNROUTABLE_HOOK = "type filter hook prerouting priority -290; policy accept;"
"""Right behind the guard (-300), which has the first word."""


def tables_for(parts: Sequence[Objects], uplinks: Sequence[str]) -> tuple[NftTable, ...]:
    """Return the tables of a host from the objects of its networks; none where no network has rules.

    ``uplinks`` are the devices towards segments. On all of them, forwarding or not: an IPv6 host answers
    "no route" even where it does not forward (`ip6_pkt_discard` in the kernel's net/ipv6/route.c).
    """
    rules = sum((part.rules for part in parts), _outsiders(uplinks))
    found: list[NftTable] = []
    chains = tuple(chain for chain in _inet_chains(rules) if chain.rules)
    if rules != Rules():
        found.append(NftTable("inet", TABLE, chains))
    walls = tuple(chain for part in parts for chain in part.netdev_chains)
    if walls:
        found.append(NftTable("netdev", TABLE, walls))
    isolation = tuple(rule for part in parts for rule in part.bridge_rules)
    if isolation:
        found.append(NftTable("bridge", TABLE, (_isolation(isolation),)))
    return tuple(found)


def router_table() -> NftTable:
    """Return the table of a router between segments, which answers whatever it has no route for."""
    rule = NftRule(f"{UNROUTABLE} reject with icmpx no-route", "no route")
    return NftTable("inet", TABLE, (NftChain("unroutable", _UNROUTABLE_HOOK, (rule,)),))


def _outsiders(uplinks: Sequence[str]) -> Rules:
    if not uplinks:
        return Rules()
    match = f"iifname {devices(uplinks)} {UNROUTABLE}"
    return Rules(unroutable=(NftRule(f"{match} drop", OUTSIDERS),))


def _inet_chains(rules: Rules) -> tuple[NftChain, ...]:
    return (
        NftChain(
            "guard",
            # Before conntrack (-200), which would keep an entry for every forged packet.
            "type filter hook prerouting priority -300; policy accept;",
            rules.guard,
            "Sources that cannot be: silence, since an ICMP error would go to whoever was named.",
        ),
        NftChain(
            "unroutable",
            _UNROUTABLE_HOOK,
            rules.unroutable,
            "Destinations without a route are denied like any other, and as reliably.",
        ),
        NftChain("dstnat", "type nat hook prerouting priority dstnat; policy accept;", rules.dstnat),
        NftChain("dstnat-local", "type nat hook output priority -100; policy accept;", rules.dstnat_local),
        NftChain(
            "input",
            "type filter hook input priority filter; policy accept;",
            _input(rules),
            "Who reaches which address of the host; its LAN addresses are its own affair.",
        ),
        NftChain(
            "forward",
            "type filter hook forward priority filter; policy drop;",
            rules.forward + rules.forward_deny + rules.forward_deny_inbound,
            "The host is a router for the flows named here and for nothing else.",
        ),
        NftChain("srcnat", "type nat hook postrouting priority srcnat; policy accept;", rules.srcnat),
        NftChain(
            "leak",
            # Right behind srcnat (100), so it sees the source that would be on the wire.
            "type filter hook postrouting priority 110; policy accept;",
            rules.leak,
            "What the translation missed.",
        ),
    )


def _input(rules: Rules) -> tuple[NftRule, ...]:
    if not rules.input:
        return ()
    first = (
        NftRule('iifname "lo" accept', "the host to itself"),
        NftRule("ct state established,related accept", "answers to flows that the host began"),
    )
    return first + rules.input + rules.input_deny + rules.input_private


def _isolation(rules: tuple[NftRule, ...]) -> NftChain:
    return NftChain(
        "forward",
        "type filter hook forward priority filter; policy accept;",
        rules,
        "Frames between ports of one network that has port isolation.",
    )
