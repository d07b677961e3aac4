"""Every fault of a lab: the generators together, and who stands for whom.

Rules, chains and hosts are taken one by one. Of VMs whose NICs are ports of the same bridges, and of machines
on the same segments that forward alike, one stands for all: the seed says which. So it is with the ports of
a bridge.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from vnetlab.mutate.fault import distinct
from vnetlab.mutate.layer3 import layer3_faults
from vnetlab.mutate.links import link_faults
from vnetlab.mutate.rules import rule_faults
from vnetlab.state import Bridge, Veth

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from vnetlab.mutate.fault import Fault
    from vnetlab.state import Namespace, State


def faults_of(state: State, seed: int = 0, sample: int | None = None) -> tuple[Fault, ...]:
    """Return the faults of a State in a fixed order; of ``sample`` of them, the seed says which."""
    chance = random.Random(seed)  # noqa: S311 - a reproducible choice
    chosen = representatives(state, chance)
    ports = tuple(_ports(state, chance))
    found = distinct(
        state, (*rule_faults(state), *layer3_faults(state, chosen), *link_faults(state, chosen, ports))
    )
    if sample is None or sample >= len(found):
        return found
    numbers = sorted(chance.sample(range(len(found)), sample))
    return tuple(found[number] for number in numbers)


def representatives(state: State, chance: random.Random) -> tuple[Namespace, ...]:
    """Return every host, and one of each class of VMs and machines, in the State's order."""
    classes: dict[Hashable, list[Namespace]] = {}
    for namespace in state.namespaces:
        if namespace.kind != "segment":
            classes.setdefault(_class(state, namespace), []).append(namespace)
    names = {chance.choice(members).name for members in classes.values()}
    return tuple(n for n in state.namespaces if n.name in names)


def _class(state: State, namespace: Namespace) -> Hashable:
    if namespace.kind == "host":
        return namespace.name
    masters = tuple(_plug(state, link) for link in namespace.links if isinstance(link, Veth))
    forwards = any(s.key.endswith("all/forwarding") and s.value == "1" for s in namespace.sysctls)
    # A router is like no other: its routes say where the world is.
    return (namespace.kind, masters, namespace.name if forwards else len(namespace.routes) > 0)


def _plug(state: State, link: Veth) -> tuple[str, str]:
    """Return namespace and bridge that a NIC's other end is a port of."""
    try:
        return link.peer_namespace, state.namespace(link.peer_namespace).link(link.peer).master
    except KeyError:
        return link.peer_namespace, ""


def _ports(state: State, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Yield host and name of one VM's port of every bridge of a host."""
    for host in state.namespaces:
        bridges = (
            [link.name for link in host.links if isinstance(link, Bridge)] if host.kind == "host" else []
        )
        for bridge in bridges:
            ports = [
                link.name
                for link in host.links
                if link.master == bridge and not getattr(link, "peer_namespace", "").startswith("segment:")
            ]
            if ports:
                yield host.name, chance.choice(ports)
