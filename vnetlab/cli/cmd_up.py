"""`vnetlab up`: build a lab that stays."""

from __future__ import annotations

import time

import click

from vnetlab.cli.options import progress


@click.command(name="up")
@click.argument("file", metavar="FILE")
@click.option("--name", metavar="LAB", help="Name of the lab; the topology's by default.")
def command(file: str, name: str | None) -> None:
    """Build a lab; returns when every port forwards and every address is usable.

    \b
    Example:
      vnetlab up topologies/nat.yaml --name first
    """
    from vnetlab.lab import Lab

    began = time.monotonic()
    lab = Lab(file, name)
    lab.up()
    lab.close()
    nodes = len(lab.description.nodes)
    progress(f"lab {lab.name} is up: {nodes} nodes in {time.monotonic() - began:.2f} s")
