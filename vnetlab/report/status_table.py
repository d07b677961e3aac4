"""Labs that are up, as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from vnetlab.report.changes import change_lines
from vnetlab.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from vnetlab.converge import Comparison
    from vnetlab.status import LabStatus


def print_status(
    console: Console, labs: tuple[LabStatus, ...], drifts: Mapping[str, Comparison] | None = None
) -> None:
    """Print each lab with its holder and its nodes, and what differs from its file."""
    if not labs:
        console.print("no lab is up")
    for lab in labs:
        console.print(
            Text.assemble(
                (visible(lab.name), "bold cyan"), f": {len(lab.nodes)} nodes, holder is process {lab.holder}"
            )
        )
        console.print(_nodes(lab))
        if drifts and lab.name in drifts:
            _print_drift(console, drifts[lab.name])


def _print_drift(console: Console, found: Comparison) -> None:
    if found.same:
        console.print(Text("  as its file says"))
        return
    console.print(Text("  not as its file says; what `up` would do:"))
    for line in change_lines(found.plan.steps):
        console.print(Text(f"    {line}"), soft_wrap=True)
    for what in found.beyond:
        console.print(Text(f"    ? {what}, which `up` leaves alone"), soft_wrap=True)


def _nodes(lab: LabStatus) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), header_style="dim")
    for column in ("node", "kind", "backend", "host"):
        table.add_column(column)
    for node in lab.nodes:
        table.add_row(*map(visible, (node.name, node.kind, node.backend, node.host)))
    return table
