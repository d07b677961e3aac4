"""Endpoints of equal treatment: those that neither the topology nor anything in a State tells apart.

A group's members may change places and nothing else changes: their namespaces, ports and settings are the
same but for names, MACs and addresses, and no rule, route or neighbour entry mentions one and not the other.
So what becomes of one member's flows becomes of every other's. Whoever is in any doubt is alone in his group.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab import names
from vnetlab.predict.packet import link_local
from vnetlab.state import Veth
from vnetlab.topology.alike import kinds
from vnetlab.topology.model import Vm

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from vnetlab.predict.mentions import Mentions
    from vnetlab.state import Link, Namespace, State, Sysctl
    from vnetlab.topology.model import Host, Machine, Nic, Topology


class Groups(Struct, frozen=True):
    """Every node's group, numbered in the order of the first members."""

    members: tuple[tuple[str, ...], ...]
    of: dict[str, int]

    @property
    def spare(self) -> frozenset[str]:
        """Nodes that a miniature can do without: two of each group show all that its members do."""
        return frozenset(name for group in self.members for name in group[2:])


def groups_of(topology: Topology, state: State, mentioned: Mentions) -> Groups:
    """Group the nodes of a topology by what it says of them, and by what the State and its rules do."""
    told_apart = _Signatures(topology, state, mentioned)
    found: dict[Hashable, list[str]] = {}
    for name, kind in kinds(topology).items():
        found.setdefault((kind, told_apart.of(name)), []).append(name)
    members = tuple(tuple(group) for group in found.values())
    return Groups(members, {name: number for number, group in enumerate(members) for name in group})


class _Signatures:
    """What a State holds of each node, without what is the node's alone."""

    def __init__(self, topology: Topology, state: State, mentioned: Mentions) -> None:
        self._topology = topology
        self._mentions = mentioned
        self._spaces = {namespace.name: namespace for namespace in state.namespaces}
        self._links = {(n.name, link.name): link for n in state.namespaces for link in n.links}
        self._settings = {n.name: _by_device(n) for n in state.namespaces}
        self._owners = Counter(_once(state))

    def of(self, name: str) -> Hashable:
        """Return a node's signature; a node that is one of its kind has its name in it."""
        node = self._topology.node(name)
        space = self._spaces.get(name)
        if self._mentions.bitwise or not isinstance(node.nics, tuple):
            return name
        tap = isinstance(node, Vm) and node.backend == "tap"
        if space is None and not tap:
            return name
        nics = tuple(self._nic(node, nic, space) for nic in node.nics)
        return nics, self._inside(space) if space else None

    def _nic(self, node: Vm | Machine | Host, nic: Nic, space: Namespace | None) -> Hashable:
        device = names.nic_device(nic.name)
        if space is None:
            assert isinstance(node, Vm)
            return self._port(node.host, names.port(node.name, nic.name)), self._numbers(node.name, nic)
        own = self._links.get((space.name, device))
        if not isinstance(own, Veth) or own.mac != nic.mac:
            return node.name
        return self._port(own.peer_namespace, own.peer), self._numbers(node.name, nic)

    def _port(self, namespace: str, name: str) -> Hashable:
        """Describe the bridge port that a NIC is plugged into; one that is missing is told by its name."""
        link = self._links.get((namespace, name))
        if link is None:
            return namespace, name
        settings = self._settings[namespace].get(name, ())
        return namespace, _look(link), settings, self._mentions.of_device(namespace, name)

    def _numbers(self, node: str, nic: Nic) -> Hashable:
        """Describe a NIC's MAC and addresses; where somebody else has one too, the node is told apart."""
        own = [(a.version, int(a.ip)) for a in nic.addresses] + [(6, link_local(nic.mac))]
        shared = self._owners[nic.mac] > 1 or any(self._owners[number] > 1 for number in own)
        runs = tuple(self._mentions.runs.of(*number) for number in own)
        return runs, self._mentions.of_mac(nic.mac), node if shared else ""

    def _inside(self, space: Namespace) -> Hashable:
        runs = self._mentions.runs
        return (
            space.kind,
            tuple((link.name, _look(link)) for link in space.links),
            tuple(
                (a.device, a.address.network, runs.of(a.address.version, int(a.address.ip)))
                for a in space.addresses
            ),
            tuple(self._mentions.of_device(space.name, link.name) for link in space.links),
            space.neighbours,
            space.routes,
            space.sysctls,
            space.tables,
            space.policy,
            space.beyond,
        )


def _look(link: Link) -> Hashable:
    return type(link), link.mtu, link.master, link.isolated, link.up


def _by_device(namespace: Namespace) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the settings of each device, as family and name with value."""
    found: dict[str, list[tuple[str, str]]] = {}
    for sysctl in namespace.sysctls:
        device, rest = _of_device(sysctl)
        if device:
            found.setdefault(device, []).append((rest, sysctl.value))
    return {device: tuple(values) for device, values in found.items()}


def _of_device(sysctl: Sysctl) -> tuple[str, str]:
    parts = sysctl.key.split("/")  # such as net/ipv4/conf/eth0/forwarding
    if len(parts) != 5 or parts[2] != "conf" or parts[3] in ("all", "default"):
        return "", ""
    return parts[3], f"{parts[1]}/{parts[4]}"


def _once(state: State) -> Iterator[Hashable]:
    """Yield every MAC and address once for each namespace that has it."""
    for namespace in state.namespaces:
        yield from {link.mac for link in namespace.links}
        yield from {(a.address.version, int(a.address.ip)) for a in namespace.addresses}
