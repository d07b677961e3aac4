"""Verdicts by the million: their kinds in an array, and each in full when somebody looks at it.

A sequence of `Verdict` like any other to whoever does not care.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from vnetlab.guarantees import Verdict, VerdictKind
from vnetlab.lazy import Lazy
from vnetlab.many import Guarantees

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from vnetlab.guarantees import Guarantee

KINDS = tuple(VerdictKind)
HOLDS = KINDS.index(VerdictKind.HOLDS)


class Verdicts(Lazy[Verdict]):
    """One verdict for each guarantee, in their order."""

    def __init__(
        self,
        guarantees: Guarantees,
        kinds: NDArray[np.int8],
        make: Callable[[int], Verdict],
        known: Mapping[int, Verdict],
    ) -> None:
        """Take the kinds by their numbers in KINDS, what makes a verdict, and those that are made already."""
        self.guarantees = guarantees
        self.kinds = kinds
        self._make = make
        self._known = dict(known)

    @classmethod
    def of(cls, verdicts: Iterable[Verdict]) -> Verdicts:
        """Return verdicts as such; those that are such already as they are."""
        if isinstance(verdicts, Verdicts):
            return verdicts
        found = tuple(verdicts)
        kinds = np.array([KINDS.index(verdict.kind) for verdict in found], np.int8)
        guarantees = Guarantees.of(verdict.guarantee for verdict in found)
        return cls(guarantees, kinds, found.__getitem__, dict(enumerate(found)))

    def __len__(self) -> int:
        return len(self.kinds)

    def _item(self, number: int) -> Verdict:
        known = self._known.get(number)
        return self._make(number) if known is None else known

    @property
    def made(self) -> Mapping[int, Verdict]:
        """Verdicts that are made already, by number: all that do not hold, and maybe others."""
        return self._known

    def remade(self, number: int) -> Verdict:
        """Return a verdict made by itself, whatever is known of it."""
        return self._make(number)

    def of_kind(self, kind: VerdictKind) -> Iterator[Verdict]:
        """Yield the verdicts of a kind, in their order."""
        return (self[number] for number in np.flatnonzero(self.kinds == KINDS.index(kind)).tolist())

    def by_pattern(self) -> Iterator[tuple[Guarantee, VerdictKind, int]]:
        """Yield the first guarantee of each pattern and kind of verdict, in order, and how many there are."""
        keys = self.guarantees.pattern.astype(np.int64) * len(KINDS) + self.kinds
        _, first, counts = np.unique(keys, return_index=True, return_counts=True)
        for at in np.argsort(first).tolist():
            number = int(first[at])
            yield self.guarantees[number], KINDS[self.kinds[number]], int(counts[at])

    def counts(self) -> Counter[VerdictKind]:
        """Return how many there are of each kind."""
        counts = np.bincount(self.kinds, minlength=len(KINDS)).tolist()
        return Counter({kind: count for kind, count in zip(KINDS, counts, strict=True) if count})
