"""Objects for `--json`: a contract with other people's scripts, changed only by adding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vnetlab.guarantees import UNKNOWN, VerdictKind
from vnetlab.items import ItemKind
from vnetlab.report.changes import change_objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vnetlab.converge import Comparison
    from vnetlab.coverage import Coverage
    from vnetlab.guarantees import Flow, Verdict
    from vnetlab.plan import Step
    from vnetlab.report.summary import Report
    from vnetlab.state import State
    from vnetlab.status import LabStatus

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


def status_object(labs: tuple[LabStatus, ...], drifts: Mapping[str, Comparison] | None = None) -> JsonObject:
    """Return the object of `status --json`; with ``drifts`` that of `status --drift --json`."""
    found = drifts or {}
    return {
        "labs": [
            {
                **({"drift": _drift(found[lab.name])} if lab.name in found else {}),
                "name": lab.name,
                "holder": lab.holder,
                "nodes": {
                    node.name: {"kind": node.kind, "backend": node.backend, "host": node.host}
                    for node in lab.nodes
                },
            }
            for lab in labs
        ]
    }


def _drift(found: Comparison) -> JsonObject:
    return {"changes": change_objects(found.plan.steps), "beyond": list(found.beyond)}


def plan_object(lab: str, steps: tuple[Step, ...], state: State) -> JsonObject:
    """Return the object of `plan --json`: the steps in order, and each node's nftables text."""
    return {
        "lab": lab,
        "up": False,
        "steps": [step.describe() for step in steps],
        "changes": change_objects(steps),
        "beyond": [],
        "nftables": {
            namespace.name: [table.render() for table in namespace.tables]
            for namespace in state.namespaces
            if namespace.tables
        },
    }


def changes_object(lab: str, found: Comparison) -> JsonObject:
    """Return the object of `plan --json` for a lab that is up."""
    return {
        "lab": lab,
        "up": True,
        "steps": [step.describe() for step in found.plan.steps],
        "changes": change_objects(found.plan.steps),
        "beyond": list(found.beyond),
        "nftables": {
            namespace.name: [table.render() for table in namespace.tables]
            for namespace in found.desired.namespaces
            if namespace.tables
        },
    }


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
