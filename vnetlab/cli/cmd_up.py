"""`vnetlab up`: build a lab that stays, or make one that is up what its file says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from vnetlab.cli.options import progress

if TYPE_CHECKING:
    from vnetlab.converge import Comparison


@click.command(name="up")
@click.argument("file", metavar="FILE")
@click.option("--name", metavar="LAB", help="Name of the lab; the topology's by default.")
@click.option("--force", is_flag=True, help="On this machine, even where rules of its own break promises.")
def command(file: str, name: str | None, force: bool) -> None:
    """Build a lab, or change one that is up; returns when every address is usable.

    Of a lab that is up only what differs from the file is changed, all of it or nothing.

    \b
    Example:
      vnetlab up topologies/nat.yaml --name first
    """
    from vnetlab.kernel import agent

    began = time.monotonic()
    agent.prepare(*agent.CHANGING)

    from vnetlab.lab import Lab

    lab = Lab(file, name)
    found = lab.up(progress, force=force)
    lab.close()
    took = f"{time.monotonic() - began:.2f} s"
    if found is None:
        progress(f"lab {lab.name} is up: {len(lab.description.nodes)} nodes in {took}")
    else:
        _say_what_changed(lab.name, found, took)


def _say_what_changed(lab: str, found: Comparison, took: str) -> None:
    from vnetlab.report.changes import change_lines, summary

    for line in change_lines(found.plan.steps):
        progress(line)
    for what in found.beyond:
        progress(f"left alone, as `up` cannot take it away: {what}")
    if found.plan.steps:
        progress(f"lab {lab} is changed: {summary(found.plan.steps)} in {took}")
    else:
        progress(f"lab {lab} is up already, and as the file says")
