"""What a host that is this very machine has of its own, as values: devices, addresses, routes, settings.

They are read once, before a lab changes anything, and go with the lab: its file is read again with them.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace


class NicFacts(Struct, frozen=True):
    """A device of the machine that a lab uses as an uplink."""

    name: str
    mac: str
    """Six lower-case hex pairs joined by colons."""
    mtu: int
    addresses: tuple[str, ...]
    """With prefix lengths; link-local ones are left out."""
    kind: str = ""
    """As rtnetlink calls it, such as ``bridge``; empty for hardware."""
    master: str = ""
    """Device that it is a port of."""
    forwards: bool = False
    """Whether the machine forwards IPv4 packets that come in there."""


class RouteFacts(Struct, frozen=True):
    """Where the machine sends a prefix."""

    prefix: str
    device: str

    @property
    def key(self) -> tuple[str, str]:
        """What routes are sorted by."""
        return self.prefix, self.device


class Facts(Struct, frozen=True):
    """What this very machine is without the lab."""

    nics: tuple[NicFacts, ...]
    devices: tuple[str, ...] = ()
    """Every device that could be an uplink."""
    routes: tuple[RouteFacts, ...] = ()
    forwards_ipv6: bool = False
    advertised_to: tuple[str, ...] = ()
    """Devices that take router advertisements only as long as the machine forwards no IPv6."""

    def nic(self, name: str) -> NicFacts | None:
        """Return what is known of a device."""
        return next((nic for nic in self.nics if nic.name == name), None)

    def as_now(self, now: Facts, moved: frozenset[str], own: frozenset[str]) -> Facts:
        """Return later facts, with what these say of NICs that a lab has moved since; their routes too.

        ``own`` are the devices of that lab.
        """
        nics = {nic.name: nic for nic in now.nics} | {nic.name: nic for nic in self.nics if nic.name in moved}
        others = (r for r in now.routes if r.device not in moved and r.device not in own)
        routes = sorted({*others, *(r for r in self.routes if r.device in moved)}, key=lambda r: r.key)
        advertised = {*now.advertised_to, *moved.intersection(self.advertised_to)}
        return replace(
            now,
            nics=tuple(nics[name] for name in sorted(nics)),
            routes=tuple(routes),
            advertised_to=tuple(sorted(advertised)),
        )


def encoded(facts: Facts) -> dict[str, object]:
    """Return facts as JSON has them."""
    found: dict[str, object] = msgspec.to_builtins(facts)
    return found


def decoded(found: dict[str, Any]) -> Facts:
    """Return what was encoded; raises KeyError, TypeError for anything else."""
    return Facts(
        tuple(NicFacts(**{**nic, "addresses": tuple(nic["addresses"])}) for nic in found["nics"]),
        tuple(found["devices"]),
        tuple(RouteFacts(**route) for route in found["routes"]),
        bool(found["forwards_ipv6"]),
        tuple(found["advertised_to"]),
    )
