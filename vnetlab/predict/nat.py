"""NAT statements at work: the address and port that a flow gets, and what brings conntrack to life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.predict.packet import TCP, UDP
from vnetlab.predict.passage import Unknown
from vnetlab.predict.rules import Key, Lookup, SetMark, Translate, VerdictMap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.predict.conntrack import Entry
    from vnetlab.predict.passage import Passage
    from vnetlab.predict.rules import Rule
    from vnetlab.predict.tables import Base

_VERSIONS = {"inet": (4, 6), "ip": (4,), "ip6": (6,)}


def set_up(action: Translate, passage: Passage, entry: Entry, *, source: bool) -> None:
    """Give a new flow the translation that a rule asks for. Raises Unknown."""
    packet = passage.ip
    address = action.address
    if action.kind == "masquerade":
        address = _masquerade(passage)
    elif action.kind == "redirect":
        address = _redirect(passage)
    if action.ports is None or packet.protocol not in (TCP, UDP):
        port, drawn = None, None
    else:
        port, drawn = _port(*action.ports, packet.source_port if source else packet.destination_port)
    if source:
        entry.translate_source(address, port, drawn)
    else:
        entry.translate_destination(address, port)


def _port(low: int, high: int, own: int) -> tuple[int, tuple[int, int] | None]:
    """Return the port that a flow gets, and the range that it would be drawn from.

    Its own where the range has it, else of destinations the first, of sources any: one by chance
    (`nf_nat_l4proto_unique_tuple` of the kernel's nf_nat_core.c).
    """
    if low <= own <= high:
        return own, None
    return low, (low, high) if low != high else None


def _masquerade(passage: Passage) -> int:
    """Return the outgoing device's address towards the next hop (`nf_nat_masquerade_ipv4`, `_ipv6`)."""
    packet = passage.ip
    fib = passage.space.fib(packet.version)
    way = passage.way or passage.space.way(packet.version, packet.destination)
    if way is None or way.device != passage.oif:
        raise Unknown(f"masquerade by {passage.oif}, which no route leads to")
    address = fib.source_for(way, packet.destination)
    if address is None:
        raise Unknown(f"masquerade by {passage.oif}, which has no address")
    return address


def _redirect(passage: Passage) -> int:
    packet = passage.ip
    if not passage.iif:
        return 0x7F000001 if packet.version == 4 else 1
    mine = passage.space.fib(packet.version).of_device(passage.iif)
    if not mine:
        raise Unknown(f"redirect on {passage.iif}, which has no address")
    return mine[0].address


def tracked_versions(base: Base) -> tuple[int, ...]:
    """Return the IP versions that a table's rules have conntrack at work for (`nf_ct_netns_get`).

    A nat chain alone does not: without conntrack no packet comes to it.
    """
    versions = _VERSIONS.get(base.chain.family, ())
    return tuple(v for v in versions if any(tracks(rule, v) for rule in base.ruleset.rules()))


def tracks(rule: Rule, version: int) -> bool:
    """Tell whether a rule has anything to do with conntrack."""
    action = rule.action
    if isinstance(action, Translate) and action.version in (None, version):
        return True
    if any(key.group == "ct" or key.name == "ct count" for key in _keys(rule)):
        return True
    if any(isinstance(effect, SetMark) and effect.connection for effect in rule.effects):
        return True
    if rule.unknown and rule.rest is None:
        return True  # nobody knows what is in it
    return rule.rest is not None and tracks(rule.rest, version)


def _keys(rule: Rule) -> Iterator[Key]:
    for match in rule.matches:
        yield from match.keys
    if isinstance(rule.action, VerdictMap):
        yield from rule.action.keys
    elif isinstance(rule.action, Translate) and rule.action.lookup:
        yield from rule.action.lookup.keys
    for effect in rule.effects:
        if isinstance(effect, SetMark) and effect.of is not None:
            yield from effect.of.keys if isinstance(effect.of, Lookup) else (effect.of,)
