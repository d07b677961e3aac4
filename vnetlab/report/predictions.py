"""Predictions beside promises: for people the matrix and every difference, for scripts one object."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from rich.text import Text

from vnetlab.guarantees import UNKNOWN, Verdict, VerdictKind
from vnetlab.predict.compare import differences
from vnetlab.report.json import flow_object
from vnetlab.report.matrix import MOST_ROWS, build_matrix
from vnetlab.report.paragraph import headline
from vnetlab.report.summary import Report
from vnetlab.report.text import KIND_STYLE, PARAGRAPHS, print_matrix

if TYPE_CHECKING:
    from rich.console import Console

    from vnetlab.forecast import Forecast
    from vnetlab.guarantees import Guarantee
    from vnetlab.predict.journey import Prediction

AGREE, DIFFER = "agree", "differ"
_KINDS = {AGREE: VerdictKind.HOLDS, DIFFER: VerdictKind.BROKEN, UNKNOWN: VerdictKind.INCONCLUSIVE}


class Compared(Struct, frozen=True):
    """A guarantee and what the model says of it."""

    guarantee: Guarantee
    prediction: Prediction
    differences: tuple[str, ...]
    count: int = 1
    """How many guarantees of its kind it stands for."""

    @property
    def word(self) -> str:
        """``agree``, ``differ`` or ``unknown``."""
        if self.prediction.outcome is None:
            return UNKNOWN
        return DIFFER if self.differences else AGREE

    @property
    def reason(self) -> str:
        """What differs, where it does, and where the model's packet ended."""
        return "; ".join((*self.differences, self.prediction.reason))


def compare(found: Forecast) -> tuple[Compared, ...]:
    """Put guarantees and predictions beside each other."""
    rows = zip(found.guarantees, found.predictions, found.counts, strict=True)
    return tuple(Compared(g, p, differences(g, p), count) for g, p, count in rows)


def _counts(compared: tuple[Compared, ...]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for each in compared:
        counts[each.word] += each.count
    return counts


def predictions_object(found: Forecast, compared: tuple[Compared, ...]) -> dict[str, Any]:
    """Return the object of `predict --json`."""
    counts = _counts(compared)
    return {
        "lab": found.topology.name,
        "summary": {word: counts[word] for word in (AGREE, DIFFER, UNKNOWN)},
        "groups": [list(group) for group in found.groups.members],
        "predictions": [_object(each) for each in compared],
    }


def _object(each: Compared) -> dict[str, Any]:
    guarantee, outcome = each.guarantee, each.prediction.outcome
    return {
        "guarantee": guarantee.id,
        "mode": guarantee.mode,
        "network": guarantee.network,
        "source": guarantee.source,
        "destination": guarantee.destination,
        "flow": flow_object(guarantee.flow),
        "expected": str(guarantee.expected),
        "predicted": UNKNOWN if outcome is None else str(outcome),
        "comparison": each.word,
        "stands_for": each.count,
        "promise": guarantee.promise,
        "reason": each.reason,
    }


def print_predictions(console: Console, found: Forecast, compared: tuple[Compared, ...]) -> None:
    """Print the matrix of predictions, every difference, and the counts."""
    topology = found.topology
    console.print(Text.assemble(("vnetlab predict ", "bold"), (topology.name, "bold cyan")))
    report = Report(topology, topology.name, tuple(_verdict(each) for each in compared))
    matrix = build_matrix(report, found.groups, folded=len(found.groups.of) > MOST_ROWS)
    if matrix.rows:
        console.print()
        print_matrix(console, matrix)
    _print_differences(console, compared)
    counts = _counts(compared)
    parts = [f"{counts[word]} {word}" for word in (AGREE, DIFFER, UNKNOWN) if counts[word] or word == AGREE]
    console.print()
    console.print(f"{counts.total()} guarantees: promise and model: {', '.join(parts)}")
    if any(each.count > 1 for each in compared):
        console.print("(promises about single nodes and links are counted for one of each kind)", style="dim")


def _verdict(each: Compared) -> Verdict:
    return Verdict(each.guarantee, each.prediction.outcome, _KINDS[each.word], each.reason)


def _print_differences(console: Console, compared: tuple[Compared, ...]) -> None:
    by_promise: dict[tuple[str, str], list[Compared]] = {}
    for each in compared:
        if each.word != AGREE:
            by_promise.setdefault((each.word, each.guarantee.id), []).append(each)
    for (word, promise), found in by_promise.items():
        for each in found[:PARAGRAPHS]:
            line = headline(_verdict(each)).partition(" ")[2]
            line += f" (and {each.count - 1} like it)" if each.count > 1 else ""
            console.print(Text(f"\n{word}: {line}", style=KIND_STYLE[_KINDS[word]]), soft_wrap=True)
            console.print(f"  promised: {each.guarantee.expected}: {each.guarantee.promise}", soft_wrap=True)
            console.print(f"  predicted: {each.prediction.outcome or UNKNOWN}: {each.reason}", soft_wrap=True)
        if (left := len(found) - PARAGRAPHS) > 0:
            console.print(f"\n... and {left} more {promise}; --json lists every prediction")
