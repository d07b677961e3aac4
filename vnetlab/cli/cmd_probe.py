"""`vnetlab probe`: packets and verdicts, of a lab that is up or of a file."""

from __future__ import annotations

from pathlib import Path

import click

from vnetlab.cli.options import flows_option, json_option, junit_option, pairs_option, svg_option

SUFFIXES = (".yaml", ".yml", ".json", ".graphml", ".dot")


@click.command(name="probe")
@click.argument("target", metavar="[LAB or FILE]", required=False)
@json_option
@junit_option
@pairs_option
@flows_option
@svg_option
def command(
    target: str | None,
    as_json: bool,
    junit: str | None,
    pairs: str,
    flows: tuple[str, ...],
    svg: str | None,
) -> int:
    """Send packets and judge every guarantee.

    A FILE is brought up under a name of its own, probed, and taken down again.

    \b
    Examples:
      vnetlab probe
      vnetlab probe topologies/nat.yaml --json
    """
    from vnetlab import probe
    from vnetlab.kernel import agent

    agent.prepare(*probe.PRELOAD)

    from vnetlab.cli.verdicts import Formats, probe_file, probe_lab

    formats = Formats(as_json, junit, svg)
    if target is not None and is_file(target):
        return probe_file(target, formats, pairs, flows)
    return probe_lab(target, formats, pairs, flows)


def is_file(target: str) -> bool:
    """Tell a topology file from a lab's name: by its ending, a slash, or being there."""
    return target.endswith(SUFFIXES) or "/" in target or Path(target).is_file()
