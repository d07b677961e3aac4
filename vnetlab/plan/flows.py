"""Which live flows a change of rules concerns, so that it takes effect for them at once.

An established flow is let pass for what was decided when it began, and goes on being translated as then. So
what conntrack knows of a flow has to go where a rule that changes could fit one of its packets: the next one
is judged by the new rules. Any other flow keeps its entry: a translated one would not survive the loss.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.predict.parse import parse_rule
from vnetlab.predict.tables import parse_hook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.plan.tables import TableChange
    from vnetlab.predict.rules import Match
    from vnetlab.state import Namespace, NftChain, NftTable
    from vnetlab.topology.model import IPAddress, IPNetwork

_LOCAL = "lo"
_CONNTRACK_FAMILIES = ("inet", "ip", "ip6")


class Flow(Struct, frozen=True):
    """A flow as conntrack knows it; ports are 0 where the protocol has none."""

    protocol: int
    source: IPAddress
    destination: IPAddress
    """As its sender named it."""
    source_port: int
    destination_port: int
    end: IPAddress
    """Where it really goes."""
    end_port: int
    face: IPAddress
    """What the other end takes for its source."""


class _Packet(Struct, frozen=True):
    """What rules see of a flow in one direction; several addresses where translation changes them."""

    protocol: int
    sources: tuple[IPAddress, ...]
    destinations: tuple[IPAddress, ...]
    source_ports: tuple[int, ...]
    destination_ports: tuple[int, ...]
    entry: str
    """Device by which it comes; empty where that is not known."""
    exit: str


class _Changed(Struct, frozen=True):
    """A rule that comes or goes; without matches a chain whose policy changes."""

    hook: str
    begins: bool
    """It sees only the first packet of a flow, as rules of translation do."""
    matches: tuple[Match, ...]


class Concern(Struct, frozen=True):
    """Tells the flows of one namespace that a change concerns."""

    rules: tuple[_Changed, ...]
    ways: tuple[tuple[IPNetwork, str], ...]
    """Prefixes and the device towards each, the longest first."""
    of_ways_alone: bool = False
    """No flow is concerned that has no address in one of the prefixes."""

    def covers(self, flow: Flow) -> bool:
        """Tell whether a rule that changes could fit a packet of the flow."""
        if self.of_ways_alone and not any(map(self._towards, (flow.source, flow.destination, flow.end))):
            return False
        near, far = self._towards(flow.source), self._towards(flow.end)
        there = _Packet(
            flow.protocol,
            (flow.source, flow.face),
            (flow.destination, flow.end),
            (flow.source_port,),
            (flow.destination_port, flow.end_port),
            near,
            far,
        )
        back = _Packet(
            flow.protocol,
            (flow.end, flow.destination),
            (flow.face, flow.source),
            (flow.end_port, flow.destination_port),
            (flow.source_port,),
            far,
            near,
        )
        return any(_fits(r, there) or (not r.begins and _fits(r, back)) for r in self.rules)

    def _towards(self, address: IPAddress) -> str:
        if address.is_link_local or address.is_multicast:
            return ""
        return next((device for prefix, device in self.ways if address in prefix), "")


def concern(changes: tuple[TableChange, ...], before: Namespace, after: Namespace) -> Concern | None:
    """Return what tells the flows that the changes concern; None for rules that conntrack has no part in."""
    rules = tuple(rule for change in changes for rule in _changed(change))
    return Concern(rules, tuple(_ways(before, after))) if rules else None


def _changed(change: TableChange) -> Iterator[_Changed]:
    table = change.after or change.before
    if table is None or table.family not in _CONNTRACK_FAMILIES:
        return
    old, new = _chains(change.before), _chains(change.after)
    for name in {**old, **new}:
        was, shall = old.get(name), new.get(name)
        hook = shall.hook if shall else was.hook if was else ""
        if was and shall and was.hook != shall.hook:
            yield _Changed(_hook(hook, table), False, ())
        gone, come = (was.rules if was else ()), (shall.rules if shall else ())
        differing = set(gone) ^ set(come)
        if not differing and gone != come:  # another order may be another meaning for any of them
            differing = set(come)
        for rule in differing:
            matches = parse_rule(rule.text, table.family).matches
            yield _Changed(_hook(hook, table), " nat " in f" {hook}", tuple(matches))


def _chains(table: NftTable | None) -> dict[str, NftChain]:
    return {chain.name: chain for chain in table.chains} if table else {}


def _hook(text: str, table: NftTable) -> str:
    return parse_hook(text, table.family).name if text else ""


def _ways(before: Namespace, after: Namespace) -> Iterator[tuple[IPNetwork, str]]:
    found: dict[tuple[IPNetwork, str], None] = {}
    for namespace in (after, before):
        for address in namespace.addresses:
            found[ip_network(address.address.ip), _LOCAL] = None
            found[address.address.network, address.device] = None
        found |= {(route.prefix, route.device): None for route in namespace.routes}
    yield from sorted(found, key=lambda way: -way[0].prefixlen)


def _fits(rule: _Changed, packet: _Packet) -> bool:
    if rule.hook == "input" and packet.exit not in (_LOCAL, ""):
        return False
    if rule.hook == "output" and packet.entry not in (_LOCAL, ""):
        return False
    if rule.hook == "forward" and _LOCAL in (packet.entry, packet.exit):
        return False
    return all(_could(match, packet) for match in rule.matches)


def _could(match: Match, packet: _Packet) -> bool:
    """Tell whether a match could hold; whatever is not asked of a flow could."""
    if len(match.keys) != 1 or match.operator not in ("==", "!=") or match.mask is not None:
        return True
    key = match.keys[0]
    found = _values(key.group, key.name, packet)
    if found is None:
        return True
    has = [any(values.has(value) for member in match.members for values in member) for value in found]
    return any(has) if match.operator == "==" else not all(has)


def _values(group: str, name: str, packet: _Packet) -> tuple[int | str, ...] | None:
    """Return what a packet may have in a field; None for a field that says nothing of a flow."""
    version = packet.sources[0].version
    if group in ("ip", "ip6") and name in ("saddr", "daddr"):
        addresses = packet.sources if name == "saddr" else packet.destinations
        return tuple(int(a) for a in addresses if (group == "ip6") == (version == 6)) or (-1,)
    if (group, name) in (("meta", "iifname"), ("meta", "oifname")):
        device = packet.entry if name == "iifname" else packet.exit
        return (device,) if device else None
    if (group, name) == ("meta", "l4proto"):
        return (packet.protocol,)
    if group in ("tcp", "udp", "th") and name in ("sport", "dport"):
        if {"tcp": 6, "udp": 17}.get(group, packet.protocol) != packet.protocol:
            return (-1,)
        return packet.source_ports if name == "sport" else packet.destination_ports
    return None
