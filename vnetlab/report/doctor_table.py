"""What doctor found: a table for people, an object for `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from vnetlab.health import LAB_SIZES, Check, State, sizes
from vnetlab.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    State.OK: "green",
    State.LIMITED: "yellow",
    State.MISSING: "bold red",
    State.ABSENT: "dim",
    State.UNKNOWN: "magenta",
}


def print_checks(console: Console, checks: tuple[Check, ...]) -> None:
    """Print a table for each area, and what follows from all of them."""
    for area in dict.fromkeys(check.area for check in checks):
        console.print(Text(area, style="bold cyan"))
        console.print(_table([check for check in checks if check.area is area]))
        console.print()
    console.print(Text(_verdict(checks)))


def _table(checks: list[Check]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    table.add_column(width=22)
    table.add_column(width=max(map(len, State)))
    table.add_column(overflow="fold")
    for check in checks:
        text = Text(visible(check.finding))
        if check.remedy:
            text.append(f"\n-> {check.remedy}", style="italic")
        table.add_row(Text(check.name), Text(check.state, style=STYLES[check.state]), text)
    return table


def _verdict(checks: tuple[Check, ...]) -> str:
    missing = [f"{check.area} {check.name}" for check in checks if check.state is State.MISSING]
    if missing:
        return f"Not every mode can run here. Missing: {', '.join(missing)}."
    fits = [
        f"{size.machines:,} meet limits ({', '.join(size.limited_by)})"
        if size.limited_by
        else f"{size.machines:,} fit"
        for size in sizes(checks)
    ]
    return f"All five modes can run here. Labs of so many machines: {'; '.join(fits)}."


def checks_object(checks: tuple[Check, ...]) -> dict[str, Any]:
    """Return the object of `doctor --json`."""
    return {
        "checks": [
            {
                "area": str(check.area),
                "name": check.name,
                "state": str(check.state),
                "finding": check.finding,
                "remedy": check.remedy,
            }
            for check in checks
        ],
        "summary": {
            **{str(state): sum(check.state is state for check in checks) for state in State},
            "modes": {c.name: str(c.state) for c in checks if c.area == "modes"},
            "lab_sizes": {
                str(size.machines): {"fits": not size.limited_by, "limited_by": list(size.limited_by)}
                for size in sizes(checks)
                if size.machines in LAB_SIZES
            },
        },
    }
