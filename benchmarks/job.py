"""A compiled State as the job of the floor (floor.py): what to make, as plain JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vnetlab.state import Bridge, Veth

if TYPE_CHECKING:
    from vnetlab.state import Link, Namespace, State, Sysctl

Ends = dict[tuple[str, str], tuple[int, int]]


def job(state: State) -> str:
    """Return the job; raises ValueError for a device that the floor cannot make (a tap)."""
    ends: Ends = {
        (space.name, link.name): (number, at)
        for number, space in enumerate(state.namespaces)
        for at, link in enumerate(space.links)
    }
    return json.dumps([_space(space, ends) for space in state.namespaces])


def _space(space: Namespace, ends: Ends) -> list[Any]:
    devices = {link.name for link in space.links}
    return [
        [_link(link, ends) for link in space.links],
        [(address.device, str(address.address)) for address in space.addresses],
        [(str(route.prefix), str(route.via), route.device) for route in space.routes],
        [(s.key, s.value) for s in space.sysctls if not _of_device(s, devices)],
        [(s.key, s.value) for s in space.sysctls if _of_device(s, devices)],
        "".join(table.render() for table in space.tables if table.family != "netdev"),
        "".join(table.render() for table in space.tables if table.family == "netdev"),
    ]


def _link(link: Link, ends: Ends) -> list[Any]:
    peer = ends[link.peer_namespace, link.peer] if isinstance(link, Veth) else None
    if peer is None and not isinstance(link, Bridge):
        raise ValueError(f"the floor makes bridges and veth pairs, and {link.name} is neither")
    kind = "veth" if peer else "bridge"
    return [kind, link.name, link.altname, link.mac, link.mtu, link.master, peer]


def _of_device(sysctl: Sysctl, devices: set[str]) -> bool:
    parts = sysctl.key.split("/")
    return len(parts) > 3 and parts[3] in devices
