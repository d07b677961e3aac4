"""The report for people: the matrix, the promises counted, a paragraph on each trouble, and the coverage."""

from __future__ import annotations

import sys
from textwrap import fill
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from vnetlab.guarantees import VerdictKind
from vnetlab.report.cell import Cell
from vnetlab.report.covered import coverage_lines
from vnetlab.report.matrix import Matrix, Row, build_matrix, by_network
from vnetlab.report.paragraph import details, headline

if TYPE_CHECKING:
    from rich.console import Console

    from vnetlab.guarantees import Verdict
    from vnetlab.report.summary import Report

KIND_STYLE = {
    VerdictKind.HOLDS: "green",
    VerdictKind.BROKEN: "bold red",
    VerdictKind.INCONCLUSIVE: "yellow",
    VerdictKind.UNAVAILABLE: "magenta",
}
NAME_WIDTH = 18
GROUP_WIDTH = 18
SPACED_UP_TO = 20
"""Up to so many columns the cells stand two characters apart; beyond, each is one character."""
MOST_NODES = 200
"""Nodes up to which the matrix has a row for each; beyond, one for each network and segment."""
PARAGRAPHS = 6
"""So many troubles of one promise are told in full; --json has them all."""


def print_report(console: Console, report: Report) -> None:
    """Print the whole report."""
    console.print(Text.assemble(("vnetlab ", "bold"), (report.lab, "bold cyan")))
    large = sum(1 for _ in report.topology.nodes()) > MOST_NODES
    matrix = by_network(report) if large else build_matrix(report)
    if matrix.rows:
        console.print()
        print_matrix(console, matrix)
    console.print()
    console.print(_promises(report))
    _print_troubles(console, report.troubles)
    if report.coverage:
        console.print()
        for line in coverage_lines(report.coverage, report.left_out):
            console.print(line, soft_wrap=not console.is_terminal)
    console.print()
    console.print(summary_line(report))


def print_matrix(console: Console, matrix: Matrix) -> None:
    """Print rows of senders against numbered columns of receivers, in blocks as wide as fits."""
    size = len(matrix.rows)
    step = 2 if size <= SPACED_UP_TO else 1
    number_width = len(str(size))
    room = console.width - GROUP_WIDTH - NAME_WIDTH - number_width - 4
    block = max(10, room // step)
    for start in range(0, size, block):
        columns = range(start, min(start + block, size))
        for line in _header(columns, number_width, step):
            console.print(line, no_wrap=True, crop=True)
        group = ""
        for number, row in enumerate(matrix.rows):
            shown = row.group if row.group != group else ""
            group = row.group
            console.print(_row(row, number + 1, number_width, shown, columns, step), no_wrap=True)
        console.print()
    _print_legend(console, matrix)


def _indent(number_width: int) -> str:
    return " " * (GROUP_WIDTH + NAME_WIDTH + number_width + 3)


def _header(columns: range, number_width: int, step: int) -> list[Text]:
    """Return the columns' numbers, written downwards: a line of tens, a line of units."""
    numbers = [str(column + 1).rjust(number_width) for column in columns]
    return [
        Text(_indent(number_width) + (" " * (step - 1)).join(n[digit] for n in numbers), style="dim")
        for digit in range(number_width)
    ]


def _row(row: Row, number: int, number_width: int, group: str, columns: range, step: int) -> Text:
    text = Text()
    text.append(_fit(group, GROUP_WIDTH), style="dim")
    text.append(" ")
    text.append(_fit(row.name, NAME_WIDTH, right=True))
    text.append(f" {number:>{number_width}} ", style="dim")
    for column in columns:
        cell = row.cells[column]
        symbol = "-" if column == number - 1 and cell is Cell.NONE else cell.symbol
        text.append(symbol, style=cell.style or "dim")
        text.append(" " * (step - 1))
    text.rstrip()
    return text


def _fit(text: str, width: int, *, right: bool = False) -> str:
    if len(text) > width:
        text = text[: width - 1] + "…"
    return text.rjust(width) if right else text.ljust(width)


def _print_legend(console: Console, matrix: Matrix) -> None:
    """Say what the symbols mean, without a line break between a symbol and its meaning."""
    line = Text("row to column:", style="dim")
    for cell in matrix.used:
        entry = Text.assemble("  ", (cell.symbol, cell.style), (f" {cell.meaning}", "dim"))
        if len(line) + len(entry) > console.width:
            console.print(line)
            line = Text(" " * len("row to column:"))
        line.append_text(entry)
    console.print(line)


def _promises(report: Report) -> Table:
    """Return the counts by mode, and those of each promise that does not hold everywhere."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("mode", header_style="dim")
    table.add_column("promises", justify="right", header_style="dim")
    for kind in VerdictKind:
        table.add_column(str(kind), justify="right", header_style="dim")
    for mode in report.by_mode():
        promises = str(len(mode.promises))
        table.add_row(mode.mode, promises, *(_count(mode.count(kind), kind) for kind in VerdictKind))
        for promise in mode.troubled:
            counts = (_count(promise.count(kind), kind) for kind in VerdictKind)
            table.add_row(f"  {promise.id}", "", *counts)
    return table


def _count(number: int, kind: VerdictKind) -> Text:
    return Text(str(number), style=KIND_STYLE[kind]) if number else Text("-", style="dim")


def _print_troubles(console: Console, troubles: tuple[Verdict, ...]) -> None:
    by_promise: dict[tuple[VerdictKind, str], list[Verdict]] = {}
    for verdict in troubles:
        by_promise.setdefault((verdict.kind, verdict.guarantee.id), []).append(verdict)
    for (kind, promise), verdicts in by_promise.items():
        for verdict in verdicts[:PARAGRAPHS]:
            _print_paragraph(console, verdict)
        if (left := len(verdicts) - PARAGRAPHS) > 0:
            console.print(f"\n... and {left} more {kind} {promise}; --json lists every verdict")


def _print_paragraph(console: Console, verdict: Verdict) -> None:
    console.print()
    console.print(Text(headline(verdict), style=KIND_STYLE[verdict.kind]), soft_wrap=True)
    for line in details(verdict):
        # A terminal gets lines that keep their indent, whoever reads a pipe gets them whole.
        width = console.width if console.is_terminal else sys.maxsize
        wrapped = fill(line, width, initial_indent="  ", subsequent_indent="    ")
        console.print(Text(wrapped), soft_wrap=True)


def summary_line(report: Report) -> Text:
    """Return the counts of all verdicts in one line."""
    text = Text(f"{len(report.verdicts)} guarantees: ")
    parts = [
        Text(f"{report.count(kind)} {kind}", style=KIND_STYLE[kind])
        for kind in VerdictKind
        if report.count(kind) or kind is VerdictKind.HOLDS
    ]
    text.append_text(Text(", ").join(parts))
    return text
