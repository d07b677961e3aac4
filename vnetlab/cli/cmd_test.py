"""`vnetlab test`: up, probe, down, whatever happens."""

from __future__ import annotations

import click

from vnetlab.cli.options import flows_option, json_option, junit_option, pairs_option, svg_option


@click.command(name="test")
@click.argument("file", metavar="FILE")
@json_option
@junit_option
@pairs_option
@flows_option
@svg_option
def command(
    file: str,
    as_json: bool,
    junit: str | None,
    pairs: str,
    flows: tuple[str, ...],
    svg: str | None,
) -> int:
    """Bring a topology up, judge every guarantee by packets, take it down.

    Exits with 0 if all hold, 1 if any is broken or inconclusive, 3 if any could not be probed here.

    \b
    Example:
      vnetlab test topologies/five-modes.yaml --junit verdicts.xml
    """
    from vnetlab import probe
    from vnetlab.kernel import agent

    agent.prepare(*probe.PRELOAD)

    from vnetlab.cli.verdicts import Formats, probe_file

    return probe_file(file, Formats(as_json, junit, svg), pairs, flows)
