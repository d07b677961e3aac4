"""Broadcast domains of a State: whose NICs hear each other. From the State alone."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.state import Bridge, Tap, Veth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnetlab.predict.guest import Guest
    from vnetlab.state import Link, Namespace, State
    from vnetlab.topology.model import IPInterface


class End(Struct, frozen=True):
    """A device that has a part in IP: a NIC, a bridge as its host's own side, a guest behind a tap."""

    node: str
    kind: str
    """``host``, ``vm`` or ``machine``."""
    device: str
    mac: str
    addresses: tuple[IPInterface, ...]
    forwards: bool
    """Hosts and routers, which decide about what others send them."""
    guest: bool = False

    def own(self, version: int) -> IPInterface | None:
        """Return the first address of a family."""
        return next((a for a in self.addresses if a.version == version), None)


def domains_of(
    state: State, guests: Iterable[Guest], addresses: dict[str, tuple[IPInterface, ...]]
) -> tuple[tuple[End, ...], ...]:
    """Return the ends of every domain; ``addresses`` are those of the guests, by MAC."""
    behind = {(g.host, g.device): g for g in guests}
    spaces = {n.name: n for n in state.namespaces}
    seen: set[tuple[str, str]] = set()
    found: list[tuple[End, ...]] = []
    for namespace in state.namespaces:
        for link in namespace.links:
            if isinstance(link, Bridge) and (namespace.name, link.name) not in seen:
                found.append(tuple(_ends(spaces, behind, addresses, (namespace.name, link.name), seen)))
    return tuple(found)


def _ends(
    spaces: dict[str, Namespace],
    behind: dict[tuple[str, str], Guest],
    addresses: dict[str, tuple[IPInterface, ...]],
    start: tuple[str, str],
    seen: set[tuple[str, str]],
) -> Iterator[End]:
    """Walk from bridge to bridge, by the veth pairs that join them."""
    waiting = deque([start])
    while waiting:
        name, bridge = waiting.popleft()
        if (name, bridge) in seen:
            continue
        seen.add((name, bridge))
        space = spaces[name]
        if space.kind == "host":
            yield _end(space, space.link(bridge))
        for port in space.links:
            if port.master != bridge:
                continue
            guest = behind.get((name, port.name))
            if guest:
                own = addresses.get(guest.mac, ())
                yield End(guest.node, "vm", port.name, guest.mac, own, forwards=False, guest=True)
            far = _far_end(spaces, port)
            if far and far[1].master:
                waiting.append((far[0].name, far[1].master))
            elif far:
                yield _end(*far)


def _far_end(spaces: dict[str, Namespace], port: Link) -> tuple[Namespace, Link] | None:
    if isinstance(port, Tap) or not isinstance(port, Veth) or port.peer_namespace not in spaces:
        return None
    space = spaces[port.peer_namespace]
    return space, space.link(port.peer)


def _end(space: Namespace, link: Link) -> End:
    own = tuple(a.address for a in space.addresses if a.device == link.name)
    forwards = space.kind == "host" or any(
        s.key == "net/ipv4/conf/all/forwarding" and s.value == "1" for s in space.sysctls
    )
    return End(space.name, space.kind, link.name, link.mac, own, forwards)
