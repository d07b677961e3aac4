"""A flow without names: whose address, whose MAC, instead of which.

Two flows that read the same in symbols, between members of the same groups, go the same way; what the model
says of one is said of the other once names, MACs and addresses are exchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from msgspec.structs import replace

from vnetlab import names
from vnetlab.guarantees import Protocol
from vnetlab.items import Item
from vnetlab.predict.journey import Prediction
from vnetlab.predict.packet import address_of, group_mac, link_local, solicited_node

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from numpy.typing import NDArray

    from vnetlab.guarantees import Flow, Guarantee
    from vnetlab.many import Guarantees
    from vnetlab.predict.groups import Groups
    from vnetlab.predict.journey import Received
    from vnetlab.state import State
    from vnetlab.topology.model import Topology

_Value = TypeVar("_Value")
_SOURCE, _DESTINATION = 0, 1
_SOLICITED = "solicited"
Symbol = object
"""An end (0 the source, 1 the destination) and the number of one of its values; or a value as it is."""


class Symbols:
    """What is each node's own, in an order that is the same for all members of a group."""

    def __init__(
        self, topology: Topology, state: State, groups: Groups, port_run: Callable[[int], int]
    ) -> None:
        """``port_run`` tells which run of ports, that no rule tells apart, a port is in."""
        self._altnames = {(n.name, link.name): link.altname for n in state.namespaces for link in n.links}
        self._groups = groups.of
        self.port_run = port_run
        present = [*topology.hosts, *topology.vms, *topology.machines]
        self._own = {
            name: _values(topology, name) if len(groups.members[groups.of[name]]) > 1 else ()
            for name in present
        }
        self._written: dict[str, tuple[str, ...]] = {}
        self._at = {name: {value: at for at, value in enumerate(own)} for name, own in self._own.items()}

    def group(self, node: str) -> int:
        """Return the number of a node's group."""
        return self._groups[node]

    def key(self, guarantee: Guarantee) -> Hashable:
        """Return a flow in symbols, with the groups of its ends."""
        flow, source, destination = guarantee.flow, guarantee.source, guarantee.destination
        here, there = self._at[source], self._at[destination]

        def symbol(value: Hashable) -> Symbol:
            at = there.get(value)
            if at is not None:
                return _DESTINATION, at
            at = here.get(value)
            return value if at is None else (_SOURCE, at)

        return (
            self._groups[source],
            self._groups[destination],
            flow.family,
            flow.protocol,
            symbol(flow.destination_address),
            symbol(flow.source_address),
            self.port_run(flow.source_port),
            flow.destination_port,
            flow.answer,
            flow.special,
            flow.out_nic,
            _SOLICITED if _is_solicitation(flow) else symbol(flow.next_hop_mac),
            flow.ttl,
            flow.size,
        )

    def classes(
        self, many: Guarantees, standing: Callable[[str], Hashable]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return one guarantee of each class whose members have equal keys for certain, and everyone's class.

        A key depends on the pattern, on the groups of the ends, and on the run of the port; ``standing`` is a
        node's group, with whatever else is to tell nodes apart.
        """
        numbers: dict[Hashable, int] = {}
        nodes = np.array([numbers.setdefault(standing(n), len(numbers)) for n in many.nodes], np.int64)
        ports, port = np.unique(many.source_port, return_inverse=True)
        runs = np.array([self.port_run(number) for number in ports.tolist()], np.int64)
        run = np.unique(runs, return_inverse=True)[1][port] if len(port) else port
        size = len(numbers)
        key = (many.pattern.astype(np.int64) * size + nodes[many.source]) * size + nodes[many.destination]
        key = key * (int(run.max()) + 1 if len(run) else 1) + run
        return first_of_each(key)

    def exchange(self, prediction: Prediction, asked: Guarantee, wanted: Guarantee) -> Prediction:
        """Return what a prediction about one guarantee says about another one of the same key."""
        old = (*self._own[asked.destination], *self._own[asked.source])
        new = (*self._own[wanted.destination], *self._own[wanted.source])
        if not old and asked.flow.source_port == wanted.flow.source_port:
            return prediction
        values = dict(zip(old, new, strict=True))
        texts = _permutation(self._texts(asked), self._texts(wanted))
        return Prediction(
            prediction.outcome,
            _reworded(prediction.reason, texts),
            prediction.answered,
            _received(prediction.received, values, asked.flow, wanted.flow),
            _exchanged(values, prediction.error_from),
            prediction.error_code,
            frozenset(self._item(item, texts) for item in prediction.used),
            prediction.after and frozenset(self._item(item, texts) for item in prediction.after),
        )

    def exchanged_items(
        self, items: frozenset[Item], asked: Guarantee, wanted: Iterable[Guarantee]
    ) -> frozenset[Item]:
        """Return what several guarantees of one key exercise together, where one of them exercises these."""
        named: dict[str, set[Item]] = {}
        for item in items:
            for word in (item.namespace, item.name):
                named.setdefault(word, set()).add(item)
        old = self._texts(asked)
        found: set[Item] = set()
        gone = set(items)  # what each of them has something else in place of
        for guarantee in wanted:
            texts = _permutation(old, self._texts(guarantee))
            touched = set().union(*(named.get(word, ()) for word in texts))
            gone &= touched
            found.update(self._item(item, texts) for item in touched)
        return frozenset((items - gone) | found)

    def _item(self, item: Item, texts: Mapping[str, str]) -> Item:
        """Return the object that takes another's place; of a route or a rule only the namespace changes."""
        if item.namespace not in texts and item.name not in texts:
            return item
        space, name = texts.get(item.namespace, item.namespace), texts.get(item.name, item.name)
        return Item(item.kind, space, name, self._altnames.get((space, name), item.about), item.way)

    def _texts(self, guarantee: Guarantee) -> tuple[str, ...]:
        """Return the values of both ends as sentences name them."""
        found: tuple[str, ...] = ()
        for name in (guarantee.destination, guarantee.source):
            if name not in self._written:
                self._written[name] = tuple(str(value) for value in self._own[name])
            found += self._written[name]
        return found


def first_of_each(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each key is met first, in this order, and for every place which of these is its own."""
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)  # what is asked first is told first
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[group]


def _values(topology: Topology, name: str) -> tuple[Hashable, ...]:
    """Return what a VM or machine has for itself: its name, addresses, MACs and ports, in a fixed order."""
    node = topology.node(name)
    assert isinstance(node.nics, tuple)
    found: list[Hashable] = [name]
    for nic in node.nics:
        found += [nic.mac, address_of(6, link_local(nic.mac)), names.port(name, nic.name)]
        for own in nic.addresses:
            found.append(own.ip)
            if own.version == 6:
                found.append(address_of(6, solicited_node(int(own.ip))))
    return tuple(found)


def _is_solicitation(flow: Flow) -> bool:
    """Tell whether the frame goes to the group that the destination is asked for by."""
    if flow.protocol is not Protocol.RESOLUTION or flow.family.version == 4:
        return False
    return flow.next_hop_mac == group_mac(6, solicited_node(int(flow.destination_address)))


def _exchanged(values: Mapping[Hashable, Hashable], value: _Value) -> _Value:
    """Return the value that takes another's place, which is of the same type; most stay."""
    return values.get(value, value)  # type: ignore[return-value]


def _received(
    received: Received | None, values: Mapping[Hashable, Hashable], asked: Flow, wanted: Flow
) -> Received | None:
    if received is None:
        return None
    port = wanted.source_port if received.source_port == asked.source_port else received.source_port
    return replace(
        received,
        device=_exchanged(values, received.device),
        source_mac=_exchanged(values, received.source_mac),
        source_address=_exchanged(values, received.source_address),
        destination_address=_exchanged(values, received.destination_address),
        source_port=port,
    )


def _reworded(reason: str, texts: Mapping[str, str]) -> str:
    """Exchange what a sentence names, word by word; a colon may follow a word."""
    words = []
    for word in reason.split(" "):
        bare = word.removesuffix(":")
        words.append(texts.get(word) or (texts[bare] + ":" if bare in texts else word))
    return " ".join(words)


def _permutation(old: tuple[str, ...], new: tuple[str, ...]) -> dict[str, str]:
    """Return what takes whose place: whoever is replaced by another takes a place that became free."""
    found = dict(zip(old, new, strict=True))
    origin = {value: key for key, value in found.items()}
    for value in new:
        if value not in found:
            free = value
            while free in origin:
                free = origin[free]
            found[value] = free
    return found
