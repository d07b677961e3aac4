"""The cells of a matrix, worked out of the arrays of all verdicts at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vnetlab.guarantees import Outcome, VerdictKind
from vnetlab.report.cell import REACHED, Cell, is_plain
from vnetlab.verdicts import KINDS, Verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from vnetlab.guarantees import Verdict

_OUTCOMES = (*Outcome, None)
_PLAIN = 1 << len(_OUTCOMES)
_KINDS = (
    (VerdictKind.BROKEN, Cell.BROKEN),
    (VerdictKind.INCONCLUSIVE, Cell.INCONCLUSIVE),
    (VerdictKind.UNAVAILABLE, Cell.UNAVAILABLE),
)


def cells_of(
    verdicts: Sequence[Verdict], group: Mapping[str, str] | None = None
) -> dict[tuple[str, str], Cell]:
    """Return what became of all flows of each pair of nodes; or of groups, where each node's is given."""
    many = Verdicts.of(verdicts)
    if not len(many):
        return {}
    nodes = many.guarantees.nodes
    names = tuple(dict.fromkeys(group[node] if group else node for node in nodes))
    numbers = {name: number for number, name in enumerate(names)}
    of = np.array([numbers[group[node] if group else node] for node in nodes], np.int64)
    keys = of[many.guarantees.source] * len(names) + of[many.guarantees.destination]
    order = np.argsort(keys, kind="stable")
    pairs, starts = np.unique(keys[order], return_index=True)
    marks = np.bitwise_or.reduceat(_marks(many)[order], starts)
    told = {mark: _cell(mark) for mark in np.unique(marks).tolist()}
    return {
        (names[pair // len(names)], names[pair % len(names)]): told[mark]
        for pair, mark in zip(pairs.tolist(), marks.tolist(), strict=True)
    }


def _marks(many: Verdicts) -> NDArray[np.int64]:
    """Return a bit for the kind of each verdict, and bits for what was observed, twice of plain flows."""
    patterns = many.guarantees.patterns
    expected = np.array([_OUTCOMES.index(p.guarantee.expected) for p in patterns], np.int64)
    plain = np.array([is_plain(p.guarantee) for p in patterns], np.bool_)[many.guarantees.pattern]
    observed = expected[many.guarantees.pattern]  # of what holds
    for number, verdict in many.made.items():
        observed[number] = _OUTCOMES.index(verdict.observed)
    bits = np.int64(1) << observed
    bits |= np.where(plain, bits * _PLAIN, 0)
    return bits | (np.int64(_PLAIN * _PLAIN) << many.kinds.astype(np.int64))


def _cell(mark: int) -> Cell:
    for kind, cell in _KINDS:
        if mark & (_PLAIN * _PLAIN << KINDS.index(kind)):
            return cell
    bits = mark // _PLAIN % _PLAIN or mark % _PLAIN
    found = {outcome for number, outcome in enumerate(_OUTCOMES) if bits >> number & 1}
    if found <= set(REACHED):
        return Cell.BOTH
    if found & set(REACHED):
        return Cell.PART
    return Cell.REJECTED if Outcome.REJECTED in found else Cell.SILENT
