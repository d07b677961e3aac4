"""`vnetlab plan`: what `up` would make. Pure: no root, no kernel."""

from __future__ import annotations

import click

from vnetlab.cli.options import json_option, print_json


@click.command(name="plan")
@click.argument("file", metavar="FILE")
@json_option
def command(file: str, as_json: bool) -> None:
    """Show what `up` would make of a topology; needs no root.

    \b
    Example:
      vnetlab plan topologies/nat.yaml
    """
    from vnetlab import plan
    from vnetlab.compile import compile_topology
    from vnetlab.report import json as report_json
    from vnetlab.report.plan_tree import print_plan
    from vnetlab.report.terminal import console
    from vnetlab.topology.model import Topology

    topology = Topology.load(file)
    state = compile_topology(topology)
    steps = plan.build(state).steps
    if as_json:
        print_json(report_json.plan_object(topology.name, steps, state))
    else:
        print_plan(console(), topology.name, steps, state)
