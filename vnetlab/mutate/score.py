"""What became of each fault, and what the suite is worth: killed / not equivalent."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.mutate.fault import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.guarantees import Verdict
    from vnetlab.mutate.fault import Fault
    from vnetlab.mutate.oracle import Witness


class Fate(StrEnum):
    """What became of a fault."""

    KILLED = "killed"
    """A guarantee was broken by packets while the fault was in the lab."""
    EQUIVALENT = "equivalent"
    """The model found no packet that is treated otherwise: nothing is there to notice."""
    SURVIVED = "survived"
    """No guarantee was broken by packets, though some packet is, or may be, treated otherwise."""


class Result(Struct, frozen=True):
    """A fault, judged."""

    fault: Fault
    fate: Fate
    noticed_by: tuple[Verdict, ...] = ()
    """Broken verdicts, of a killed fault."""
    witness: Witness | None = None
    """Of a survivor: a packet that the model says is treated otherwise."""
    doubt: str = ""
    """Of a survivor: why the model, or the packets, could not tell."""


class Tally(Struct, frozen=True):
    """How many faults came to what end."""

    faults: int
    equivalent: int
    killed: int
    survived: int

    @property
    def score(self) -> float:
        """Killed per not equivalent, 0 to 1; 1 where no fault changes anything."""
        noticeable = self.killed + self.survived
        return self.killed / noticeable if noticeable else 1.0


class Score(Struct, frozen=True):
    """All faults of a lab, judged."""

    lab: str
    seed: int
    results: tuple[Result, ...]

    @property
    def total(self) -> Tally:
        """The tally of all faults."""
        return _tally(self.results)

    def by_kind(self) -> Iterator[tuple[str, Tally]]:
        """Yield each kind of fault that there was, with its tally."""
        for kind in KINDS:
            of_kind = tuple(r for r in self.results if r.fault.kind == kind)
            if of_kind:
                yield kind, _tally(of_kind)

    @property
    def survivors(self) -> tuple[Result, ...]:
        """The faults that nobody noticed."""
        return tuple(r for r in self.results if r.fate is Fate.SURVIVED)


def _tally(results: tuple[Result, ...]) -> Tally:
    counts = {fate: sum(r.fate is fate for r in results) for fate in Fate}
    return Tally(len(results), counts[Fate.EQUIVALENT], counts[Fate.KILLED], counts[Fate.SURVIVED])
