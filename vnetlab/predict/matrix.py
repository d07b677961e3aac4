"""Every guarantee of a topology, put to a model of a State: the second answer beside the promised one.

What is expected decides two things of the experiment, and no outcome: a port that is to refuse stays closed
(see around.py), and where nothing is to arrive, a frame for somebody else's NIC is an arrival too.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from vnetlab import garbage
from vnetlab.guarantees import Outcome
from vnetlab.lazy import Lazy
from vnetlab.many import Guarantees
from vnetlab.predict.around import model_with, sockets_for
from vnetlab.predict.groups import groups_of
from vnetlab.predict.journey import Prediction
from vnetlab.predict.mentions import mentions
from vnetlab.predict.sameness import is_same
from vnetlab.predict.symbols import Symbols

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from vnetlab.guarantees import Guarantee
    from vnetlab.items import Item
    from vnetlab.predict.world import Sockets, World
    from vnetlab.state import State
    from vnetlab.topology.model import Topology

_REACHED = (Outcome.DELIVERED, Outcome.REFUSED)


def predict(
    topology: Topology, state: State, guarantees: Sequence[Guarantee], *, exercising: bool = True
) -> Predictions:
    """Return the model's answer to each guarantee, in their order.

    Of flows that are alike, between endpoints of equal treatment, one is followed. Without ``exercising`` it
    is not asked for all that a flow exercises beside its own way and that of its answer.
    """
    with garbage.paused():
        return _predictions(topology, state, Guarantees.of(guarantees), exercising=exercising)


def predict_each(topology: Topology, state: State, guarantees: Sequence[Guarantee]) -> tuple[Prediction, ...]:
    """Do as predict() without ``exercising``, for guarantees of which no two are alike."""
    with garbage.paused():
        asking = Asking(topology, state, sockets_for(guarantees), exercising=False)
        return tuple(asking.answer(guarantee) for guarantee in guarantees)


def predict_again(
    topology: Topology, before: Predictions, state: State, guarantees: Sequence[Guarantee]
) -> Predictions:
    """Do as predict() for another State of the same lab: what is the same to the model is not asked twice."""
    with garbage.paused():
        same = is_same(before.world, state)
    return before if same else predict(topology, state, guarantees)


class Predictions(Lazy[Prediction]):
    """One prediction for each guarantee, in their order: of those that are alike, one is worked out."""

    def __init__(
        self, world: World, guarantees: Guarantees, alike: Alike, which: NDArray[np.int64],
        asked: Sequence[int], found: Sequence[Prediction],
    ) -> None:  # fmt: skip
        """Take for each guarantee which answer is its own; and of each the guarantee that was asked about."""
        self.world = world
        self.which = which
        self.asked = tuple(asked)
        self.found = tuple(found)
        self._guarantees = guarantees
        self._alike = alike

    def __len__(self) -> int:
        return len(self.which)

    def _item(self, number: int) -> Prediction:
        return self._exchanged(self.found, number)

    @cached_property
    def _bare(self) -> tuple[Prediction, ...]:
        nothing: frozenset[Item] = frozenset()
        return tuple(replace(each, used=nothing, after=nothing) for each in self.found)

    def bare(self, number: int) -> Prediction:
        """Return a prediction without what the flow exercises, which of a flood is most of it."""
        return self._exchanged(self._bare, number)

    def _exchanged(self, found: tuple[Prediction, ...], number: int) -> Prediction:
        which = int(self.which[number])
        if self.asked[which] == number:
            return found[which]
        known, wanted = self._guarantees[self.asked[which]], self._guarantees[number]
        return self._alike.exchange(found[which], known, wanted)

    def differs_from(self, other: Predictions) -> bool:
        """Tell whether the model of another State says anything else of any guarantee."""
        many = self._guarantees
        keys = many.pattern.astype(np.int64) * len(self.found) + self.which
        keys = keys * len(other.found) + other.which
        return any(self.bare(at) != other.bare(at) for at in np.unique(keys, return_index=True)[1].tolist())

    def summed(self, mask: NDArray[np.bool_]) -> tuple[Prediction, ...]:
        """Return the answers to the guarantees of a mask, each once, with all that any of these exercise.

        What a flow goes through is its sender's, its receiver's or neither's; so each answer is exchanged for
        each sender and each receiver of its own, and not for every pair of them.
        """
        telling = self._telling(np.flatnonzero(mask))
        which = self.which[telling]
        order = np.argsort(which, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(which[order])) + 1)
        return tuple(self._sum(int(which[part[0]]), telling[part].tolist()) for part in parts if len(part))

    def _sum(self, which: int, numbers: Sequence[int]) -> Prediction:
        prediction, asked = self.found[which], self._guarantees[self.asked[which]]
        wanted = [self._guarantees[number] for number in numbers]
        used = self._alike.exchanged_items(prediction.used, asked, wanted)
        after = prediction.after and self._alike.exchanged_items(prediction.after, asked, wanted)
        return replace(prediction, used=used, after=after)

    def _telling(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return so many of these that each answer is there with each of its senders and receivers."""
        many = self._guarantees
        found = [numbers[:0]]
        for ends in (many.source, many.destination):
            keys = self.which[numbers] * len(many.nodes) + ends[numbers]
            found.append(numbers[np.unique(keys, return_index=True)[1]])
        return np.unique(np.concatenate(found))


