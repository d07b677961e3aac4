"""Four answers to one question become one verdict: promised, predicted, present and observed. Pure.

The judge has compared what was promised with what was observed. Beside them stand two answers of the
model: of the State that was compiled (predicted) and of the one read back from the kernel (present).

- Answers that differ, in outcome or in a promised detail, make the verdict broken, whichever they are and
  whatever is missing: its reason says which differ from which, and why.
- A model that does not know makes it inconclusive, like an observation that proves nothing.
- What the judge says stays otherwise: a flow that cannot be probed here is unavailable as long as the
  model does not contradict the promise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vnetlab.guarantees import Outcome, Verdict, VerdictKind
from vnetlab.predict.compare import differences
from vnetlab.verdicts import HOLDS, KINDS, Verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vnetlab.guarantees import Guarantee
    from vnetlab.predict.journey import Prediction
    from vnetlab.predict.matrix import Predictions

PROMISED, PREDICTED, PRESENT, OBSERVED = "promised", "predicted", "present", "observed"
MOST_CHANGES = 3
"""So many differences between the compiled State and the one present are named in a reason."""


class _Answer(NamedTuple):
    """One of the four, where it was given at all."""

    name: str
    outcome: Outcome
    as_promised: bool
    """Outcome and every promised detail are those of the promise."""
    why: str

    def agrees_with(self, other: _Answer) -> bool:
        return (self.outcome, self.as_promised) == (other.outcome, other.as_promised)


def settle_all(
    judged: Verdicts, predicted: Predictions, present: Predictions, drift: Sequence[str] = ()
) -> Verdicts:
    """Return the verdict on each guarantee that the judge has judged, as settle() does.

    Where packets did what was promised, and the model says the same of one guarantee of each class that are
    alike to it, all four agree.
    """
    many = judged.guarantees
    size = len(present.found)
    keys = (many.pattern.astype(np.int64) * len(predicted.found) + predicted.which) * size + present.which
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    agree = [
        all(_as_promised(many[at], answers.bare(at)) for answers in (predicted, present))
        for at in first.tolist()
    ]
    sure = (judged.kinds == HOLDS) & np.array(agree, np.bool_)[group]

    def settled(number: int) -> Verdict:
        return settle(judged[number], predicted[number], present[number], drift)

    known = {number: settled(number) for number in np.flatnonzero(~sure).tolist()}
    kinds = np.full(len(many), HOLDS, np.int8)
    for number, verdict in known.items():
        kinds[number] = KINDS.index(verdict.kind)
    return Verdicts(many, kinds, settled, known)


def _as_promised(guarantee: Guarantee, prediction: Prediction) -> bool:
    return prediction.outcome is guarantee.expected and not differences(guarantee, prediction)


def settle(judged: Verdict, predicted: Prediction, present: Prediction, drift: Sequence[str] = ()) -> Verdict:
    """Return the verdict on a guarantee that the judge has judged by packets alone.

    ``drift`` says in what the State present is not the compiled one.
    """
    guarantee = judged.guarantee
    answers = [
        _Answer(PROMISED, guarantee.expected, True, guarantee.promise),
        *_of_model(PREDICTED, guarantee, predicted),
        *_of_model(PRESENT, guarantee, present),
        *_of_packets(judged),
    ]
    kind, reason = judged.kind, judged.reason
    if any(not answer.agrees_with(answers[0]) for answer in answers):
        kind, reason = VerdictKind.BROKEN, _disagreement(answers, drift)
    elif doubts := [*_doubts(predicted, present, drift)]:
        lost = [reason] if kind is VerdictKind.INCONCLUSIVE else []
        kind, reason = VerdictKind.INCONCLUSIVE, "; ".join([*doubts, *lost])
    return Verdict(
        guarantee,
        judged.observed,
        kind,
        reason,
        (*judged.evidence, *_ways(predicted, present)),
        predicted.outcome,
        present.outcome,
    )


def _of_model(name: str, guarantee: Guarantee, prediction: Prediction) -> Iterator[_Answer]:
    if prediction.outcome is None:
        return
    found = differences(guarantee, prediction)
    if prediction.outcome is not guarantee.expected:
        yield _Answer(name, prediction.outcome, False, prediction.reason)
    else:
        yield _Answer(name, prediction.outcome, not found, "; ".join(found))


def _of_packets(judged: Verdict) -> Iterator[_Answer]:
    """Yield what packets did, unless it proves nothing."""
    proves = judged.kind in (VerdictKind.HOLDS, VerdictKind.BROKEN)
    if proves and judged.observed is not None:
        yield _Answer(OBSERVED, judged.observed, judged.kind is VerdictKind.HOLDS, judged.reason)


def _doubts(predicted: Prediction, present: Prediction, drift: Sequence[str]) -> Iterator[str]:
    if predicted.outcome is None:
        yield f"the model does not know what the compiled state does: {predicted.reason}"
    if present.outcome is None and (predicted.outcome is not None or predicted.reason != present.reason):
        changed = f"; {_changed(drift)}" if drift else ""
        yield f"the model does not know what the state present does: {present.reason}{changed}"


def _disagreement(answers: Sequence[_Answer], drift: Sequence[str]) -> str:
    """Say which answers differ from which, and why; the first of them is the promise."""
    groups: list[list[_Answer]] = []
    for answer in answers:
        for group in groups:
            if answer.agrees_with(group[0]):
                group.append(answer)
                break
        else:
            groups.append([answer])
    promise = answers[0]
    said = ", but ".join(
        f"{_joined([a.name for a in group])} {_words(group[0], promise)}" for group in groups
    )
    return "; ".join([said, *_causes({answer.name: answer for answer in answers}, drift)])


def _words(answer: _Answer, promise: _Answer) -> str:
    differs_in_detail = not answer.as_promised and answer.outcome is promise.outcome
    return f"{answer.outcome} otherwise" if differs_in_detail else str(answer.outcome)


def _causes(answers: Mapping[str, _Answer], drift: Sequence[str]) -> Iterator[str]:
    predicted, present, observed = (answers.get(name) for name in (PREDICTED, PRESENT, OBSERVED))
    if observed and not observed.as_promised:
        yield observed.why
    if predicted and present and not predicted.agrees_with(present):
        yield _changed(drift)
    for model, state in ((predicted, "compiled state"), (present, "state present")):
        if model and not model.as_promised:
            yield f"the model of the {state} says: {model.why}"
    models = [model for model in (predicted, present) if model]
    if observed and not observed.as_promised and models and all(model.as_promised for model in models):
        yield "nothing that the model knows accounts for it"


def _changed(drift: Sequence[str]) -> str:
    if not drift:
        return "the lab is not what the file makes"
    shown = "; ".join(drift[:MOST_CHANGES])
    left = len(drift) - MOST_CHANGES
    return f"the lab is not what the file makes: {shown}" + (f"; and {left} more" if left > 0 else "")


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _ways(predicted: Prediction, present: Prediction) -> tuple[str, ...]:
    """Return what decided in the model: evidence, a line each."""
    if predicted.reason == present.reason:
        return (f"model: {predicted.reason}",)
    return (
        f"model of the compiled state: {predicted.reason}",
        f"model of the state present: {present.reason}",
    )
