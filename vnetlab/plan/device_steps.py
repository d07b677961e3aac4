"""Steps of devices, and of the addresses, neighbours and routes that devices carry.

Those of bridge ports are in port_steps.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from vnetlab.plan.steps import Effect, Step

if TYPE_CHECKING:
    from vnetlab.state import Address, Bridge, Link, Neighbour, StaticRoute, Tap, Veth


class CreateBridge(Step, frozen=True):
    """Make a bridge, down."""

    link: Bridge

    def _what(self) -> str:
        return f"create bridge {_named(self.link)}"


class CreateTap(Step, frozen=True):
    """Make a persistent tap device, down."""

    link: Tap

    def _what(self) -> str:
        return f"create tap {_named(self.link)}{_port(self.link)}"


class CreateVeth(Step, frozen=True):
    """Make a veth pair, both ends down; the near end joins its bridge."""

    link: Veth
    peer: Veth

    def _what(self) -> str:
        far = f"{self.link.peer_namespace}: {_named(self.peer)}"
        return f"create veth {_named(self.link)}{_port(self.link)}, other end in {far}"


class DeleteLink(Step, frozen=True):
    """Delete a device; of a veth pair the other end goes with it."""

    device: str

    effect: ClassVar[Effect] = Effect.REMOVE

    def _what(self) -> str:
        return f"delete {self.device}"


class NameLink(Step, frozen=True):
    """Give a device its readable name."""

    device: str
    altname: str

    def _what(self) -> str:
        return f"name {self.device} {self.altname} as well"


class UnnameLink(Step, frozen=True):
    """Take a readable name from a device."""

    device: str
    altname: str

    effect: ClassVar[Effect] = Effect.REMOVE

    def _what(self) -> str:
        return f"name {self.device} no longer {self.altname}"


class ChangeMac(Step, frozen=True):
    """Give a device another MAC, and its link-local address with it."""

    device: str
    mac: str
    old: str

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return f"change MAC of {self.device} from {self.old} to {self.mac}"


class ChangeMtu(Step, frozen=True):
    """Give a device another MTU."""

    device: str
    mtu: int
    old: int

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return f"change MTU of {self.device} from {self.old} to {self.mtu}"


class LinkUp(Step, frozen=True):
    """Set a device up."""

    device: str

    def _what(self) -> str:
        return f"set {self.device} up"


class LinkDown(Step, frozen=True):
    """Set a device down."""

    device: str

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        return f"set {self.device} down"


class AddAddress(Step, frozen=True):
    """Add an address, without duplicate address detection."""

    address: Address

    def _what(self) -> str:
        return f"add address {self.address.address} to {self.address.device}"


class RemoveAddress(Step, frozen=True):
    """Remove an address."""

    address: Address

    effect: ClassVar[Effect] = Effect.REMOVE

    def _what(self) -> str:
        return f"remove address {self.address.address} from {self.address.device}"


class AddNeighbour(Step, frozen=True):
    """Add a permanent neighbour entry."""

    neighbour: Neighbour

    def _what(self) -> str:
        entry = self.neighbour
        return f"add neighbour {entry.address} at {entry.mac} on {entry.device}"


class RemoveNeighbour(Step, frozen=True):
    """Remove a permanent neighbour entry."""

    neighbour: Neighbour

    effect: ClassVar[Effect] = Effect.REMOVE

    def _what(self) -> str:
        return f"remove neighbour {self.neighbour.address} on {self.neighbour.device}"


class ForgetNeighbours(Step, frozen=True):
    """Remove learned neighbour entries of these addresses, unless they say the same."""

    device: str
    known: tuple[Neighbour, ...]
    """Where the addresses are by now."""

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        addresses = ", ".join(map(str, dict.fromkeys(entry.address for entry in self.known)))
        return f"forget what {self.device} has learned of {addresses}"


class AddRoute(Step, frozen=True):
    """Add a static route."""

    route: StaticRoute

    def _what(self) -> str:
        route = self.route
        return f"add route to {route.prefix} via {route.via} on {route.device}{_metric(route)}"


class ChangeRoute(Step, frozen=True):
    """Replace a static route by another to the same prefix, without a moment of none."""

    route: StaticRoute
    old: StaticRoute

    effect: ClassVar[Effect] = Effect.CHANGE

    def _what(self) -> str:
        was, now = (f"{r.via} on {r.device}{_metric(r)}" for r in (self.old, self.route))
        return f"change route to {self.route.prefix} from {was} to {now}"


class RemoveRoute(Step, frozen=True):
    """Remove a static route."""

    route: StaticRoute

    effect: ClassVar[Effect] = Effect.REMOVE

    def _what(self) -> str:
        route = self.route
        return f"remove route to {route.prefix} via {route.via} on {route.device}{_metric(route)}"


def _named(link: Link) -> str:
    return f"{link.name} ({link.altname})" if link.altname else link.name


def _port(link: Link) -> str:
    return f" on bridge {link.master}" if link.master else ""


def _metric(route: StaticRoute) -> str:
    return f" with metric {route.metric}" if route.metric else ""
