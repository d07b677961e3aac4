"""`vnetlab plan`: what `up` would make or change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vnetlab.cli.options import json_option, print_json, progress

if TYPE_CHECKING:
    from vnetlab.lab import Lab

CHANGES = 10
"""Exit code: there is something to do."""


@click.command(name="plan")
@click.argument("file", metavar="FILE")
@click.option("--name", metavar="LAB", help="Name of the lab; the topology's by default.")
@json_option
def command(file: str, name: str | None, as_json: bool) -> int:
    """Show what `up` would make of a topology, or change in the lab if it is up.

    Exits with 0 where there is nothing to do, 10 where there is. Needs no root.

    \b
    Example:
      vnetlab plan topologies/nat.yaml
    """
    from vnetlab.errors import LabNotFound
    from vnetlab.lab import Lab

    lab = Lab(file, name)
    try:
        found = lab.compare(progress)
    except LabNotFound:
        return _of_nothing(lab, as_json)
    from vnetlab.report import labs_json
    from vnetlab.report.plan_tree import print_changes
    from vnetlab.report.terminal import console

    if as_json:
        print_json(labs_json.changes_object(lab.name, found))
    else:
        print_changes(console(), lab.name, found)
    return CHANGES if found.plan.steps else 0


def _of_nothing(lab: Lab, as_json: bool) -> int:
    from vnetlab.report import labs_json
    from vnetlab.report.plan_tree import print_plan
    from vnetlab.report.terminal import console

    state, plan = lab.first_plan()
    steps = plan.steps
    if as_json:
        print_json(labs_json.plan_object(lab.name, steps, state))
    else:
        print_plan(console(), lab.name, steps, state)
    return CHANGES if steps else 0
