"""Which devices of two States are the same, and what of those has to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.plan.device_steps import (
    ChangeMac,
    ChangeMtu,
    CreateBridge,
    CreateTap,
    CreateVeth,
)
from vnetlab.plan.port_steps import (
    AttachPort,
    DetachPort,
    SetOptions,
    UnisolatePort,
)
from vnetlab.state import Bridge, Tap, Veth
from vnetlab.switching import changed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vnetlab.plan.steps import Step
    from vnetlab.state import Link, State
    from vnetlab.switching import Option

End = tuple[str, str]
"""Namespace and device."""


def ends(state: State) -> dict[End, Link]:
    """Return every device of a State."""
    return {(each.name, link.name): link for each in state.namespaces for link in each.links}


class Links(Struct, frozen=True):
    """The devices of two States."""

    before: Mapping[End, Link]
    after: Mapping[End, Link]
    kept: frozenset[End]
    """What is the same device in both."""
    by_namespace: Mapping[str, frozenset[str]]
    """The same, the devices of each namespace."""

    @classmethod
    def of(cls, before: State, after: State) -> Links:
        """Compare two States."""
        old, new = ends(before), ends(after)
        kept = frozenset(end for end, link in new.items() if end in old and _same(old[end], link))
        # A pair is one thing: it stays as a whole or not at all.
        whole = frozenset(end for end in kept if _is_whole(end, new, kept))
        devices: dict[str, set[str]] = {}
        for space, device in whole:
            devices.setdefault(space, set()).add(device)
        return cls(old, new, whole, {space: frozenset(found) for space, found in devices.items()})

    def in_namespace(self, name: str) -> frozenset[str]:
        """Return the names of the devices that stay in a namespace."""
        return self.by_namespace.get(name, frozenset())

    def master(self, end: End) -> str:
        """Return the bridge that a device is a port of while the change is made, before its own turn."""
        bridge = self.before[end].master
        return bridge if (end[0], bridge) in self.kept or (end[0], bridge) not in self.after else ""

    def bounced(self, end: End) -> bool:
        """Tell whether a device that stays has to be down for its change.

        A port joins a bridge unisolated: while it is up, frames could pass before the flag is set.
        """
        old, new = self.before[end], self.after[end]
        return new.isolated and old.up and bool(new.master) and self.master(end) != new.master


def _same(old: Link, new: Link) -> bool:
    return type(old) is type(new) and _far(old) == _far(new)


def _is_whole(end: End, links: Mapping[End, Link], kept: frozenset[End]) -> bool:
    far = _far(links[end])
    return far is None or (far in kept and _far(links[far]) == end)


def _far(link: Link) -> End | None:
    return (link.peer_namespace, link.peer) if isinstance(link, Veth) else None


def creations(links: Links, desired: State) -> Iterator[CreateBridge | CreateTap | CreateVeth]:
    """Yield steps that make the devices that are not there: bridges first, for ports to join.

    Raises ValueError for a veth whose other end the State does not have.
    """
    new = [(n, link) for n in desired.namespaces for link in n.links if (n.name, link.name) not in links.kept]
    yield from (CreateBridge(n.name, link) for n, link in new if isinstance(link, Bridge))
    yield from (CreateTap(n.name, link) for n, link in new if isinstance(link, Tap))
    for namespace, near in new:
        if not isinstance(near, Veth):
            continue
        far = links.after.get((near.peer_namespace, near.peer))
        if not isinstance(far, Veth) or (far.peer_namespace, far.peer) != (namespace.name, near.name):
            raise ValueError(
                f"{namespace.name}: veth {near.name} has no other end {near.peer_namespace}: {near.peer}"
            )
        if _creates(namespace.name, near, far):
            yield CreateVeth(namespace.name, near, far)


def _creates(namespace: str, near: Veth, far: Veth) -> bool:
    """Tell which of two ends makes the pair: the bridge port, as it joins its bridge in one go."""
    if bool(near.master) != bool(far.master):
        return bool(near.master)
    return (namespace, near.name) < (near.peer_namespace, near.peer)


def doomed(links: Links, spaces: frozenset[str]) -> tuple[End, ...]:
    """Return the devices to delete, of a pair one end; those of removed namespaces go with these.

    ``spaces`` are the namespaces that stay.
    """
    found: dict[End, None] = {}
    for end, link in links.before.items():
        if end[0] in spaces and end not in links.kept and _far(link) not in found:
            found[end] = None
    return tuple(found)


def alterations(links: Links, end: End) -> Iterator[Step]:
    """Yield steps that change a device that stays, but for its being up and its readable name."""
    old, new, (namespace, device) = links.before[end], links.after[end], end
    if new.mac and old.mac != new.mac:
        yield ChangeMac(namespace, device, new.mac, old.mac)
    if old.mtu != new.mtu:
        yield ChangeMtu(namespace, device, new.mtu, old.mtu)
    master = links.master(end)
    if new.master and master != new.master:
        yield AttachPort(namespace, device, new.master)
    elif master and not new.master:
        yield DetachPort(namespace, device, master)
    elif old.isolated and not new.isolated:
        yield UnisolatePort(namespace, device)
    stays = isinstance(new, Bridge) or master == new.master  # a port that joins has the usual ones
    yield from options(namespace, new, old.options if stays else ())


def options(namespace: str, link: Link, old: tuple[Option, ...] = ()) -> Iterator[SetOptions]:
    """Yield the step that gives a device its options in the place of others, if they differ."""
    written = changed(old, link.options, link.usual) if isinstance(link, Bridge) or link.master else ()
    if written:
        yield SetOptions(namespace, link.name, isinstance(link, Bridge), written)
