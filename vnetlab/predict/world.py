"""Everything that packets of one State meet: its namespaces, the guests behind its taps, open sockets."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.predict.space import Space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vnetlab.predict.guest import Guest
    from vnetlab.predict.neighbour import Resolved
    from vnetlab.predict.space import Device
    from vnetlab.state import Namespace, State

NeighbourKey = tuple[str, str, int, int, int]
"""Namespace, device, version, next hop, and the address that it is asked from."""
_NONE: frozenset[tuple[str, int]] = frozenset()
_NO_GROUPS: frozenset[tuple[int, int]] = frozenset()


class Sockets(Struct, frozen=True):
    """What programs on a node listen to while packets fly; no part of the State."""

    node: str
    ports: frozenset[tuple[str, int]] = frozenset()
    """Protocol and port; UDP ones answer if they are asked to."""
    groups: frozenset[tuple[int, int]] = frozenset()
    """Version and number of each multicast group that was joined."""


class World:
    """A State, indexed. It never changes, so what was resolved once stays resolved."""

    def __init__(self, state: State, guests: Iterable[Guest] = (), sockets: Iterable[Sockets] = ()) -> None:
        self.spaces = {namespace.name: Space(namespace) for namespace in state.namespaces}
        self.guests = {(guest.host, guest.device): guest for guest in guests}
        self.neighbours: dict[NeighbourKey, Resolved] = {}
        self._sockets = {each.node: each for each in sockets}
        self._tables: dict[tuple[str, str], dict[str, tuple[Device, ...]]] = {}
        self._behind: dict[tuple[str, str], frozenset[str]] = {}

    def changed(self, namespaces: Iterable[Namespace]) -> World:
        """Return a world in which these take the place of those of their names; the rest is shared."""
        other, new = copy(self), {namespace.name: Space(namespace) for namespace in namespaces}
        other.spaces = self.spaces | new
        other.neighbours = {}
        if any(space.devices != self.spaces[name].devices for name, space in new.items()):
            other._tables, other._behind = {}, {}
        return other

    def resolved(self, key: NeighbourKey, ask: Callable[[], Resolved]) -> Resolved:
        """Return what asking for a next hop led to; it is asked for once."""
        found = self.neighbours.get(key)
        if found is None:
            found = self.neighbours[key] = ask()
        return found

    def open_ports(self, node: str) -> frozenset[tuple[str, int]]:
        """Return the ports that a node has open."""
        found = self._sockets.get(node)
        return found.ports if found else _NONE

    def groups(self, node: str) -> frozenset[tuple[int, int]]:
        """Return the groups that programs of a node have joined."""
        found = self._sockets.get(node)
        return found.groups if found else _NO_GROUPS

    def towards(self, space: Space, bridge: str, mac: str) -> tuple[Device, ...]:
        """Return the ports of a bridge that a MAC is behind: one, or none, or several by mistake."""
        key = (space.name, bridge)
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = self._table(space, bridge)
        return table.get(mac, ())

    def _table(self, space: Space, bridge: str) -> dict[str, tuple[Device, ...]]:
        found: dict[str, tuple[Device, ...]] = {}
        for port in space.ports[bridge]:
            for mac in self._macs_behind(space, port, frozenset()):
                found[mac] = (*found.get(mac, ()), port)
        return found

    def _macs_behind(self, space: Space, port: Device, passed: frozenset[tuple[str, str]]) -> frozenset[str]:
        """Return the MACs of everyone whose frames come in by a port."""
        key = (space.name, port.name)
        known = self._behind.get(key)
        if known is not None:
            return known
        if key in passed:
            return frozenset()
        found = self._reached_by(space, port, passed | {key})
        if not passed:
            self._behind[key] = found
        return found

    def _reached_by(self, space: Space, port: Device, passed: frozenset[tuple[str, str]]) -> frozenset[str]:
        guest = self.guests.get((space.name, port.name))
        if guest:
            return frozenset({guest.mac})
        there = self.spaces.get(port.peer[0])
        device = there.devices.get(port.peer[1]) if there else None
        if there is None or device is None:
            return frozenset()
        if not device.master:
            return frozenset({device.mac})
        macs = {there.devices[device.master].mac}
        for other in there.ports[device.master]:
            if other.name != device.name:
                macs |= self._macs_behind(there, other, passed)
        return frozenset(macs)
