"""A plan for people: each node's steps, then the nftables text that it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.syntax import Syntax
from rich.text import Text

from vnetlab.plan import SetSysctls
from vnetlab.report.changes import change_lines, summary

if TYPE_CHECKING:
    from rich.console import Console

    from vnetlab.converge import Comparison
    from vnetlab.plan import Step
    from vnetlab.state import State, Sysctl


def print_plan(console: Console, lab: str, steps: tuple[Step, ...], state: State) -> None:
    """Print the steps by node, each node's in the order in which they would be made.

    Lines are never cut: a terminal wraps them, and what reads a pipe gets them whole.
    """
    console.print(Text(f"{lab}: {len(steps)} steps", style="bold"))
    common = _common(steps)
    console.print()
    console.print(Text("common settings", style="bold"))
    console.print(Text(f"  {_written(common)}"), soft_wrap=True)
    by_namespace: dict[str, list[Step]] = {}
    for step in steps:
        by_namespace.setdefault(step.namespace, []).append(step)
    for namespace in state.namespaces:
        console.print()
        console.print(Text.assemble((namespace.name, "bold cyan"), (f"  {namespace.kind}", "dim")))
        for step in by_namespace.get(namespace.name, ()):
            console.print(Text(f"  {_what(step, common)}"), soft_wrap=True)
        for table in namespace.tables:
            console.print()
            _print_nft(console, table.render())


def print_changes(console: Console, lab: str, found: Comparison) -> None:
    """Print what has to be done to a lab that is up, in order, and what no change takes away."""
    steps = found.plan.steps
    if not steps:
        console.print(Text(f"{lab}: nothing to do", style="bold"))
    else:
        console.print(Text(f"{lab}: {len(steps)} steps: {summary(steps)}", style="bold"))
    for line in change_lines(steps):
        console.print(Text(f"  {line}"), soft_wrap=True)
    for what in found.beyond:
        console.print(Text(f"  ? {what}, which `up` leaves alone"), soft_wrap=True)


def _common(steps: tuple[Step, ...]) -> tuple[Sysctl, ...]:
    """Return the settings that every node gets: dozens, better read once."""
    by_node: dict[str, dict[Sysctl, None]] = {}
    for step in steps:
        if isinstance(step, SetSysctls):
            by_node.setdefault(step.namespace, {}).update(dict.fromkeys(step.sysctls))
    first, *others = by_node.values() or ({},)
    return tuple(sysctl for sysctl in first if all(sysctl in other for other in others))


def _what(step: Step, common: tuple[Sysctl, ...]) -> str:
    if not isinstance(step, SetSysctls):
        return step.describe().removeprefix(f"{step.namespace}: ")
    own = tuple(sysctl for sysctl in step.sysctls if sysctl not in common)
    parts = ["the common settings"] if len(own) < len(step.sysctls) else []
    if own:
        parts.append(_written(own))
    return f"set {', '.join(parts)}"


def _written(sysctls: tuple[Sysctl, ...]) -> str:
    return ", ".join(f"{sysctl.key}={sysctl.value}" for sysctl in sysctls)


def _print_nft(console: Console, text: str) -> None:
    """Print nft text, highlighted on a terminal, byte for byte elsewhere."""
    if console.is_terminal:
        # Pygments has no lexer of nftables; that of nginx shares braces, statements and comments.
        console.print(Syntax(text, "nginx", background_color="default", word_wrap=True))
    else:
        console.print(Text(text), soft_wrap=True)
