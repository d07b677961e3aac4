"""Why nothing can exercise an object of a lab: worked out from its State, never from its name. Pure.

A rule is out of reach where each way to it is shut: for every pair of devices that a packet could come and
go by, an earlier rule decides or translates all that it matches, or no packet of a family that it matches
goes that way. Where that cannot be shown there is no excuse, and the report says none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vnetlab.items import Item, ItemKind, rule_item
from vnetlab.predict.evaluate import fits_devices
from vnetlab.predict.fib import LOOPBACK
from vnetlab.predict.rules import Key, Reject, Translate, Verdict
from vnetlab.predict.space import Space
from vnetlab.predict.tables import understood

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnetlab.predict.rules import Chain, Match, Rule
    from vnetlab.state import State

_DEVICES = (Key("meta", "iifname"), Key("meta", "oifname"))
_FAMILY = Key("meta", "nfproto")
_NFPROTO = {4: 2, 6: 10}
_NO_ROUTE = Key("fib", "daddr oif")
_LAYER3 = ("inet", "ip", "ip6")
_SOURCE_TRANSLATED = 100  # NF_IP_PRI_NAT_SRC of linux/netfilter_ipv4.h
_FINAL = ("accept", "drop")


class _Way(NamedTuple):
    """What a packet at a hook may be: by which devices, of which family."""

    iif: str
    oif: str
    version: int


def why_not(state: State, items: Iterable[Item]) -> dict[Item, str]:
    """Return a sentence for each of the objects that nothing can exercise."""
    left: dict[str, set[Item]] = {}
    for item in items:
        if item.kind is ItemKind.RULE:
            left.setdefault(item.namespace, set()).add(item)
    found: dict[Item, str] = {}
    for namespace in state.namespaces:
        if namespace.name in left:
            found |= _Filter(Space(namespace)).reasons(left[namespace.name])
    return found


class _Filter:
    """The layer-3 rules of one namespace."""

    def __init__(self, space: Space) -> None:
        self._space = space
        chains = [chain for table in space.namespace.tables for chain in understood(table).values()]
        self._chains = [chain for chain in chains if chain.family in _LAYER3]
        self._walls = [chain for chain in chains if chain.family == "netdev" and chain.hook]
        self._ends = [d.name for d in space.devices.values() if not d.master]

    def reasons(self, items: set[Item]) -> dict[Item, str]:
        found = {}
        for chain in self._chains:
            for at, rule in enumerate(chain.rules):
                item = rule_item(self._space.name, chain.label, at + 1, rule.label)
                if item in items and chain.hook and (why := self._why(chain, at)):
                    found[item] = why
        return found

    def _why(self, chain: Chain, at: int) -> str:
        rule = chain.rules[at]
        if any(_is_only(match, _DEVICES[0], LOOPBACK) for match in rule.matches):
            return f"by lo comes only what {self._space.name} sends to itself, and no promise is about that"
        reasons: dict[str, None] = {}
        for way in self._ways(chain):
            if not _fits(rule, way):
                continue
            why = self._shut(chain, at, way)
            if not why:
                return ""
            reasons[why] = None
        return "; ".join(reasons) or "no device of the host is one that it names"

    def _ways(self, chain: Chain) -> Iterator[_Way]:
        assert chain.hook is not None
        name = chain.hook.name
        incoming = self._ends if name != "output" else [""]
        if name in ("forward", "postrouting"):
            incoming = [device for device in incoming if device != LOOPBACK]  # martians all
        outgoing = self._ends if name in ("forward", "output", "postrouting") else [""]
        if name == "postrouting":
            incoming = [*incoming, ""]
        versions = {"ip": (4,), "ip6": (6,)}.get(chain.family, (4, 6))
        for iif in incoming:
            for oif in outgoing:
                yield from (_Way(iif, oif, version) for version in versions)

    def _shut(self, chain: Chain, at: int, way: _Way) -> str:
        """Return why nothing that a rule matches comes to it on a way; empty if something may."""
        rule = chain.rules[at]
        for earlier in chain.rules[:at]:
            if _is_final(earlier) and _covers(earlier, rule, way):
                return f"`{earlier.label}` decides before it"
        return (
            self._no_family(way)
            or self._dropped(chain, rule, way)
            or self._translated(chain, rule, way)
            or self._all_routed(rule, way)
        )

    def _no_family(self, way: _Way) -> str:
        entries = self._space.fib(way.version).devices_routed
        if way.oif and way.oif != LOOPBACK and way.oif not in entries:
            return f"no IPv{way.version} route of {self._space.name} leads out of {self._called(way.oif)}"
        return ""

    def _dropped(self, chain: Chain, rule: Rule, way: _Way) -> str:
        """Find a chain that every packet from a device passes before, and that drops it."""
        assert chain.hook is not None
        for other in self._passed_before(chain, way):
            for each in other.rules:
                if _drops(each) and _covers(each, rule, way._replace(oif="")):
                    return f"`{each.label}` drops it before"
                if _is_final(each) and _fits(each, way._replace(oif="")):
                    break
        return ""

    def _passed_before(self, chain: Chain, way: _Way) -> Iterator[Chain]:
        """Yield the chains that filter all that comes in by a device, before a chain's own hook."""
        assert chain.hook is not None
        for wall in self._walls:
            if wall.hook and wall.hook.name == "ingress" and way.iif in wall.hook.devices:
                yield wall
        for other in self._chains:
            hook = other.hook
            if not way.iif or hook is None or hook.name != "prerouting" or hook.kind != "filter":
                continue
            if chain.hook.name != "prerouting" or hook.priority < chain.hook.priority:
                yield other

    def _translated(self, chain: Chain, rule: Rule, way: _Way) -> str:
        """Find a translation that gives all that a rule matches another source before."""
        assert chain.hook is not None
        if chain.hook.name != "postrouting" or chain.hook.priority <= _SOURCE_TRANSLATED:
            return ""
        for other in self._chains:
            if other.hook is None or (other.hook.kind, other.hook.name) != ("nat", "postrouting"):
                continue
            for each in other.rules:
                source = isinstance(each.action, Translate) and each.action.kind in ("masquerade", "snat")
                if source and _covers(each, rule, way):
                    return f"`{each.label}` gives all that it matches another source before"
        return ""

    def _all_routed(self, rule: Rule, way: _Way) -> str:
        if not any(match.keys == (_NO_ROUTE,) for match in rule.matches):
            return ""
        default = next((r for r in self._space.namespace.routes if _is_default(r.prefix, way.version)), None)
        return f"{self._space.name} has a route to every address: {default}" if default else ""

    def _called(self, device: str) -> str:
        found = next((link.altname for link in self._space.namespace.links if link.name == device), "")
        return found or device


