"""Edits of a rule's text, one literal at a time. Each yields what was changed and the new text."""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.topology.model import IPNetwork

_ADDRESS = re.compile(r"(?<![\w:.\[])((?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f]*:[0-9a-f:]+)(?:/\d+)?)(?![\w:.\]])")
_BRACES = re.compile(r"\{[^}]*\}")
_PORT = re.compile(r"[ds]port (?:!= )?(\d+)(?![\d-])")
_TRANSLATED = re.compile(r" to (?:\[[^\]]*\]|[\d.]*):(\d+)(?:-(\d+))?$")
_DEVICE = re.compile(r'"([^"]+)"')
_NAMED = re.compile(r"(?P<key>iifname|oifname) (?:!= )?(?P<values>\{[^}]*\}|\"[^\"]*\")")
_MATCH = re.compile(
    r"(?P<key>iifname|oifname|ip6? [sd]addr|(?:tcp|udp) [sd]port|ct state|ct status|meta l4proto"
    r"|meta nfproto|fib daddr type)"
    r"(?P<not> !=)?(?= )"
)
_MISSING = re.compile(r"fib daddr oif (missing|exists)")
_VERDICT = re.compile(r"(accept|drop|reject with icmpx [\w-]+)$")
_MOST_PORT = 65535


class Edit(NamedTuple):
    """A change of a rule."""

    what: str
    """Such as ``10.40.0.0/24 -> 10.40.0.0/23``."""
    text: str


def _replaced(text: str, start: int, end: int, old: str, new: str) -> Edit:
    return Edit(f"{old} -> {new}", text[:start] + new + text[end:])


def neighbours_of(network: IPNetwork) -> tuple[IPNetwork, ...]:
    """Return a prefix widened by a bit, and shrunk by one to its lower half, where there are such."""
    found: list[IPv4Network | IPv6Network] = []
    if network.prefixlen > 0:
        found.append(network.supernet())
    if network.prefixlen < network.max_prefixlen:
        found.append(ip_network((network.network_address, network.prefixlen + 1)))
    return tuple(found)


def prefixes(text: str) -> Iterator[Edit]:
    """Yield the rule with each of its prefixes widened and shrunk by one bit.

    A single address is a prefix that can only be widened. A set whose members would overlap is left out:
    nft refuses it.
    """
    for found in _ADDRESS.finditer(text):
        try:
            network = ip_network(found[1])
        except ValueError:
            continue
        if _is_target(text, found.start(1)):
            continue
        others = _companions(text, found.start(1))
        for other in neighbours_of(network):
            if not any(each != network and each.overlaps(other) for each in others):
                yield _replaced(text, *found.span(1), found[1], str(other))


def networks(text: str) -> Iterator[IPNetwork]:
    """Yield every prefix and address that a rule names."""
    for found in _ADDRESS.finditer(text):
        with suppress(ValueError):
            yield ip_network(found[1])


def numbers(text: str) -> Iterator[int]:
    """Yield every port that a rule names."""
    for pattern in (_PORT, _TRANSLATED):
        for found in pattern.finditer(text):
            yield from (int(group) for group in found.groups() if group)


def _is_target(text: str, at: int) -> bool:
    """Tell the address that a packet is sent on to, which is no prefix."""
    return text[:at].endswith((" to ", "to ["))


def _companions(text: str, at: int) -> list[IPNetwork]:
    """Return the members of the set that a literal is in, those of its own family."""
    for braces in _BRACES.finditer(text):
        if braces.start() < at < braces.end():
            members = [ip_network(m[1]) for m in _ADDRESS.finditer(braces[0])]
            family = next(m.version for m in members)
            return [m for m in members if m.version == family]
    return []


def ports(text: str) -> Iterator[Edit]:
    """Yield the rule with each of its ports one up and one down."""
    spans = [found.span(1) for found in _PORT.finditer(text)]
    for found in _TRANSLATED.finditer(text):
        spans += [found.span(group) for group in (1, 2) if found[group]]
    for start, end in spans:
        port = int(text[start:end])
        for other in (port + 1, port - 1):
            if 0 < other <= _MOST_PORT:
                yield _replaced(text, start, end, str(port), str(other))


def devices(text: str, choices: tuple[str, ...]) -> Iterator[Edit]:
    """Yield the rule with each device that it names swapped for the next one of the choices."""
    for named in _NAMED.finditer(text):
        present = set(_DEVICE.findall(named["values"]))
        for found in _DEVICE.finditer(named["values"]):
            at = choices.index(found[1]) + 1 if found[1] in choices else 0
            other = next((c for c in (*choices[at:], *choices[:at]) if c not in present), None)
            if other is not None:
                start = named.start("values")
                span = (start + found.start(1), start + found.end(1))
                edit = _replaced(text, *span, found[1], other)
                yield Edit(f"{named['key']} {edit.what}", edit.text)


def verdicts(text: str) -> Iterator[Edit]:
    """Yield the rule with accept and drop (or reject) inverted."""
    found = _VERDICT.search(text)
    if found:
        new = "drop" if found[1] == "accept" else "accept"
        yield _replaced(text, *found.span(1), found[1], new)


def matches(text: str) -> Iterator[Edit]:
    """Yield the rule with each of its matches negated."""
    for found in _MATCH.finditer(text):
        if found["key"] == "meta l4proto" and _TRANSLATED.search(text):
            continue  # nft translates ports of known protocols only
        new = found["key"] + ("" if found["not"] else " !=")
        yield _replaced(text, *found.span(), found[0], new)
    for found in _MISSING.finditer(text):
        new = "exists" if found[1] == "missing" else "missing"
        yield _replaced(text, *found.span(1), f"oif {found[1]}", new)
