"""Labs that are up, as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from vnetlab.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

    from vnetlab.status import LabStatus


def print_status(console: Console, labs: tuple[LabStatus, ...]) -> None:
    """Print each lab with its holder and its nodes."""
    if not labs:
        console.print("no lab is up")
    for lab in labs:
        console.print(
            Text.assemble(
                (visible(lab.name), "bold cyan"), f": {len(lab.nodes)} nodes, holder is process {lab.holder}"
            )
        )
        console.print(_nodes(lab))


def _nodes(lab: LabStatus) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), header_style="dim")
    for column in ("node", "kind", "backend", "host"):
        table.add_column(column)
    for node in lab.nodes:
        table.add_row(*map(visible, (node.name, node.kind, node.backend, node.host)))
    return table
