"""Promises about ways that must not exist: through a VM on two networks, through a host between two LANs."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

from vnetlab.guarantees import Guarantee, Outcome, Special
from vnetlab.modes.packet import Fate, Packet
from vnetlab.modes.promise import CONNECT, ECHO, SINK, Label, from_fate
from vnetlab.modes.world import Hop
from vnetlab.topology.model import family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.world import Interface, World

_KINDS = (ECHO, CONNECT, SINK)


def crossings(world: World) -> Iterator[Guarantee]:
    """Yield that neither a VM on two networks nor a host on two segments is a path between them."""
    for vm in world.topology.vms:
        for near, far in permutations(world.interfaces.get(vm, ()), 2):
            text = f"{vm} is on two networks and no path between them"
            yield from _no_path(world, Label("vm.no-path", text, near.network), near, far)
    for host in world.topology.hosts:
        sides = [i for i in world.interfaces.get(host, ()) if i.network is None]
        for near, far in permutations(sides, 2):
            text = f"{host} is on two segments and no path between them"
            yield from _no_path(world, Label("segment.no-transit", text), near, far)


def _no_path(world: World, label: Label, near: Interface, far: Interface) -> Iterator[Guarantee]:
    """Ask the node's interface on one side for an address of a neighbour on its other side."""
    sender = _neighbour(world, near)
    target = _neighbour(world, far)
    if sender is None or target is None or sender.node == target.node or near.lan == far.lan:
        return
    for address in target.addresses:
        mine = sender.address(family_of(address))
        if mine is None or sender.on_link(address.ip):
            continue
        packet = Packet(mine.ip, address.ip)
        silent = Fate(Outcome.SILENT, near.node, packet)
        for kind in _KINDS:
            yield from_fate(
                world, label, target.node, Hop(sender, near), packet, kind, silent, Special.CRAFTED
            )


def _neighbour(world: World, interface: Interface) -> Interface | None:
    """Return a neighbour that no port isolation keeps from the interface; a VM or machine, not a host."""
    for other in world.on_lan[interface.lan]:
        isolated = other.network is not None and other.network.port_isolation
        if other.node != interface.node and other.node not in world.topology.hosts and not isolated:
            return other
    return None
