"""`vnetlab status`: the labs that are up, and their nodes."""

from __future__ import annotations

import click

from vnetlab.cli.options import json_option, print_json


@click.command(name="status")
@click.argument("lab", metavar="[LAB]", required=False)
@json_option
def command(lab: str | None, as_json: bool) -> None:
    """List labs that are up, with their nodes.

    \b
    Example:
      vnetlab status
    """
    from vnetlab.report import json as report_json
    from vnetlab.status import running

    labs = running(lab)
    if as_json:
        print_json(report_json.status_object(labs))
        return
    from vnetlab.report.status_table import print_status
    from vnetlab.report.terminal import console

    print_status(console(), labs)
