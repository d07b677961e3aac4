"""`vnetlab explain` for people: the way, the end with its reason, and predicted beside observed."""

from __future__ import annotations

import sys
from textwrap import fill
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from vnetlab.explain import wording
from vnetlab.explain.event import Header, What
from vnetlab.explain.lexicon import Lexicon
from vnetlab.guarantees import Outcome
from vnetlab.report.summary import flow_label

if TYPE_CHECKING:
    from rich.console import Console

    from vnetlab.explain.answer import Told
    from vnetlab.explain.compare import Observed, Row
    from vnetlab.explain.event import Event
    from vnetlab.explain.explanation import Explanation
    from vnetlab.explain.steps import Step

_STYLES = {
    Outcome.DELIVERED: "green",
    Outcome.REFUSED: "green",
    Outcome.REJECTED: "yellow",
    Outcome.SILENT: "yellow",
}
MARK = "<-- first difference"


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Print everything."""
    lexicon = Lexicon(explanation.topology)
    console.print(_title(explanation), soft_wrap=True)
    _print_steps(console, lexicon, explanation.told)
    console.print()
    _print_end(console, explanation)
    if explanation.changed:
        _print_changed(console, explanation)
    if explanation.observed is not None:
        console.print()
        _print_rows(console, lexicon, explanation, explanation.observed)
    _print_verdict(console, explanation)


def _title(explanation: Explanation) -> Text:
    guarantee = explanation.guarantee
    file = explanation.topology.file
    basis = f"as lab {explanation.lab} is now" if explanation.lab else f"as {file} says"
    ends = f"{guarantee.source} -> {explanation.asked}"
    return Text.assemble((ends, "bold"), f", {flow_label(guarantee.flow)}", (f"  ({basis})", "dim"))


def _print_steps(console: Console, lexicon: Lexicon, told: Told) -> None:
    width = max((len(lexicon.place(step.node)) for step in told.steps), default=0)
    way, node, header = "", "", Header("", "", 0, 0, 0)
    for step in told.steps:
        if step.way != way:
            way, node, header = step.way, "", step.header
            console.print()
            console.print(Text.assemble((way, "bold cyan"), (f"  {header}", "dim")), soft_wrap=True)
        where = lexicon.place(step.node)
        _print_step(console, step, where if where != node else "", width, header)
        node, header = where, step.header


def _print_step(console: Console, step: Step, where: str, width: int, header: Header) -> None:
    style = "bold yellow" if step.is_end else ""
    indent = " " * (width + 4)
    text = _wrapped(console, step.text, indent)
    console.print(Text.assemble("  ", (where.ljust(width), "bold"), "  ", (text, style)), soft_wrap=True)
    if step.header != header and not step.is_end:
        console.print(Text(f"{indent}now {_news(step.header, header)}", style="dim"), soft_wrap=True)


def _wrapped(console: Console, text: str, indent: str) -> str:
    """Wrap at a terminal's edge with the indent kept; whoever reads a pipe gets whole lines."""
    width = console.width if console.is_terminal else sys.maxsize
    lines = fill(text, width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)
    return lines[len(indent) :]


def _print_end(console: Console, explanation: Explanation) -> None:
    end = explanation.told.end
    style = _STYLES.get(end.outcome, "magenta") if end.outcome else "magenta"
    console.print(Text(_wrapped(console, end.sentence(), ""), style=style), soft_wrap=True)
    guarantee = explanation.guarantee
    if not guarantee.id:
        text = guarantee.promise
    else:
        but = "" if explanation.kept else "but "
        text = f"{but}promised: {guarantee.expected} ({guarantee.id}: {guarantee.promise})"
    style = "dim" if explanation.kept else "bold red"
    console.print(Text(_wrapped(console, text, ""), style=style), soft_wrap=True)


def _print_changed(console: Console, explanation: Explanation) -> None:
    end = explanation.declared.end
    text = f"The lab is not as its file says. By the file: {end.sentence()}"
    console.print()
    console.print(Text(_wrapped(console, text, ""), style="bold red"), soft_wrap=True)


def _print_rows(console: Console, lexicon: Lexicon, explanation: Explanation, observed: Observed) -> None:
    if not observed.rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", justify="right", style="dim")
    table.add_column("where", header_style="dim", style="bold", no_wrap=True)
    table.add_column("predicted (by the file)" if explanation.changed else "predicted", header_style="dim")
    table.add_column("observed", header_style="dim")
    first, end = observed.first_difference, len(observed.rows) - _unseen(observed)
    way, node, header = "", "", Header("", "", 0, 0, 0)
    for number, row in enumerate(observed.rows[:end]):
        event = row.predicted or row.observed
        assert event is not None
        if event.role != way:
            way, node, header = event.role, "", Header("", "", 0, 0, 0)
            table.add_row("", Text(way, style="cyan"), "", "")
        where = lexicon.place(event.node)
        shown = where if where != node else ""
        table.add_row(str(number + 1), shown, *_cells(lexicon, row, header, first=number == first))
        node, header = where, event.header
    console.print(table)
    if end < len(observed.rows):
        left = len(observed.rows) - end
        console.print(Text(f"and {left} more that {basis(explanation)} has, and nobody saw", style="dim"))


def basis(explanation: Explanation) -> str:
    """Return whose prediction is beside the observation."""
    return "the file's prediction" if explanation.changed else "the prediction"


def _unseen(observed: Observed) -> int:
    """Return how many rows at the end, behind the first difference, are predictions that did not happen."""
    count = 0
    for row in reversed(observed.rows):
        if row.observed is not None:
            break
        count += 1
    at = observed.first_difference
    return 0 if at is None else min(count, len(observed.rows) - at - 1)


def _cells(lexicon: Lexicon, row: Row, before: Header, *, first: bool) -> tuple[Text, Text]:
    """Return what is predicted and what was seen, each with its header as far as that is news."""
    predicted, seen = row.predicted, row.observed
    if row.agrees:
        return _cell(lexicon, predicted, before), Text("the same", style="green")
    same = predicted and seen and predicted.header == seen.header
    left = _cell(lexicon, predicted, before)
    right = _cell(lexicon, seen, seen.header if same and seen else before)
    right.stylize("bold red" if first else "red")
    if first:
        right.append(f"\n{MARK}", style="bold red")
    return left, right


def _cell(lexicon: Lexicon, event: Event | None, before: Header) -> Text:
    if event is None:
        return Text("nothing", style="dim")
    if event.what is What.FRAME:
        text = wording.frame_says(lexicon, event.node, event.thing)
    else:
        text = wording.chain_says(event.thing, event.verdict)
    news = _news(event.header, before)
    return Text.assemble(text, "\n", (news, "dim")) if news else Text(text)


def _news(header: Header, before: Header) -> str:
    """Return what of a header is not as before."""
    if header.between != before.between:
        return str(header)
    return "" if header.ttl == before.ttl else f"ttl {header.ttl}"


def _print_verdict(console: Console, explanation: Explanation) -> None:
    observed = explanation.observed
    if observed is None:
        return
    console.print()
    for copy in observed.copies:
        console.print(Text(copy, style="dim"), soft_wrap=True)
    if explanation.agrees:
        places = len(observed.rows)
        where = f"at all {places} places" if places else "nowhere a frame of it was seen"
        text = f"predicted and observed agree: {observed.outcome}, {where}"
        console.print(Text(text, style="green"))
        return
    for line in explanation.differences:
        console.print(Text(_wrapped(console, line, ""), style="bold red"), soft_wrap=True)
