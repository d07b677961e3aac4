"""`vnetlab schema`: the topology file's JSON Schema, for editors."""

from __future__ import annotations

import click

from vnetlab.cli.options import print_json


@click.command(name="schema")
def command() -> None:
    """Print the JSON Schema of topology files, for editors.

    \b
    Example:
      vnetlab schema > vnetlab.schema.json
    """
    from vnetlab.topology.schema import json_schema

    print_json(json_schema())
