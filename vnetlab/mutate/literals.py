"""The prefixes and ports that a State speaks of, and the addresses at their edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vnetlab.mutate import wording

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnetlab.state import State
    from vnetlab.topology.model import IPAddress, IPNetwork

_BOUNDS = {4: (1 << 24, 0xDFFFFFFF), 6: (1 << 64, 0xFF << 120)}
"""Addresses that a node may have: neither 0.0.0.0/8 nor groups."""


@dataclass(frozen=True, slots=True)
class Literals:
    """The prefixes and ports that a State speaks of."""

    networks: frozenset[IPNetwork]
    ports: frozenset[int]


def literals_of(state: State, names: Iterable[str] | None = None) -> Literals:
    """Return what rules, addresses and routes of a State name; of these namespaces, or of all."""
    wanted = None if names is None else set(names)
    networks: set[IPNetwork] = set()
    ports: set[int] = set()
    for namespace in state.namespaces:
        if wanted is not None and namespace.name not in wanted:
            continue
        networks |= {a.address.network for a in namespace.addresses}
        networks |= {r.prefix for r in namespace.routes}
        for rule in (r for t in namespace.tables for c in t.chains for r in c.rules):
            networks |= set(wording.networks(rule.text))
            ports |= set(wording.numbers(rule.text))
    return Literals(frozenset(networks), frozenset(ports))


def edges(networks: Iterable[IPNetwork]) -> tuple[IPAddress, ...]:
    """Return the first and last address of each prefix, those beside them, and those in its middle."""
    found: dict[IPAddress, None] = {}
    for network in sorted(networks, key=lambda n: (n.version, n)):
        first, last = int(network.network_address), int(network.broadcast_address)
        middle = (first + last) // 2
        low, high = _BOUNDS[network.version]
        kind = type(network.network_address)
        for number in (first - 1, first, middle, middle + 1, last, last + 1):
            if low <= number < high:
                found[kind(number)] = None
    return tuple(found)
