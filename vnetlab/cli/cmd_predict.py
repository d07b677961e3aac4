"""`vnetlab predict`: what a model of the compiled state says of every guarantee. Pure: no root, no kernel."""

from __future__ import annotations

import click

from vnetlab.cli.options import json_option, print_json


@click.command(name="predict")
@click.argument("file", metavar="FILE")
@json_option
def command(file: str, as_json: bool) -> int:
    """Follow every promised packet through a model of the lab; needs no root.

    Each guarantee is put beside what the model says of the rules, routes and devices that `up` would
    make. Ends with 0 where they all agree, with 1 where one differs or the model does not know.

    \b
    Example:
      vnetlab predict topologies/five-modes.yaml
    """
    from vnetlab.compile import compile_topology
    from vnetlab.modes import guarantees_for
    from vnetlab.predict.matrix import predict
    from vnetlab.report import predictions as report
    from vnetlab.topology.model import Topology

    topology = Topology.load(file)
    guarantees = guarantees_for(topology)
    compared = report.compare(guarantees, predict(topology, compile_topology(topology), guarantees))
    if as_json:
        print_json(report.predictions_object(topology.name, compared))
    else:
        from vnetlab.report.terminal import console

        report.print_predictions(console(), topology, compared)
    return int(any(each.word != report.AGREE for each in compared))
