"""`vnetlab mutate`: what the suite would notice. The lab is broken on purpose, one fault at a time."""

from __future__ import annotations

import sys

import click

from vnetlab.cli.options import json_option, print_json


@click.command(name="mutate")
@click.argument("file", metavar="FILE")
@json_option
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Which VMs and ports stand for their like."
)
@click.option(
    "--sample", type=click.IntRange(1), metavar="N", help="Only N of the faults; the seed says which."
)
@click.option(
    "--labs", type=click.IntRange(1, 64), default=2, show_default=True, help="Labs to work in at once."
)
@click.option("--verbose", "-v", is_flag=True, help="Every fault, and which guarantee noticed it.")
def command(file: str, as_json: bool, seed: int, sample: int | None, labs: int, verbose: bool) -> int:
    """Break the lab on purpose, and see whether its guarantees notice.

    Every rule, chain, route, address, setting, port and NIC of the compiled lab is made wrong, one fault at a
    time; each is applied to a scratch lab, probed and undone. Faults that change nothing are found by the
    model. Ends with 0 where every other fault was noticed, with 1 where one survived.

    \b
    Example:
      vnetlab mutate topologies/isolated.yaml
    """
    from vnetlab import local, probe
    from vnetlab.kernel import agent

    agent.prepare(*probe.PRELOAD)

    from vnetlab.mutate.run import mutate
    from vnetlab.report import mutations as report
    from vnetlab.topology.model import Topology

    topology = Topology.load(file)
    local.refuse_traffic(topology)
    score = mutate(topology, seed, sample, labs, _Progress() if sys.stderr.isatty() else None)
    if as_json:
        print_json(report.mutations_object(score))
    else:
        from vnetlab.report.terminal import console

        if verbose:
            for result in score.results:
                click.echo(f"{result.fault.id}: {report.noticed_by(result)}")
        report.print_mutations(console(), score)
    return int(bool(score.survivors))


class _Progress:
    """One line on a terminal's stderr."""

    def __call__(self, done: int, of: int) -> None:
        click.echo(f"\rvnetlab: {done} of {of} faults ", err=True, nl=done == of)