def _predictions(topology: Topology, state: State, many: Guarantees, *, exercising: bool) -> Predictions:
    sockets = sockets_for(many)
    asking = Asking(topology, state, sockets, exercising=exercising)
    alike = Alike(topology, state, sockets)
    first, group = alike.classes(many)
    numbers: dict[Hashable, int] = {}
    asked: list[int] = []
    found: list[Prediction] = []
    which = np.zeros(len(first), np.int64)
    for at, number in enumerate(first.tolist()):
        guarantee = many[number]
        known = numbers.setdefault(alike.key(guarantee), len(found))
        which[at] = known
        if known == len(found):
            asked.append(number)
            found.append(asking.answer(guarantee))
    return Predictions(asking.model.world, many, alike, which[group], asked, found)


class Asking:
    """Puts guarantees to a model of a State."""

    def __init__(
        self, topology: Topology, state: State, sockets: Sequence[Sockets], *, exercising: bool
    ) -> None:
        self.model = model_with(topology, state, sockets)
        self._hosts = topology.hosts
        self._taps = {vm.name for vm in topology.vms.values() if vm.backend == "tap"}
        self._exercising = exercising

    def answer(self, guarantee: Guarantee) -> Prediction:
        """Return what the flow means for its destination."""
        destination = guarantee.destination
        return self.model.send(guarantee.source, guarantee.flow, exercising=self._exercising).prediction(
            destination,
            is_host=destination in self._hosts,
            is_guest=destination in self._taps,
            any_frame=guarantee.expected not in _REACHED,
        )


class Alike:
    """Tells which guarantees are the same question but for names, sockets included."""

    def __init__(self, topology: Topology, state: State, sockets: Sequence[Sockets]) -> None:
        mentioned = mentions(state)
        self._symbols = Symbols(topology, state, groups_of(topology, state, mentioned), mentioned.port)
        self._sockets = {each.node: each for each in sockets}
        self.exchange = self._symbols.exchange
        self.exchanged_items = self._symbols.exchanged_items

    def classes(self, many: Guarantees) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return one guarantee of each class that is alike for certain, and everyone's class."""
        return self._symbols.classes(many, self._standing)

    def _standing(self, node: str) -> Hashable:
        sockets = self._sockets.get(node)
        return self._symbols.group(node), (sockets.ports, sockets.groups) if sockets else None

    def key(self, guarantee: Guarantee) -> Hashable:
        """Return what tells a guarantee from all that are not alike."""
        here, there = self._sockets.get(guarantee.source), self._sockets.get(guarantee.destination)
        reached = guarantee.expected in _REACHED
        heard = there.groups if there and guarantee.flow.destination_address.is_multicast else None
        ports = here.ports if here else None, there.ports if there else None
        return self._symbols.key(guarantee), reached, ports, heard
