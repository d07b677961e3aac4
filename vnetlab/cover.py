"""The smallest flight that exercises as much: greedy set cover. Pure, and the same in every run."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, TypeVar

from vnetlab.guarantees import Special

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

    from vnetlab.guarantees import Guarantee

Thing = TypeVar("Thing")


def cover(uses: Sequence[Set[Thing]]) -> tuple[int, ...]:
    """Return numbers of sets whose union is that of all, in their order.

    At each step the set that adds most is taken, and of equal ones the first. The greedy choice is at most
    ln(n) + 1 times as large as the smallest one (Chvatal 1979), which nobody finds in a useful time.
    """
    distinct: dict[frozenset[Thing], int] = {}
    for number, used in enumerate(uses):
        distinct.setdefault(frozenset(used), number)
    left: set[Thing] = set().union(*distinct)
    heap = [(-len(used), number) for used, number in distinct.items()]
    heapify(heap)
    taken = []
    while left:
        promised, number = heappop(heap)
        gain = len(left.intersection(uses[number]))
        if gain == -promised:
            taken.append(number)
            left.difference_update(uses[number])
        elif gain:  # what a set adds only ever shrinks: it waits for its turn
            heappush(heap, (-gain, number))
    return tuple(sorted(taken))


def with_companions(guarantees: Sequence[Guarantee], chosen: Iterable[int]) -> tuple[int, ...]:
    """Add the guarantees without which a chosen one says nothing: of senders that use one port at once."""
    numbers = set(chosen)
    shared = {_meeting(guarantees[n]) for n in numbers if guarantees[n].flow.special is Special.SAME_PORT}
    return tuple(
        number
        for number, guarantee in enumerate(guarantees)
        if number in numbers
        or (guarantee.flow.special is Special.SAME_PORT and _meeting(guarantee) in shared)
    )


def _meeting(guarantee: Guarantee) -> tuple[object, ...]:
    flow = guarantee.flow
    return guarantee.network, flow.protocol, flow.destination_address, flow.destination_port
