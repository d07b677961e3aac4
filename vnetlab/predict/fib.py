"""Addresses and routes of one namespace and family: what is local, where the rest goes, and from where.

After the kernel's net/ipv4/fib_frontend.c, fib_semantics.c, net/ipv6/route.c and addrconf.c. Addresses are
numbers here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.predict.fields import FIB_TYPES
from vnetlab.predict.packet import LIMITED_BROADCAST, is_link_local
from vnetlab.predict.passage import Unknown
from vnetlab.predict.preference import merit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vnetlab.items import Item

    Look = Callable[[int, str], "Way | None"]
    """Looks a destination up; takes a device too that the route has to be of, empty for any."""

LOOPBACK = "lo"
_ON_LINK = 0xFE80 << 48
"""The upper half of fe80::/64."""


class OwnAddress(Struct, frozen=True):
    """An address of a device, usable."""

    device: str
    address: int
    prefix: int

    @property
    def broadcast(self) -> int:
        """The broadcast address of its IPv4 prefix, if that is shorter than 31 bits."""
        return self.address | ((1 << (32 - self.prefix)) - 1)

    def covers(self, other: int, bits: int) -> bool:
        """Tell whether another address is in the same prefix."""
        return (self.address ^ other) >> (bits - self.prefix) == 0


class Way(Struct, frozen=True):
    """Where a packet goes."""

    device: str
    next_hop: int
    via: int | None = None
    """The next hop, where it is a router; None for a destination on the link."""
    label: str = ""
    item: Item | None = None
    """The static route; None: connected."""


class Entry(Struct, frozen=True):
    """A route, connected or static."""

    network: int
    prefix: int
    device: str
    via: int | None
    label: str
    item: Item | None = None

    def span(self, bits: int) -> tuple[int, int]:
        """Return the first and the last address."""
        return self.network, self.network | ((1 << (bits - self.prefix)) - 1)


class Given(Struct, frozen=True):
    """A static route."""

    network: int
    prefix: int
    via: int
    device: str
    label: str
    item: Item | None = None


class Fib:
    """One family's tables `local` and `main`."""

    def __init__(
        self,
        version: int,
        addresses: Iterable[OwnAddress],
        routes: Iterable[Given],
        routers: frozenset[str] = frozenset(),
    ) -> None:
        """Take addresses and routes; ``routers`` are devices on which IPv6 forwards, for anycast."""
        self.version = version
        self.bits = 32 if version == 4 else 128
        self.addresses = tuple(addresses)
        self._usable = {a.device for a in self.addresses}
        self.local = {own.address: own.device for own in reversed(self.addresses)}
        self._by_device: dict[str, list[OwnAddress]] = {}
        for own in self.addresses:
            self._by_device.setdefault(own.device, []).append(own)
        self.broadcasts = self._broadcasts()
        self.anycasts = self._anycasts(routers)
        self._entries = self._table(routes)
        self._ways: dict[tuple[int, str], Way | None] = {}
        self._sources: dict[tuple[str, int], int | None] = {}

    def _broadcasts(self) -> frozenset[int]:
        if self.version == 6:
            return frozenset()
        return frozenset(a.broadcast for a in self.addresses if a.prefix < 31)

    def _anycasts(self, routers: frozenset[str]) -> frozenset[int]:
        """Return the subnet-router anycast addresses of a router (RFC 4291, 2.6.1)."""
        if self.version == 4:
            return frozenset()
        mine = (a for a in self.addresses if a.device in routers and a.prefix < 127)
        return frozenset(a.address >> (128 - a.prefix) << (128 - a.prefix) for a in mine)

    def _table(self, routes: Iterable[Given]) -> list[Entry]:
        entries = []
        for own in self.addresses:
            shift = self.bits - own.prefix
            network = own.address >> shift << shift
            entries.append(Entry(network, own.prefix, own.device, None, f"connected, {own.device}"))
        entries += [Entry(r.network, r.prefix, r.device, r.via, r.label, r.item) for r in routes]
        return sorted(entries, key=lambda entry: -entry.prefix)  # stable: connected before static

    def leading_out_of(self, device: str) -> tuple[Entry, ...]:
        """Return the routes, connected and static, by which packets are forwarded out of a device."""
        entries = (entry for entry in self._entries if entry.device == device)
        return tuple(e for e in entries if self.version == 4 or not is_link_local(e.network))

    def is_loopback(self, address: int) -> bool:
        """Tell 127.0.0.0/8 and ::1."""
        return address >> 24 == 127 if self.version == 4 else address == 1

    def is_local(self, address: int, device: str = "") -> bool:
        """Tell the namespace's own addresses, on whatever device; link-local ones on theirs only."""
        if self.is_loopback(address):
            return True
        if self.version == 6 and is_link_local(address):
            return any(own.address == address for own in self._by_device.get(device, ()))
        return address in self.local

    def on_device(self, address: int, device: str) -> bool:
        """Tell whether the address is one of this device's."""
        return any(own.address == address for own in self._by_device.get(device, ()))

    def of_device(self, device: str) -> list[OwnAddress]:
        """Return the addresses of a device."""
        return self._by_device.get(device, [])

    def device_sharing(self, destination: int) -> str:
        """Return the device that shares a prefix with a destination, else the first with an address."""
        for own in self.addresses:
            if own.covers(destination, self.bits):
                return own.device
        return self.addresses[0].device if self.addresses else LOOPBACK

    def way(self, destination: int, device: str = "") -> Way | None:
        """Return the longest matching route, if there is one; ``device`` restricts it to that device."""
        key = (destination, device)
        if key not in self._ways:
            self._ways[key] = self._look_up(destination, device)
        return self._ways[key]

    def _look_up(self, destination: int, device: str) -> Way | None:
        scoped = self.version == 6 and is_link_local(destination)
        if scoped and not device:
            return None
        return self.longest(self._entries, destination, device)

    def longest(self, entries: Iterable[Entry], destination: int, device: str) -> Way | None:
        """Return the first of some routes that leads to a destination; the longest prefixes come first."""
        for entry in entries:
            if device and entry.device != device:
                continue
            if (entry.network ^ destination) >> (self.bits - entry.prefix) == 0:
                hop = destination if entry.via is None else entry.via
                return Way(entry.device, hop, entry.via, entry.label, entry.item)
        return None

    def type_of(self, address: int, device: str = "", way: Look | None = None) -> int:
        """Return the number of `fib daddr type`; ``device`` restricts local addresses to that device.

        ``way`` is asked in the place of the table `main`, where policy rules are.
        """
        if self.version == 4:
            if address in (0, LIMITED_BROADCAST):
                return FIB_TYPES["broadcast"]
            if address >> 28 == 0xE:
                return FIB_TYPES["multicast"]
            if address in self.broadcasts:
                mine = not device or any(
                    a.device == device and a.broadcast == address for a in self.addresses
                )
                return FIB_TYPES["broadcast" if mine else "unicast"]
            local = self.on_device(address, device) if device else self.is_local(address)
            return FIB_TYPES["local" if local else "unicast"]
        return self._type_of_six(address, device, way or self.way)

    def _type_of_six(self, address: int, device: str, way: Look) -> int:
        """Follow `__nft_fib6_eval_type` of the kernel's net/ipv6/netfilter/nft_fib_ipv6.c."""
        if address >> 120 == 0xFF:
            return FIB_TYPES["multicast" if self._usable else "unreachable"]
        if is_link_local(address):
            owners = {own.device for own in self.addresses if own.address == address}
            local = device in owners if device else bool(owners)
            return FIB_TYPES["local" if local else "unicast"]
        if address in self.anycasts:
            return FIB_TYPES["anycast"]
        if self.on_device(address, device) if device else self.is_local(address):
            return FIB_TYPES["local"]
        return FIB_TYPES["unicast" if way(address, "") else "unreachable"]

    def device_towards(self, address: int, device: str = "", way: Look | None = None) -> str:
        """Return the device of `fib daddr oif`; empty where it is missing, as for local addresses.

        ``way`` is asked in the place of the table `main`, where policy rules are.
        Raises Unknown for an IPv6 group of no device in particular.
        """
        way = way or self.way
        if self.is_local(address, device) or address in self.anycasts:
            return ""
        if self.version == 6 and (is_link_local(address) or address >> 120 == 0xFF):
            if not device:
                raise Unknown("which of its devices a group is routed by")
            on_link = address >> 120 == 0xFF or address >> 64 == _ON_LINK
            # The rest of fe80::/10 is no more on the link than any other address (RFC 4291, 2.5.6).
            return device if device in self._usable and (on_link or way(address, device)) else ""
        found = way(address, "")  # the longest prefix decides, and then whether it leads there
        if found is None or (device and found.device != device):
            return ""
        return found.device

    def source_for(self, way: Way, destination: int) -> int | None:
        """Return the address that the kernel sends from; None where the namespace has none."""
        if self.version == 4:
            return self.select(way.device, way.next_hop)
        return self.source_on(way.device, destination)

    def select(self, device: str, towards: int) -> int | None:
        """Return a device's address in the other's prefix, else its first (`inet_select_addr`)."""
        mine = self._by_device.get(device, [])
        for own in mine:
            if own.covers(towards, 32):
                return own.address
        if mine:
            return mine[0].address
        return next((own.address for own in self.addresses), None)

    def source_on(self, device: str, destination: int) -> int | None:
        """Choose an IPv6 source on a device by RFC 6724, 5: rules 1, 2, 5, 6 and 8.

        Of equal ones the kernel takes the first of its list, which is the one that was given last.
        """
        key = (device, destination)
        if key not in self._sources:
            self._sources[key] = self._choose_source(device, destination)
        return self._sources[key]

    def _choose_source(self, device: str, destination: int) -> int | None:
        candidates = [
            own for own in reversed(self.addresses) if not is_link_local(own.address) or own.device == device
        ]
        best = max(candidates, key=lambda own: merit(own, device, destination), default=None)
        return best.address if best else None
