"""What a model needs beside the State, from the topology and its guarantees.

Who is behind a tap, which device a NIC is, and which ports the probes open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab import names
from vnetlab.guarantees import LINK_WIDE, Outcome, Protocol
from vnetlab.many import Guarantees
from vnetlab.predict.guest import Exit, Guest
from vnetlab.predict.model import Model
from vnetlab.predict.world import Sockets
from vnetlab.topology.links import macs_on_links

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vnetlab.guarantees import Guarantee
    from vnetlab.state import State
    from vnetlab.topology.model import IPAddress, IPNetwork, Topology, Vm


def model_of(topology: Topology, state: State, guarantees: Sequence[Guarantee]) -> Model:
    """Return the model of a State as the topology's guarantees are judged in it."""
    return model_with(topology, state, sockets_for(guarantees))


def model_with(topology: Topology, state: State, sockets: Sequence[Sockets]) -> Model:
    """Return the model of a State with these sockets."""
    return Model(state, guests_of(topology), sockets, dict(_devices(topology)))


def guests_of(topology: Topology) -> tuple[Guest, ...]:
    """Return the NICs of every VM behind a tap."""
    taps = (vm for vm in topology.vms.values() if vm.backend == "tap")
    return tuple(guest for vm in taps for guest in _guests(topology, vm))


def _guests(topology: Topology, vm: Vm) -> Iterator[Guest]:
    addresses = frozenset(_number(a.ip) for nic in vm.nics for a in nic.addresses)
    exits = tuple(_exits(topology, vm))
    for nic in vm.nics:
        yield Guest(
            vm.name,
            vm.host,
            names.port(vm.name, nic.name),
            nic.mac,
            frozenset(_number(a.ip) for a in nic.addresses),
            addresses,
            exits,
        )


def _exits(topology: Topology, vm: Vm) -> Iterator[Exit]:
    macs = macs_on_links(topology, vm.nics) if len(vm.nics) > 1 else {}
    for nic in vm.nics:
        known = {int(address): mac for (name, address), mac in macs.items() if name == nic.name}
        prefixes: list[tuple[IPNetwork, str]] = [(a.network, "") for a in nic.addresses]
        prefixes += [
            (route.prefix, known.get(int(route.via), ""))
            for route in vm.routes
            if any(route.via in a.network for a in nic.addresses)
        ]
        for prefix, hop in prefixes:
            number, tap = int(prefix.network_address), names.port(vm.name, nic.name)
            yield Exit(prefix.version, number, prefix.prefixlen, tap, nic.mac, hop, known)


def _number(address: IPAddress) -> tuple[int, int]:
    return address.version, int(address)


def sockets_for(guarantees: Sequence[Guarantee]) -> tuple[Sockets, ...]:
    """Return the ports that are open and the groups that are joined while the flows are judged."""
    many = Guarantees.of(guarantees)
    ports: dict[str, set[tuple[str, int]]] = {}
    closed: dict[str, set[tuple[str, int]]] = {}
    groups: dict[str, set[tuple[int, int]]] = {}
    for number in many.by_destination().tolist():
        guarantee = many.patterns[many.pattern[number]].guarantee  # what is asked of it is every member's
        flow, node = guarantee.flow, many.nodes[many.destination[number]]
        if flow.destination_address.is_multicast:
            groups.setdefault(node, set()).add(_number(flow.destination_address))
        if flow.protocol not in (Protocol.TCP, Protocol.UDP) or flow.special in LINK_WIDE:
            continue
        translated = guarantee.seen.destination_port if guarantee.seen else 0
        refuses = guarantee.expected is Outcome.REFUSED
        group = closed if refuses else ports
        group.setdefault(node, set()).add((flow.protocol.value, translated or flow.destination_port))
    return tuple(
        Sockets(
            node,
            frozenset(ports.get(node, set()) - closed.get(node, set())),
            frozenset(groups.get(node, ())),
        )
        for node in {**ports, **groups}
    )


def _devices(topology: Topology) -> Iterator[tuple[tuple[str, str], str]]:
    for host in topology.hosts.values():
        for nic in host.nics.values():
            yield (host.name, nic.name), names.host_device(host, nic)
        for network in host.networks.values():
            yield (host.name, f"network:{network.name}"), names.network_bridge(host, network)
    for vm in topology.vms.values():
        for nic in vm.nics:
            tap = vm.backend == "tap"
            yield (vm.name, nic.name), names.port(vm.name, nic.name) if tap else names.nic_device(nic.name)
    for machine in topology.machines.values():
        for nic in machine.nics:
            yield (machine.name, nic.name), names.nic_device(nic.name)
