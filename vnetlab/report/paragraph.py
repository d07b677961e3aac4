"""One verdict in one paragraph: the four answers, what makes them this verdict, what was sent and seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.guarantees import UNKNOWN
from vnetlab.report.summary import flow_label

if TYPE_CHECKING:
    from vnetlab.guarantees import Verdict


def headline(verdict: Verdict) -> str:
    """Return the first line: the verdict, the promise, and the flow it is about."""
    guarantee = verdict.guarantee
    ends = f"{guarantee.source} -> {guarantee.destination}"
    where = f" ({guarantee.network})" if guarantee.network else ""
    return f"{verdict.kind.upper()} {guarantee.id}{where}: {ends}, {flow_label(guarantee.flow)}"


def details(verdict: Verdict) -> tuple[str, ...]:
    """Return the lines below the headline."""
    return (
        f"promised: {verdict.guarantee.expected}: {verdict.guarantee.promise}",
        f"predicted: {verdict.predicted or UNKNOWN}",
        f"present: {verdict.present or UNKNOWN}",
        f"observed: {verdict.observed or 'nothing could be observed'}",
        f"because: {verdict.reason}",
        *verdict.evidence,
    )


def paragraph(verdict: Verdict) -> str:
    """Return headline and details as plain text."""
    return "\n  ".join((headline(verdict), *details(verdict)))
