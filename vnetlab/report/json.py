"""Objects for `--json` about flows: a contract with other people's scripts, changed only by adding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vnetlab.guarantees import UNKNOWN, VerdictKind
from vnetlab.items import ItemKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vnetlab.coverage import Coverage
    from vnetlab.guarantees import Flow, Verdict
    from vnetlab.report.summary import Report

JsonObject = dict[str, Any]


class _OneByOne(list[JsonObject]):
    """Verdicts as JSON has them, each made when it is written: a million of them would fill the memory."""

    def __init__(self, verdicts: Sequence[Verdict]) -> None:
        super().__init__()
        self._verdicts = verdicts

    def __len__(self) -> int:
        return len(self._verdicts)

    def __iter__(self) -> Iterator[JsonObject]:
        return map(_verdict, self._verdicts)


def report_object(report: Report) -> JsonObject:
    """Return the object of `probe --json`."""
    return {
        "lab": report.lab,
        "summary": {str(kind): report.count(kind) for kind in VerdictKind},
        "verdicts": _OneByOne(report.verdicts),
        "coverage": None if report.coverage is None else coverage_object(report.coverage),
        "left_out": report.left_out,
    }


def coverage_object(coverage: Coverage) -> JsonObject:
    """Return what was exercised, by kind of object, and each object that was not."""
    counts = {
        f"{kind}s": {"covered": coverage.count(kind), "total": coverage.totals[kind]} for kind in ItemKind
    }
    uncovered = [
        {
            "kind": str(each.item.kind),
            "namespace": each.item.namespace,
            "name": each.item.name,
            "about": each.item.about,
            "why": each.why,
        }
        for each in coverage.uncovered
    ]
    return {**counts, "uncovered": uncovered, "disputed": list(coverage.disputed)}


def _verdict(verdict: Verdict) -> JsonObject:
    guarantee = verdict.guarantee
    return {
        "guarantee": guarantee.id,
        "mode": guarantee.mode,
        "network": guarantee.network,
        "source": guarantee.source,
        "destination": guarantee.destination,
        "flow": flow_object(guarantee.flow),
        "expected": str(guarantee.expected),
        "predicted": str(verdict.predicted or UNKNOWN),
        "present": str(verdict.present or UNKNOWN),
        "observed": None if verdict.observed is None else str(verdict.observed),
        "verdict": str(verdict.kind),
        "promise": guarantee.promise,
        "reason": verdict.reason,
        "evidence": list(verdict.evidence),
    }


def flow_object(flow: Flow) -> JsonObject:
    """Return a flow as every format of `--json` shows it."""
    source = flow.source_address
    return {
        "family": str(flow.family),
        "protocol": str(flow.protocol),
        "source_address": None if source is None else str(source),
        "source_port": flow.source_port,
        "destination_address": str(flow.destination_address),
        "destination_port": flow.destination_port,
        "answer": flow.answer,
        "special": str(flow.special),
        "ttl": flow.ttl,
        "size": flow.size,
    }
