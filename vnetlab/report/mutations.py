"""What the suite notices of faults: for people a table and every survivor, for scripts one object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from vnetlab.mutate.score import Fate

if TYPE_CHECKING:
    from rich.console import Console

    from vnetlab.mutate.score import Result, Score, Tally

_COLUMNS = ("faults", "equivalent", "killed", "survived")


def mutations_object(score: Score) -> dict[str, Any]:
    """Return the object of `mutate --json`."""
    total = score.total
    return {
        "lab": score.lab,
        "seed": score.seed,
        "summary": {**{name: getattr(total, name) for name in _COLUMNS}, "score": total.score},
        "faults": [_fault(result) for result in score.results],
    }


def _fault(result: Result) -> dict[str, Any]:
    fault, first = result.fault, next(iter(result.noticed_by), None)
    noticed = None
    if first is not None:
        guarantee = first.guarantee
        noticed = {
            "guarantee": guarantee.id,
            "network": guarantee.network,
            "source": guarantee.source,
            "destination": guarantee.destination,
            "reason": first.reason,
        }
    witness = result.witness
    return {
        "fault": fault.id,
        "kind": fault.kind,
        "namespace": fault.namespace,
        "object": fault.object,
        "verdict": str(result.fate),
        "noticed_by": noticed,
        "witness": {"sent": witness.sent, "difference": witness.difference} if witness else None,
        "doubt": result.doubt,
    }


def print_mutations(console: Console, score: Score) -> None:
    """Print the tally by kind of fault, then each survivor as a paragraph, then the score."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("kind of fault", no_wrap=True)
    for name in (*_COLUMNS, "score"):
        table.add_column(name, justify="right", no_wrap=True)
    for kind, tally in score.by_kind():
        table.add_row(kind, *_numbers(tally))
    table.add_section()
    table.add_row("all", *_numbers(score.total), style="bold")
    console.print(table)
    for result in score.survivors:
        console.print(survivor(result), markup=False, highlight=False, soft_wrap=True)
        console.print()
    total = score.total
    text = f"{total.killed} of {total.killed + total.survived} faults that change something were noticed"
    console.print(f"{text}: {_percent(total)}", highlight=False)


def _numbers(tally: Tally) -> tuple[str, ...]:
    counts = (str(getattr(tally, name) or "-") for name in _COLUMNS)
    return (*counts, _percent(tally) if tally.killed + tally.survived else "")


def _percent(tally: Tally) -> str:
    # Cut rather than rounded: 100% is said where it is true.
    return f"{int(tally.score * 1000) / 10:g}%"


def survivor(result: Result) -> str:
    """Return a fault that nobody noticed, in a paragraph."""
    lines = [f"SURVIVED {result.fault.kind}: {result.fault.id}"]
    if result.witness:
        lines += [f"  a packet shows it: {result.witness.sent}", f"  {result.witness.difference}"]
    if result.doubt:
        lines.append(f"  not certain: {result.doubt}")
    lines.append("  no guarantee of the suite was broken while it was there")
    return "\n".join(lines)


def noticed_by(result: Result) -> str:
    """Return who noticed a killed fault, in one line."""
    if result.fate is not Fate.KILLED:
        return str(result.fate)
    guarantee = result.noticed_by[0].guarantee
    return f"{guarantee.id} ({guarantee.source} to {guarantee.destination})"
