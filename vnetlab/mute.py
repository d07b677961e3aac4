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


def _why_mute(space: Namespace, port: Link, passed: frozenset[str] = frozenset()) -> str:
    """Return why nothing goes out by a port; ``passed`` are trunks on the way to it from another bridge."""
    wall = next(_walls(space, port.master), "")
    if not wall or port.name in passed:
        return ""
    others = [link for link in space.links if link.master == port.master and link.name != port.name]
    heard = [link for link in others if not (link.isolated and port.isolated)]
    if not all(_is_silent(space, link, passed | {port.name}) for link in heard):
        return ""
    reasons = [] if others else ["its bridge has no other port"]
    if len(others) > len(heard):
        reasons.append("the other ports are isolated from it")
    reasons += [f"nothing comes in by {link.altname or link.name}" for link in heard]
    return f"{', '.join(reasons)}, and `{wall}` drops what the host sends"


def _is_silent(space: Namespace, port: Link, passed: frozenset[str]) -> bool:
    """Tell a trunk to another bridge of the namespace by which nothing comes."""
    if not isinstance(port, Veth) or port.peer_namespace != space.name:
        return False
    far = next((link for link in space.links if link.name == port.peer and link.master), None)
    return far is not None and bool(_why_mute(space, far, passed))


def _walls(space: Namespace, bridge: str) -> Iterator[str]:
    """Yield the rules and policies that drop whatever the host sends into a bridge."""
    for table in space.tables:
        for chain in understood(table).values():
            egress = chain.hook is not None and chain.hook.name == "egress" and bridge in chain.hook.devices
            if egress and not chain.rules and chain.hook and chain.hook.policy == "drop":
                yield f"{chain.label}: policy"
            for rule in chain.rules[:1] if egress else ():
                if rule.action == Verdict("drop") and not rule.matches:
                    yield rule.label
