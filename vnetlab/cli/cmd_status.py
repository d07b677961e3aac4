"""`vnetlab status`: the labs that are up, their nodes, and what was changed in them by hand."""

from __future__ import annotations

import click

from vnetlab.cli.options import json_option, print_json, progress

DRIFT = 1
"""Exit code: a lab is not what its file says."""


@click.command(name="status")
@click.argument("lab", metavar="[LAB]", required=False)
@click.option("--drift", is_flag=True, help="Show what differs from the file that a lab was made of.")
@json_option
def command(lab: str | None, drift: bool, as_json: bool) -> int:
    """List labs that are up, with their nodes.

    With --drift, exits with 1 if a lab is not what its file says.

    \b
    Example:
      vnetlab status
    """
    from vnetlab.recovery import left_behind
    from vnetlab.report import labs_json
    from vnetlab.status import drifts, running

    for left in left_behind():
        if left.restarted:
            progress(f"lab {left.lab} ended with a restart of this machine: `vnetlab recover` forgets it")
        else:
            progress(f"lab {left.lab} was left behind on this machine: `vnetlab recover` undoes it")
    labs = running(lab)
    found = drifts(labs, progress) if drift else None
    if as_json:
        print_json(labs_json.status_object(labs, found))
    else:
        from vnetlab.report.status_table import print_status
        from vnetlab.report.terminal import console

        print_status(console(), labs, found)
    return DRIFT if found and not all(each.same for each in found.values()) else 0
