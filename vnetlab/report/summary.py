"""What a probe found, counted: the value that every format of the report is made from."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.guarantees import Protocol, Special, VerdictKind
from vnetlab.verdicts import Verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vnetlab.coverage import Coverage
    from vnetlab.examine import Findings
    from vnetlab.guarantees import Flow, Guarantee, Verdict
    from vnetlab.topology.model import Topology

HOLDS, FAILED, UNAVAILABLE = 0, 1, 3


class Report(Struct, frozen=True):
    """The verdicts on a lab, in the order of its guarantees."""

    topology: Topology
    lab: str
    verdicts: Sequence[Verdict]
    coverage: Coverage | None = None
    left_out: int = 0
    """Guarantees that were not put to the test, since others exercise as much of the lab."""

    @classmethod
    def of(cls, topology: Topology, lab: str, findings: Findings) -> Report:
        """Return the report of an examination."""
        verdicts = Verdicts.of(findings.verdicts)
        return cls(topology, lab, verdicts, findings.coverage, findings.left_out)

    def count(self, kind: VerdictKind) -> int:
        """Return how many verdicts are of this kind."""
        return Verdicts.of(self.verdicts).counts()[kind]

    @property
    def troubles(self) -> tuple[Verdict, ...]:
        """Every verdict but `holds`: broken ones first, then inconclusive, then unavailable."""
        verdicts = Verdicts.of(self.verdicts)
        return tuple(
            v for kind in VerdictKind if kind is not VerdictKind.HOLDS for v in verdicts.of_kind(kind)
        )

    @property
    def exit_code(self) -> int:
        """0: all hold. 1: any is broken or inconclusive. 3: any could not be probed here."""
        if self.count(VerdictKind.BROKEN) or self.count(VerdictKind.INCONCLUSIVE):
            return FAILED
        return UNAVAILABLE if self.count(VerdictKind.UNAVAILABLE) else HOLDS

    def by_mode(self) -> tuple[ModeCount, ...]:
        """Return the counts of each mode and of its promises, in order of first appearance."""
        counts: dict[str, dict[str, Counter[VerdictKind]]] = {}
        for guarantee, kind, count in Verdicts.of(self.verdicts).by_pattern():
            promises = counts.setdefault(guarantee.mode, {})
            promises.setdefault(guarantee.id, Counter())[kind] += count
        return tuple(
            ModeCount(mode, tuple(PromiseCount(id_, count) for id_, count in promises.items()))
            for mode, promises in counts.items()
        )


class PromiseCount(Struct, frozen=True):
    """How often one promise was judged, by verdict."""

    id: str
    counts: Mapping[VerdictKind, int]

    def count(self, kind: VerdictKind) -> int:
        """Return how many verdicts are of this kind."""
        return self.counts.get(kind, 0)


class ModeCount(Struct, frozen=True):
    """How often each promise of a mode was judged."""

    mode: str
    promises: tuple[PromiseCount, ...]

    def count(self, kind: VerdictKind) -> int:
        """Return how many verdicts are of this kind."""
        return sum(promise.count(kind) for promise in self.promises)

    @property
    def troubled(self) -> tuple[PromiseCount, ...]:
        """The promises that do not hold everywhere."""
        kinds = [kind for kind in VerdictKind if kind is not VerdictKind.HOLDS]
        return tuple(p for p in self.promises if any(p.count(kind) for kind in kinds))


def flow_label(flow: Flow) -> str:
    """Return a flow in a few words, such as ``ipv4 tcp 443`` or ``ipv6 udp 5000 forged-source``."""
    words = [str(flow.family), str(flow.protocol)]
    if flow.destination_port:
        words.append(str(flow.destination_port))
    if flow.protocol is Protocol.UDP and not flow.answer and flow.special is Special.NONE:
        words.append("one-way")
    if flow.special is not Special.NONE:
        words.append(str(flow.special))
    return " ".join(words)


def titles(guarantees: Sequence[Guarantee]) -> tuple[str, ...]:
    """Return a name for each guarantee: stable, readable, and unique among them.

    Those that read the same differ by the flow's destination address, and at last by a number.
    """
    plain = [_title(guarantee) for guarantee in guarantees]
    often = Counter(plain)
    longer = [
        title if often[title] == 1 else f"{title} at {guarantee.flow.destination_address}"
        for title, guarantee in zip(plain, guarantees, strict=True)
    ]
    seen: Counter[str] = Counter()
    unique: list[str] = []
    for title in longer:
        seen[title] += 1
        unique.append(title if seen[title] == 1 else f"{title} #{seen[title]}")
    return tuple(unique)


def _title(guarantee: Guarantee) -> str:
    ends = f"{guarantee.source} -> {guarantee.destination}"
    return f"{guarantee.id}: {ends}: {flow_label(guarantee.flow)}"
