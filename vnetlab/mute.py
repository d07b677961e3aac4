"""Bridge ports that nothing is let out by, as a State has them: a VM there hears nobody. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.items import Item, ItemKind
from vnetlab.predict.rules import Verdict
from vnetlab.predict.tables import understood
from vnetlab.state import Veth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.state import Link, Namespace, State


def mute_ports(state: State) -> dict[Item, str]:
    """Return why nothing goes out by a port, for each such port and for the NIC at its other end."""
    spaces = {space.name: space for space in state.namespaces}
    found = {}
    for space in state.namespaces:
        for link in space.links:
            why = _why_mute(space, link) if link.master else ""
            if not why:
                continue
            found[_item(space, link)] = f"nothing is let out by it: {why}"
            far = spaces.get(link.peer_namespace) if isinstance(link, Veth) else None
            if far and isinstance(link, Veth):
                about = f"nothing comes in by it, since nothing leaves {link.altname or link.name}: {why}"
                found[_item(far, far.link(link.peer))] = about
    return found


def _item(space: Namespace, link: Link) -> Item:
    return Item(ItemKind.PORT, space.name, link.name, link.altname)


def _why_mute(space: Namespace, port: Link) -> str:
    wall = next(_walls(space, port.master), "")
    others = [link for link in space.links if link.master == port.master and link.name != port.name]
    if not wall or any(not (other.isolated and port.isolated) for other in others):
        return ""
    neighbours = "the other ports are isolated from it" if others else "its bridge has no other port"
    return f"{neighbours}, and `{wall}` drops what the host sends"


def _walls(space: Namespace, bridge: str) -> Iterator[str]:
    """Yield the rules that drop whatever the host sends into a bridge."""
    for table in space.tables:
        for chain in understood(table).values():
            egress = chain.hook is not None and chain.hook.name == "egress" and bridge in chain.hook.devices
            for rule in chain.rules[:1] if egress else ():
                if rule.action == Verdict("drop") and not rule.matches:
                    yield rule.label
