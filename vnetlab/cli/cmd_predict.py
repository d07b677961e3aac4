"""`vnetlab predict`: what a model of the compiled state says of every guarantee. Pure: no root, no kernel."""

from __future__ import annotations

import click

from vnetlab.cli.options import json_option, print_json

MOST_LISTED = 120
"""Nodes up to which --json lists every pair; beyond, one entry tells for all pairs of two groups."""


@click.command(name="predict")
@click.argument("file", metavar="FILE")
@json_option
@click.option("--expand", is_flag=True, help="Ask about every pair by itself, however many there are.")
def command(file: str, as_json: bool, expand: bool) -> int:
    """Follow every promised packet through a model of the lab; needs no root.

    Each guarantee is put beside what the model says of the rules, routes and devices that `up` would
    make. Ends with 0 where they all agree, with 1 where one differs or the model does not know.

    \b
    Example:
      vnetlab predict topologies/five-modes.yaml
    """
    from vnetlab import garbage, local
    from vnetlab.forecast import forecast
    from vnetlab.report import predictions as report
    from vnetlab.topology.model import Topology

    loaded = Topology.load(file)
    topology = local.seen(loaded, loaded.name)
    few = len(tuple(topology.nodes())) <= MOST_LISTED
    found = forecast(topology, every_pair=expand or (as_json and few))
    garbage.left_alone()
    compared = report.compare(found)
    if as_json:
        print_json(report.predictions_object(found, compared))
    else:
        from vnetlab.report.terminal import console

        report.print_predictions(console(), found, compared)
    return int(any(each.word != report.AGREE for each in compared))
