"""What the rules of a State mention: by it nodes can be told apart, and by nothing else.

Two addresses that are in the same runs, and two devices that are mentioned at the same places, cannot be
told apart by any rule. Words of nft itself are taken for device names too, which does no harm.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.topology.alike import Atoms, prefix_span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnetlab.state import Namespace, NftTable, State
    from vnetlab.topology.alike import Span

_GROUP = re.compile(r"\{([^{}]*)\}")
_TOKEN = re.compile(r'[^\s{},;"=!<>()|&]+')
_NUMBER = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_BITS = re.compile(r"\b[sd]addr(?: ip| ether)? (?:&|\^|\||<<|>>)|\b(?:j|sym)hash\b")
_PORTS = 0
"""The "version" under which the runs of ports are kept."""

Spots = tuple[int, ...]
"""The places in the rules where a word stands; the members of one plain set share a place."""


class Mentions(Struct, frozen=True):
    """Everything that the rules, routes and neighbours of a State mention."""

    words: dict[tuple[str, str], Spots]
    """By namespace and word."""
    starts: dict[str, tuple[str, ...]]
    """Beginnings of device names (`vp*`), by namespace."""
    runs: Atoms
    bitwise: bool
    """Some rule looks at single bits of an address, which no run of addresses says anything about."""

    def of_device(self, namespace: str, name: str) -> tuple[Spots, tuple[bool, ...]]:
        """Return where a device is mentioned."""
        starts = tuple(name.startswith(start) for start in self.starts.get(namespace, ()))
        return self.words.get((namespace, name), ()), starts

    def of_mac(self, mac: str) -> Spots:
        """Return where a MAC is mentioned, in whatever namespace."""
        return self.words.get(("", mac), ())

    def port(self, number: int) -> int:
        """Return the run of ports that a port is in."""
        return self.runs.of(_PORTS, number)


def mentions(state: State) -> Mentions:
    """Read all rules, routes and neighbours of a State."""
    spots: dict[tuple[str, str], list[int]] = {}
    starts: dict[str, set[str]] = {}
    spans: set[Span] = set()
    place, bitwise = 0, False
    for namespace in state.namespaces:
        for table in namespace.tables:
            defines = dict(table.defines)
            for text in _texts(table):
                bitwise = bitwise or _BITS.search(text) is not None
                for words in _phrases(text):
                    place += 1
                    for word in words:
                        _take(defines.get(word.removeprefix("$"), word), namespace.name, place, spots, spans)
                        if word.endswith("*"):
                            starts.setdefault(namespace.name, set()).add(word[:-1])
        for device in (name for rule in namespace.policy.rules for name in (rule.iif, rule.oif) if name):
            place += 1
            spots.setdefault((namespace.name, device), []).append(place)
        spans.update(_spans(namespace))
    return Mentions(
        {key: tuple(found) for key, found in spots.items()},
        {name: tuple(sorted(found)) for name, found in starts.items()},
        Atoms(spans),
        bitwise,
    )


def _texts(table: NftTable) -> Iterator[str]:
    for chain in table.chains:
        yield chain.hook
        yield from (rule.text for rule in chain.rules)
    for each in table.sets:
        yield f"{{ {', '.join(each.elements)} }}"


@lru_cache(maxsize=65_536)
def _phrases(text: str) -> tuple[tuple[str, ...], ...]:
    """Return the words of a rule: those of a plain set together, every other one by itself."""
    found: list[tuple[str, ...]] = []

    def plain(group: re.Match[str]) -> str:
        words = _TOKEN.findall(group[1])
        if ":" in words or "." in words:
            return f" {group[1]} "
        found.append(tuple(words))
        return " "

    rest = _GROUP.sub(plain, text)
    return (*found, *((word,) for word in _TOKEN.findall(rest)))


def _take(
    word: str, namespace: str, place: int, spots: dict[tuple[str, str], list[int]], spans: set[Span]
) -> None:
    span = _span(word)
    if span is not None:
        spans.add(span)
        return
    mac = word.lower() if word.count(":") == 5 else ""
    spots.setdefault(("", mac) if mac else (namespace, word.strip('"')), []).append(place)


@lru_cache(maxsize=65_536)
def _span(word: str) -> Span | None:
    """Return the addresses or ports that a word stands for; None for any other word."""
    word = _without_port(word)
    if found := _NUMBER.fullmatch(word):
        return _PORTS, int(found[1]), int(found[2] or found[1])
    low, dash, high = word.partition("-")
    try:
        if "/" in word:
            return prefix_span(ip_network(word, strict=False))
        first = ip_address(low)
        return first.version, int(first), int(ip_address(high) if dash else first)
    except ValueError:
        return None


def _without_port(word: str) -> str:
    """Return the address of a translation's target, or its ports where it names no address."""
    if word.startswith("["):
        return word[1:].partition("]")[0]
    if word.count(":") == 1:
        address, _, ports = word.partition(":")
        return address or ports
    return word


def _spans(namespace: Namespace) -> Iterable[Span]:
    policy = namespace.policy
    for rule in policy.rules:
        yield from (prefix_span(prefix) for prefix in (rule.source, rule.destination) if prefix)
    for route in (*namespace.routes, *(each.route for each in policy.routes)):
        yield prefix_span(route.prefix)
        yield route.via.version, int(route.via), int(route.via)
    for neighbour in namespace.neighbours:
        yield neighbour.address.version, int(neighbour.address), int(neighbour.address)
    for own in {address.address.network for address in namespace.addresses}:
        yield prefix_span(own)
