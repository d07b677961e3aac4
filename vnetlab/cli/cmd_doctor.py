"""`vnetlab doctor`: what this machine offers to labs, and what is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vnetlab.cli.options import json_option, print_json

if TYPE_CHECKING:
    from vnetlab.topology.model import Topology


@click.command(name="doctor")
@click.argument("file", metavar="[FILE]", required=False)
@json_option
def command(file: str | None, as_json: bool) -> int:
    """Tell what labs need and this machine has, by trying it, with a remedy for each lack.

    Nothing is changed and no root is needed. Subnets of FILE, or of the labs that are up, are compared with
    the machine's routes. Exits with 0 if all five modes can run, 3 if something that they need is missing.

    \b
    Example:
      vnetlab doctor
    """
    from vnetlab.doctor import examine
    from vnetlab.health import exit_code
    from vnetlab.report import doctor_table

    checks = examine(_topology(file))
    if as_json:
        print_json(doctor_table.checks_object(checks))
    else:
        from vnetlab.report.terminal import console

        doctor_table.print_checks(console(), checks)
    return exit_code(checks)


def _topology(file: str | None) -> Topology | None:
    if file is None:
        return None
    from vnetlab.topology.model import Topology

    return Topology.load(file)
