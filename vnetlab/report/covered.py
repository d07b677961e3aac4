"""Coverage for people: how many objects a flight exercised, and a line on each of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from vnetlab.items import ItemKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.coverage import Coverage


def coverage_lines(coverage: Coverage, left_out: int = 0) -> Iterator[Text]:
    """Yield the counts, then what nothing exercised, and what model and counters do not agree on."""
    counts = ", ".join(f"{kind}s {coverage.count(kind)}/{coverage.totals[kind]}" for kind in ItemKind)
    yield Text(f"coverage: {len(coverage.covered)} of {coverage.total} objects: {counts}")
    if left_out:
        yield Text(f"  {left_out} guarantees were left out, since these exercise as much", style="dim")
    for each in coverage.uncovered:
        why = f"out of reach: {each.why}" if each.why else "nothing exercised it"
        yield Text(f"  not covered: {each.item}: {why}", style="dim" if each.why else "yellow")
    for text in coverage.disputed:
        yield Text(f"  disputed: {text}", style="bold red")
