"""Where an option was written, for reasons that end in the file. The loader keeps the places of elements
only, so the text is read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.topology.model import Host
from vnetlab.topology.yaml_source import read

if TYPE_CHECKING:
    from vnetlab.errors import Place
    from vnetlab.topology.model import Machine, Network, Topology
    from vnetlab.topology.source import Node

_GRAPHS = (".graphml", ".dot", ".gv")


def of_option(topology: Topology, network: Network, option: str) -> Place:
    """Return the place of a network's option; that of the network where the file does not write it."""
    path = ("hosts", network.host, "networks", network.name, option)
    return _place(topology, path) or network.place


def of_machine(topology: Topology, machine: Machine) -> Place:
    """Return the place of a machine's ``routes``; that of the machine where it has none."""
    return _place(topology, ("machines", machine.name, "routes")) or machine.place


def of_mtu(topology: Topology, node: str, device: str) -> Place | None:
    """Return where the MTU of an outside node's NIC comes from: its segment's."""
    found = topology.machines.get(node) or topology.hosts.get(node)
    nics = () if found is None else found.nics.values() if isinstance(found, Host) else found.nics
    nic = next((n for n in nics if n.name == device), None)
    segment = topology.segments.get(nic.lan.name) if nic else None
    if segment is None:
        return None
    return _place(topology, ("segments", segment.name, "mtu")) or segment.place


def routes_none(topology: Topology, machine: Machine) -> bool:
    """Tell whether the file leaves a machine without the routes that others get."""
    node = _find(topology, ("machines", machine.name, "routes"))
    return node is not None and node[1].written == "none"


def shown(place: Place) -> str:
    """Return a place as reasons show it: file and line."""
    return f"{place.file}:{place.line}" if place.line else place.file


def _place(topology: Topology, path: tuple[str, ...]) -> Place | None:
    found = _find(topology, path)
    return found[0] if found else None


def _find(topology: Topology, path: tuple[str, ...]) -> tuple[Place, Node] | None:
    if topology.file.endswith(_GRAPHS) or not topology.text:
        return None
    node, place = read(topology.text, topology.file).root, None
    for key in path:
        entry = (node.entries or {}).get(key)
        if entry is None:
            return None
        node, place = entry.value, entry.key_place
    return (place, node) if place else None
