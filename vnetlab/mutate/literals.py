"""The prefixes and ports that a State speaks of, and the addresses at their edges."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.mutate import wording
from vnetlab.topology.alike import Atoms, prefix_span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnetlab.state import State
    from vnetlab.topology.model import IPAddress, IPNetwork

_BOUNDS = {4: (1 << 24, 0xDFFFFFFF), 6: (1 << 64, 0xFF << 120)}
"""Addresses that a node may have: neither 0.0.0.0/8 nor groups."""
_NOBODYS = (ip_network("127.0.0.0/8"), ip_network("fe80::/10"))
"""Nobody sends under a loopback address, or under a link-local one that is not his own."""


class Literals(Struct, frozen=True):
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


def points_of(networks: Iterable[IPNetwork], among: Iterable[IPNetwork] = ()) -> tuple[IPAddress, ...]:
    """Return addresses in and beside each prefix, one of all that no prefix tells apart.

    ``among`` are further prefixes that tell addresses apart. The last address of an IPv4 prefix is like no
    other: it may be somebody's broadcast address.
    """
    wanted = sorted(networks, key=lambda n: (n.version, n))
    told_apart = {*wanted, *among}
    spans = {prefix_span(network) for network in told_apart}
    spans |= {(4, last, last) for version, _, last in spans if version == 4}
    runs = Atoms(spans)
    found: dict[tuple[int, int], IPAddress] = {}
    for network in wanted:
        for address in _around(network):
            found.setdefault((address.version, runs.of(address.version, int(address))), address)
    return tuple(found.values())


def _around(network: IPNetwork) -> Iterator[IPAddress]:
    """Yield addresses that a node may have: in the middle of a prefix, at its edges, beside them."""
    first, last = int(network.network_address), int(network.broadcast_address)
    middle = (first + last) // 2
    low, high = _BOUNDS[network.version]
    for number in (middle, middle + 1, last, first, first + 1, last - 1, first - 1, last + 1):
        address = type(network.network_address)(number) if low <= number < high else None
        if address is not None and not any(address in each for each in _NOBODYS):
            yield address
