"""Why nothing can exercise an object of a lab: worked out from its State, never from its name. Pure.

A rule is out of reach where each way to it is shut: for every pair of devices that a packet could come and
go by, an earlier rule decides on all that it matches, or no packet of a family that it matches
goes that way. Where that cannot be shown there is no excuse, and the report says none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vnetlab.items import Item, ItemKind, rule_item
from vnetlab.mute import mute_ports
from vnetlab.predict.evaluate import fits_devices
from vnetlab.predict.fib import LOOPBACK
from vnetlab.predict.packet import is_link_local
from vnetlab.predict.rules import Key, Reject, Verdict
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
_FINAL = ("accept", "drop")


class _Way(NamedTuple):
    """What a packet at a hook may be: by which devices, of which family."""

    iif: str
    oif: str
    version: int


class _Shut(NamedTuple):
    """Why nothing comes to a rule on one way."""

    how: str
    by: str = ""


def why_not(state: State, items: Iterable[Item]) -> dict[Item, str]:
    """Return a sentence for each of the objects that nothing can exercise."""
    left: dict[str, set[Item]] = {}
    found: dict[Item, str] = {}
    mute = mute_ports(state)
    for item in items:
        if item.kind is ItemKind.RULE:
            left.setdefault(item.namespace, set()).add(item)
        elif item in mute:
            found[item] = mute[item]
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
        reasons: dict[str, dict[str, None]] = {}
        for way in self._ways(chain):
            if not _fits(rule, way):
                continue
            why = self._shut(chain, at, way)
            if not why:
                return ""
            reasons.setdefault(why.how, {})[why.by] = None
        told = (f"{how} {', '.join(by)}".rstrip() for how, by in reasons.items())
        return "; ".join(told) or "no device of the host is one that it names"

    def _ways(self, chain: Chain) -> Iterator[_Way]:
        assert chain.hook is not None
        name = chain.hook.name
        incoming = self._ends if name != "output" else [""]
        if name in ("forward", "postrouting"):
            incoming = [device for device in incoming if device != LOOPBACK]  # martians all
        outgoing = self._ends if name in ("forward", "output", "postrouting") else [""]
        if name == "forward":
            outgoing = [device for device in outgoing if device != LOOPBACK]
        if name == "postrouting":
            incoming = [*incoming, ""]
        versions = {"ip": (4,), "ip6": (6,)}.get(chain.family, (4, 6))
        for iif in incoming:
            for oif in outgoing:
                yield from (_Way(iif, oif, version) for version in versions)

    def _shut(self, chain: Chain, at: int, way: _Way) -> _Shut | None:
        """Return why nothing that a rule matches comes to it on a way; None if something may."""
        rule = chain.rules[at]
        for earlier in chain.rules[:at]:
            if _is_final(earlier) and self._covers(earlier, rule, way):
                return _Shut("decided before by", f"`{earlier.label}`")
        return (
            self._no_family(way)
            or self._alone(way)
            or self._dropped(chain, rule, way)
            or self._all_routed(rule, way)
        )

    def _covers(self, earlier: Rule, later: Rule, way: _Way) -> bool:
        """Tell whether all that the later rule matches on a way the earlier one matches too."""
        if earlier.unknown or not _fits(earlier, way):
            return False
        return all(m in later.matches or self._is_everything(m, way) for m in _needed(earlier))

    def _is_everything(self, match: Match, way: _Way) -> bool:
        """Tell a match on addresses that has all which come by the one device, or leave by the other."""
        header = "ip" if way.version == 4 else "ip6"
        fib = self._space.fib(way.version)
        if match.operator != "==" or not way.oif:
            return False
        if match.keys == (Key(header, "daddr"),):
            spans = [entry.span(fib.bits) for entry in self._space.leading_out_of(way.version, way.oif)]
        elif match.keys == (Key(header, "saddr"),):
            spans = self._guarded(way)
        else:
            return False
        known = _spans(match)
        return bool(spans) and all(any(a <= low and high <= b for a, b in known) for low, high in spans)

    def _guarded(self, way: _Way) -> list[tuple[int, int]]:
        """Return the sources that a filter lets in by a device; those that no router hands on left out."""
        header = "ip" if way.version == 4 else "ip6"
        for chain in self._chains:
            if chain.hook is None or (chain.hook.kind, chain.hook.name) != ("filter", "prerouting"):
                continue
            for rule in chain.rules:
                needed = _needed(rule)
                only = len(needed) == 1 and needed[0].operator == "!=" and _drops(rule)
                if only and needed[0].keys == (Key(header, "saddr"),) and _fits(rule, way._replace(oif="")):
                    return [s for s in _spans(needed[0]) if way.version == 4 or _leaves_its_link(s[0])]
        return []

    def _no_family(self, way: _Way) -> _Shut | None:
        if way.version == 6 and way.iif and not self._space.has_ipv6(way.iif):
            return _Shut("IPv6 is off on", self._called(way.iif))
        if way.oif and way.oif != LOOPBACK and not self._space.leading_out_of(way.version, way.oif):
            how = f"no IPv{way.version} route of {self._space.name} leads out of"
            return _Shut(how, self._called(way.oif))
        return None

    def _alone(self, way: _Way) -> _Shut | None:
        if way.iif != way.oif or len(self._space.ports.get(way.iif, (1, 2))) > 1:
            return None
        return _Shut(
            "nobody sends to itself by way of a router, and one port only has", self._called(way.iif)
        )

    def _dropped(self, chain: Chain, rule: Rule, way: _Way) -> _Shut | None:
        """Find a chain that every packet from a device passes before, and that drops it."""
        assert chain.hook is not None
        for other in self._passed_before(chain, way):
            for each in other.rules:
                if _drops(each) and self._covers(each, rule, way._replace(oif="")):
                    return _Shut("dropped before by", f"`{each.label}`")
                if _is_final(each) and not _drops(each) and _fits(each, way._replace(oif="")):
                    break  # what it lets through, no later rule of the chain drops
        return None

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

    def _all_routed(self, rule: Rule, way: _Way) -> _Shut | None:
        if not any(match.keys == (_NO_ROUTE,) for match in rule.matches):
            return None
        default = next((r for r in self._space.namespace.routes if _is_default(r.prefix, way.version)), None)
        how = f"{self._space.name} has a route to every address:"
        return _Shut(how, str(default.prefix)) if default else None

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


def _needed(rule: Rule) -> list[Match]:
    """Return what a rule asks beside devices and family."""
    return [m for m in rule.matches if m.keys[0] not in _DEVICES and m.keys != (_FAMILY,)]


def _spans(match: Match) -> list[tuple[int, int]]:
    """Return the numbers that a match names, as ranges."""
    values = [member[0] for member in match.members]
    exact = [(value, value) for each in values for value in each.exact if isinstance(value, int)]
    return [*exact, *(span for each in values for span in each.ranges)]


def _leaves_its_link(address: int) -> bool:
    """Tell an IPv6 source that routers forward (RFC 4291, 2.5.2 and 2.5.6)."""
    return bool(address) and not is_link_local(address)


def _is_final(rule: Rule) -> bool:
    action = rule.action
    return isinstance(action, Reject) or (isinstance(action, Verdict) and action.kind in _FINAL)


def _drops(rule: Rule) -> bool:
    return isinstance(rule.action, Reject) or rule.action == Verdict("drop")


def _is_only(match: Match, key: Key, value: str) -> bool:
    exact = [member[0].exact for member in match.members]
    return match.keys == (key,) and match.operator == "==" and exact == [frozenset({value})]