def _is_default(prefix: object, version: int) -> bool:
    return str(prefix) == {4: "0.0.0.0/0", 6: "::/0"}[version]


def _fits(rule: Rule, way: _Way) -> bool:
    """Tell whether a packet on the way can match, as far as devices and family say."""
    return fits_devices(rule, way.iif, way.oif) and all(_admits(match, way) for match in rule.matches)


def _admits(match: Match, way: _Way) -> bool:
    version = {"ip": 4, "icmp": 4, "ip6": 6, "icmpv6": 6}.get(match.keys[0].group)
    if match.keys == (_FAMILY,):
        has = any(member[0].has(_NFPROTO[way.version]) for member in match.members)
        return has is (match.operator == "==")
    return version is None or version == way.version


def _covers(earlier: Rule, later: Rule, way: _Way) -> bool:
    """Tell whether all that the later rule matches on a way the earlier one matches too."""
    if earlier.unknown or not _fits(earlier, way):
        return False
    needed = [m for m in earlier.matches if m.keys[0] not in _DEVICES and m.keys != (_FAMILY,)]
    return all(match in later.matches for match in needed)


def _is_final(rule: Rule) -> bool:
    action = rule.action
    return isinstance(action, Reject) or (isinstance(action, Verdict) and action.kind in _FINAL)


def _drops(rule: Rule) -> bool:
    return isinstance(rule.action, Reject) or rule.action == Verdict("drop")


def _is_only(match: Match, key: Key, value: str) -> bool:
    exact = [member[0].exact for member in match.members]
    return match.keys == (key,) and match.operator == "==" and exact == [frozenset({value})]
