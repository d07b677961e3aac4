"""One verdict in one paragraph: what was promised, what was sent, what was seen where."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    seen = verdict.observed if verdict.observed is not None else "nothing could be observed"
    return (
        f"promised: {verdict.guarantee.expected}: {verdict.guarantee.promise}",
        f"observed: {seen}: {verdict.reason}",
        *verdict.evidence,
    )


def paragraph(verdict: Verdict) -> str:
    """Return headline and details as plain text."""
    return "\n  ".join((headline(verdict), *details(verdict)))
