"""The object of `explain --json`: everything, hop by hop; changed only by adding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.report.json import JsonObject, flow_object

if TYPE_CHECKING:
    from vnetlab.explain.answer import Told
    from vnetlab.explain.compare import Observed
    from vnetlab.explain.event import Event, Header
    from vnetlab.explain.explanation import Explanation
    from vnetlab.explain.reason import End
    from vnetlab.explain.steps import Step


def explanation_object(explanation: Explanation) -> JsonObject:
    """Return the whole explanation."""
    guarantee, observed = explanation.guarantee, explanation.observed
    return {
        "lab": explanation.lab or None,
        "topology": explanation.topology.name,
        "source": guarantee.source,
        "destination": guarantee.destination or None,
        "asked": explanation.asked,
        "flow": flow_object(guarantee.flow),
        "promise": {
            "guarantee": guarantee.id or None,
            "network": guarantee.network or None,
            "expected": str(guarantee.expected),
            "text": guarantee.promise,
            "kept": explanation.kept,
        },
        "predicted": _told(explanation.told),
        "declared": _told(explanation.declared),
        "observed": None if observed is None else _observed(observed),
        "changed": explanation.changed,
        "agrees": explanation.agrees,
        "differences": list(explanation.differences),
    }


def _told(told: Told) -> JsonObject:
    return {"state": told.basis, "end": _end(told.end), "steps": [_step(step) for step in told.steps]}


def _end(end: End) -> JsonObject:
    return {
        "outcome": str(end.outcome) if end.outcome else "unknown",
        "answered": end.answered,
        "node": end.node or None,
        "decided_by": end.decided_by or None,
        "network": end.network or None,
        "mode": end.mode or None,
        "reason": end.reason,
        "place": end.place or None,
        "text": end.sentence(),
    }


def _step(step: Step) -> JsonObject:
    return {
        "way": step.way,
        "node": step.node,
        "text": step.text,
        "verdict": step.verdict,
        "packet": _header(step.header),
        "hops": list(step.hops),
        "events": [_event(event) for event in step.events],
    }


def _observed(observed: Observed) -> JsonObject:
    return {
        "outcome": str(observed.outcome) if observed.outcome else None,
        "answered": observed.answered,
        "first_difference": observed.first_difference,
        "hops": [
            {
                "agrees": row.agrees,
                "predicted": _event(row.predicted) if row.predicted else None,
                "observed": _event(row.observed) if row.observed else None,
            }
            for row in observed.rows
        ],
        "copies": list(observed.copies),
        "trouble": list(observed.trouble),
    }


def _event(event: Event) -> JsonObject:
    return {
        "what": str(event.what),
        "node": event.node,
        "thing": event.thing,
        "verdict": event.verdict or None,
        "way": event.role,
        "packet": _header(event.header),
    }


def _header(header: Header) -> JsonObject:
    return {
        "source": header.source,
        "destination": header.destination,
        "source_port": header.source_port,
        "destination_port": header.destination_port,
        "ttl": header.ttl,
    }
