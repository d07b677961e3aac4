"""Which objects of a lab a flight exercised, and why the others were not. Pure.

Rules and forwards: by the counters that the kernel keeps of every rule. Ports: by the frames that the kernel
counts in and out of a device, where flows went through it both ways too. Routes and permanent neighbours
have no counters: the model says which a flow used, and that counts where all four answers on it agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.items import Item, ItemKind, rule_item
from vnetlab.predict.rules import Translate
from vnetlab.predict.tables import understood
from vnetlab.state import Bridge
from vnetlab.unreached import why_not

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vnetlab.kernel.usage import PortKey, RuleKey
    from vnetlab.predict.journey import Prediction
    from vnetlab.predict.rules import Rule
    from vnetlab.state import Namespace, State
    from vnetlab.topology.model import Forward, Network, Topology


class Uncovered(Struct, frozen=True):
    """An object that nothing exercised."""

    item: Item
    why: str
    """Why nothing can exercise it, in a sentence; empty: something could have."""


class Coverage(Struct, frozen=True):
    """What a flight exercised."""

    covered: frozenset[Item]
    uncovered: tuple[Uncovered, ...]
    """In the order of the State."""
    totals: Mapping[ItemKind, int]
    disputed: tuple[str, ...] = ()
    """Rules on which the model and the kernel's counters do not agree, and how."""

    def count(self, kind: ItemKind) -> int:
        """Return how many objects of a kind were exercised."""
        return sum(item.kind is kind for item in self.covered)

    @property
    def total(self) -> int:
        """How many objects there are."""
        return sum(self.totals.values())


def coverage(
    topology: Topology, state: State, exercised: frozenset[Item], disputes: tuple[str, ...] = ()
) -> Coverage:
    """Sort the objects of a lab into those that were exercised and those that were not."""
    items = [*items_of(state), *forwards_of(topology, state)]
    totals = {kind: sum(item.kind is kind for item in items) for kind in ItemKind}
    left = [item for item in items if item not in exercised]
    reasons = why_not(state, left)
    return Coverage(
        frozenset(items) & exercised,
        tuple(Uncovered(item, reasons.get(item, "")) for item in left),
        totals,
        disputes,
    )


def disputed(predictions: Iterable[Prediction], exercised: frozenset[Item]) -> tuple[str, ...]:
    """Return the rules that flows met in the model or by the kernel's counters, but not in both.

    Nothing where the model does not know what becomes of some flow: it stops at what it does not know.
    """
    known = list(predictions)
    if any(prediction.outcome is None or prediction.after is None for prediction in known):
        return ()
    items = frozenset().union(*(p.used for p in known), *(p.after or () for p in known))
    met = {item for item in items if item.kind is ItemKind.RULE}
    counted = {item for item in exercised if item.kind is ItemKind.RULE}
    return (
        *(f"{item}: met in the model, and its counter did not move" for item in sorted(met - counted)),
        *(f"{item}: its counter moved, and nothing met it in the model" for item in sorted(counted - met)),
    )


def exercised_by(
    topology: Topology,
    state: State,
    used: Iterable[Item],
    rules_moved: frozenset[RuleKey],
    ports_moved: frozenset[PortKey],
) -> frozenset[Item]:
    """Return the objects that were exercised: by the model where the kernel has no counter, else by both.

    ``used`` are the objects that the flows used whose four answers agree.
    """
    rules = frozenset(
        rule_item(namespace, chain, position, rule.label)
        for namespace, chain, position, rule in _rules(state)
        if (namespace, chain, position) in rules_moved
    )
    met = frozenset(used)
    ports = (
        item._replace(way="")
        for item in met
        if item.way == "in" and item._replace(way="out") in met and item[1:3] in ports_moved
    )
    uncounted = (item for item in met if item.kind in (ItemKind.ROUTE, ItemKind.NEIGHBOUR))
    return with_forwards(topology, state, frozenset((*rules, *ports, *uncounted)))


def with_forwards(topology: Topology, state: State, used: frozenset[Item]) -> frozenset[Item]:
    """Add the forwards that used rules carry out."""
    carried = forwards_of(topology, state)
    return used | {forward for forward, rules in carried.items() if rules & used}


def items_of(state: State) -> Iterator[Item]:
    """Yield the rules, routes, ports and neighbours of a State, in its order."""
    for namespace, chain, position, rule in _rules(state):
        yield rule_item(namespace, chain, position, rule.label)
    for space in state.namespaces:
        yield from (Item(ItemKind.ROUTE, space.name, str(route)) for route in space.routes)
    for space in state.namespaces:
        for link in space.links:
            if not isinstance(link, Bridge):
                yield Item(ItemKind.PORT, space.name, link.name, link.altname)
    for space in state.namespaces:
        yield from (Item(ItemKind.NEIGHBOUR, space.name, str(each)) for each in space.neighbours)


def _rules(state: State) -> Iterator[tuple[str, str, int, Rule]]:
    for space in state.namespaces:
        yield from ((space.name, *found) for found in _rules_of(space))


def _rules_of(space: Namespace) -> Iterator[tuple[str, int, Rule]]:
    for table in space.tables:
        for chain in understood(table).values():
            yield from ((chain.label, position, rule) for position, rule in enumerate(chain.rules, 1))


def forwards_of(topology: Topology, state: State) -> dict[Item, frozenset[Item]]:
    """Return every forward of the topology, by family, with the rules that translate for it."""
    present = {space.name: space for space in state.namespaces}
    found: dict[Item, frozenset[Item]] = {}
    for network in topology.networks:
        space = present.get(network.host)
        outside = _versions_outside(topology, network)
        for forward in network.forwards:
            for version, address in _targets(topology, network, forward):
                if version not in outside:
                    continue
                about = f"{forward.to} port {forward.to_port}, {'ipv4' if version == 4 else 'ipv6'}"
                name = f"{network.name}: {forward.protocol} {forward.port} to {about}"
                rules = _translations(space, forward, version, address) if space else ()
                found[Item(ItemKind.FORWARD, network.host, name, str(forward.place))] = frozenset(rules)
    return found


def _versions_outside(topology: Topology, network: Network) -> set[int]:
    """Return the families in which the uplink has an address to forward a port of."""
    nics = topology.hosts[network.host].nics
    return {address.version for address in nics[network.uplink].addresses} if network.uplink else set()


def _targets(topology: Topology, network: Network, forward: Forward) -> Iterator[tuple[int, int]]:
    """Yield the first address of each family that the VM has on the network."""
    seen = set()
    for nic in topology.vms[forward.to].nics:
        for address in nic.addresses:
            if nic.network == network.name and address.version not in seen:
                seen.add(address.version)
                yield address.version, int(address.ip)


def _translations(space: Namespace, forward: Forward, version: int, address: int) -> Iterator[Item]:
    """Yield the rules that give the forward's port the VM's address and port as its destination."""
    for chain, position, rule in _rules_of(space):
        action = rule.action
        if not isinstance(action, Translate) or action.kind != "dnat":
            continue
        if (action.version, action.address) != (version, address):
            continue
        to_port = action.ports is None or action.ports[0] == forward.to_port
        if to_port and _asks_for(rule, forward):
            yield rule_item(space.name, chain, position, rule.label)


def _asks_for(rule: Rule, forward: Forward) -> bool:
    return any(
        (key.group, key.name) == (forward.protocol, "dport") and member[at].has(forward.port)
        for match in rule.matches
        for at, key in enumerate(match.keys)
        for member in match.members
    )
