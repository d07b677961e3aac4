"""Predicted beside observed, event by event; the first difference is the first row that differs.

The kernels' own words carry no common clock: frames are stamped, nftables' traces are not. So the order is
that of the prediction, and what nobody predicted stands where it happened: at its node, behind the last event
there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from vnetlab.explain.event import Event
    from vnetlab.guarantees import Outcome


class Row(Struct, frozen=True):
    """One event, as predicted and as observed; None where one of them does not have it."""

    predicted: Event | None
    observed: Event | None

    @property
    def agrees(self) -> bool:
        """Whether both say the same."""
        return self.predicted == self.observed


class Observed(Struct, frozen=True):
    """What the kernels of a lab did with the packet."""

    outcome: Outcome | None
    """None where it could not be sent, or not be followed; ``trouble`` says why."""
    answered: bool
    rows: tuple[Row, ...]
    copies: tuple[str, ...]
    """Where a switch flooded it to as well, since it had not learned the receiver's port."""
    trouble: tuple[str, ...]
    as_present: bool = True
    """It went as the State read back from the lab predicts, whatever the file's does."""

    @property
    def first_difference(self) -> int | None:
        """Index of the first row that differs."""
        return next((i for i, row in enumerate(self.rows) if not row.agrees), None)


def compare(predicted: tuple[Event, ...], observed: tuple[Event, ...]) -> tuple[Row, ...]:
    """Return the rows: every predicted event, and those that nobody predicted."""
    left = list(observed)
    rows: list[Row] = []
    for event in predicted:
        found = event if event in left else None
        if found:
            left.remove(found)
        rows.append(Row(event, found))
    for extra in left:
        _place(rows, extra)
    return tuple(rows)


def _place(rows: list[Row], extra: Event) -> None:
    """Put an event that was not predicted beside the missing one at its node, or behind the last there."""
    for number, row in enumerate(rows):
        if row.predicted and row.observed is None and _same_spot(row.predicted, extra):
            rows[number] = Row(row.predicted, extra)
            return
    known = [
        i for i, row in enumerate(rows) if any(_near(e, extra) for e in (row.predicted, row.observed) if e)
    ]
    rows.insert(known[-1] + 1 if known else _behind_way(rows, extra), Row(None, extra))


def _same_spot(event: Event, extra: Event) -> bool:
    return (event.node, event.role, event.what) == (extra.node, extra.role, extra.what)


def _near(event: Event, extra: Event) -> bool:
    return (event.node, event.role) == (extra.node, extra.role)


def _behind_way(rows: list[Row], extra: Event) -> int:
    """Return where events of the same way end; at the end of all where there is none."""
    same = [i for i, row in enumerate(rows) if (row.predicted or row.observed or extra).role == extra.role]
    return same[-1] + 1 if same else len(rows)
