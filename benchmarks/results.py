"""What a run measured, as values, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from statistics import median

FLOOR, BARE, VNETLAB, MININET, PHASES = "floor", "bare", "vnetlab", "mininet", "phases"
GROWTH = "growth"


@dataclass(frozen=True, slots=True)
class Sample:
    """One build and removal by one of the builders."""

    builder: str
    """``floor``, ``bare`` (the floor without settings and rules), ``vnetlab``, ``mininet``; or ``phases``:
    those of vnetlab inside one process, ``growth``: the pure ones with twenty networks at any size."""
    machines: int
    round: int
    up: float
    """Seconds of the command that builds, from its start until the lab can be used."""
    down: float
    """Seconds from the request to remove until the kernel has removed all."""
    memory: int = 0
    """Bytes: the peak of the largest process of the command that builds."""
    holder: int = 0
    """Bytes: the peak of the process that holds the lab."""
    phases: tuple[tuple[str, float], ...] = ()
    """Seconds of the parts."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """What went between two machines in one direction, in bits and packets per second."""

    way: str
    builder: str
    round: int
    bits: float
    packets: float


@dataclass(frozen=True, slots=True)
class Report:
    """A run: the machine, and every sample."""

    kernel: str
    processors: int
    samples: tuple[Sample, ...] = ()
    throughput: tuple[Throughput, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> str:
        """Return the whole as JSON text."""
        return json.dumps(asdict(self), indent=1) + "\n"

    def sizes(self) -> tuple[int, ...]:
        """Return the numbers of machines, ascending."""
        return tuple(sorted({sample.machines for sample in self.samples}))

    def of(self, builder: str, machines: int) -> tuple[Sample, ...]:
        """Return the samples of one builder at one size, in the order of their rounds."""
        found = (s for s in self.samples if s.builder == builder and s.machines == machines)
        return tuple(sorted(found, key=lambda sample: sample.round))


def ratio(report: Report, what: str, over: str, under: str, machines: int) -> float | None:
    """Return the median over the rounds of one builder's time by another's in the same round."""
    pairs = {s.round: s for s in report.of(under, machines)}
    ratios = [
        getattr(s, what) / getattr(pairs[s.round], what)
        for s in report.of(over, machines)
        if s.round in pairs and getattr(pairs[s.round], what)
    ]
    return median(ratios) if ratios else None
