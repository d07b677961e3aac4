"""What devices carry: addresses, permanent neighbours, routes. Which of two States have to come and go.

Facts of the kernel: a device that goes down loses its IPv6 addresses, its routes and its neighbours
(`addrconf_ifdown()`, `fib_disable_ip()`, `neigh_ifdown()`), one that gets another MAC its neighbours
(`neigh_changeaddr()`), one that loses its last IPv4 address its IPv4 routes (`fib_inetaddr_event()`); and
with the first IPv4 address of a subnet go the later ones (`__inet_del_ifa()`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vnetlab.plan.device_steps import (
    AddAddress,
    AddNeighbour,
    AddRoute,
    ChangeRoute,
    RemoveAddress,
    RemoveNeighbour,
    RemoveRoute,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.plan.steps import Step
    from vnetlab.state import Address, Namespace, Neighbour, StaticRoute
    from vnetlab.topology.model import IPNetwork


class Loss(Struct, frozen=True):
    """What of a namespace does not last: devices by what they lose in the change."""

    all: frozenset[str] = frozenset()
    """These go, or are made anew."""
    down: frozenset[str] = frozenset()
    neighbours: frozenset[str] = frozenset()
    ipv6: frozenset[str] = frozenset()

    def apply(self, namespace: Namespace) -> Namespace:
        """Return the namespace without what is lost."""
        routeless = self.all | self.down
        return replace(
            namespace,
            addresses=tuple(
                a
                for a in namespace.addresses
                if a.device not in self.all
                and not (a.address.version == 6 and a.device in self.down | self.ipv6)
            ),
            neighbours=tuple(
                n
                for n in namespace.neighbours
                if n.device not in routeless | self.neighbours
                and not (n.address.version == 6 and n.device in self.ipv6)
            ),
            routes=tuple(
                r
                for r in namespace.routes
                if r.device not in routeless and not (r.prefix.version == 6 and r.device in self.ipv6)
            ),
        )


def removals(before: Namespace, after: Namespace) -> Iterator[Step]:
    """Yield what is to go, what depends on something before that."""
    name = after.name
    _, _, gone = _routes(before, after)
    yield from (RemoveRoute(name, route) for route in gone)
    desired = {(n.device, n.address) for n in after.neighbours}
    yield from (RemoveNeighbour(name, n) for n in before.neighbours if (n.device, n.address) not in desired)
    yield from (RemoveAddress(name, address) for address in _addresses(before, after)[0])


def additions(before: Namespace, after: Namespace) -> Iterator[Step]:
    """Yield what is to come, what depends on something after that."""
    name = after.name
    yield from (AddAddress(name, address) for address in _addresses(before, after)[1])
    yield from (AddNeighbour(name, n) for n in _new_neighbours(before, after))
    new, exchanged, _ = _routes(before, after)
    yield from (ChangeRoute(name, route, old) for old, route in exchanged)
    yield from (AddRoute(name, route) for route in new)


def _new_neighbours(before: Namespace, after: Namespace) -> Iterator[Neighbour]:
    known = set(before.neighbours)
    yield from (neighbour for neighbour in after.neighbours if neighbour not in known)


def _addresses(before: Namespace, after: Namespace) -> tuple[tuple[Address, ...], tuple[Address, ...]]:
    """Return the addresses that go and those that come."""
    if before.addresses == after.addresses:
        return (), ()
    old, new = _by_subnet(before), _by_subnet(after)
    gone: list[Address] = []
    come: set[Address] = set()
    for key in old.keys() | new.keys():
        was, shall = old.get(key, []), new.get(key, [])
        kept = _common(was, shall) if key[1].version == 4 else len(was)
        lost = [a for a in was[:kept] if a not in shall] + was[kept:]
        gone += reversed(lost)
        come |= {address for address in shall if address not in was or address in lost}
    order = {address: at for at, address in enumerate(before.addresses)}
    return (
        tuple(sorted(gone, key=lambda address: -order[address])),
        tuple(dict.fromkeys(address for address in after.addresses if address in come)),
    )


def _by_subnet(namespace: Namespace) -> dict[tuple[str, IPNetwork], list[Address]]:
    found: dict[tuple[str, IPNetwork], list[Address]] = {}
    for address in dict.fromkeys(namespace.addresses):
        found.setdefault((address.device, address.address.network), []).append(address)
    return found


def _common(one: list[Address], other: list[Address]) -> int:
    """Return how many addresses at the beginning are the same."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def _routes(
    before: Namespace, after: Namespace
) -> tuple[list[StaticRoute], list[tuple[StaticRoute, StaticRoute]], list[StaticRoute]]:
    """Return the routes that come, that take the place of another, and that go."""
    stripped = _without_addresses(before, after)
    present = [r for r in before.routes if not (r.prefix.version == 4 and r.device in stripped)]
    come = [route for route in dict.fromkeys(after.routes) if route not in present]
    gone = [route for route in present if route not in after.routes]
    stay = {route.prefix for route in present if route in after.routes}
    exchanged = []
    for new in list(come):
        olds = [old for old in gone if old.prefix == new.prefix]
        if len(olds) == 1 and new.prefix not in stay and [r.prefix for r in come].count(new.prefix) == 1:
            exchanged.append((olds[0], new))
            come.remove(new)
            gone.remove(olds[0])
    return come, exchanged, gone


def _without_addresses(before: Namespace, after: Namespace) -> frozenset[str]:
    """Return the devices that for a moment have no IPv4 address, and so lose their routes."""
    had = {a.device for a in before.addresses if a.address.version == 4}
    gone = set(_addresses(before, after)[0])
    return frozenset(had - {a.device for a in before.addresses if a.address.version == 4 and a not in gone})
