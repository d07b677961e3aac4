"""`vnetlab explain`: the way of one packet, predicted, and in a lab that is up observed beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vnetlab.cli.options import json_option, lab_option, print_json

if TYPE_CHECKING:
    from vnetlab.explain.explanation import Explanation
    from vnetlab.explain.question import Words


@click.command(name="explain")
@lab_option
@click.option("--file", "file", metavar="FILE", help="Ask a model of this file; nothing is sent.")
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option(
    "--protocol", type=click.Choice(["icmp", "tcp", "udp"]), default="icmp", show_default=True,
    help="icmp is an echo request, tcp a SYN, udp a datagram.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(1, 65535), help="Destination port, of tcp and udp.")
@click.option(
    "--family", type=click.Choice(["ipv4", "ipv6"]), help="The first that both ends have, if left out."
)
@click.option("--source", "pretended", metavar="ADDRESS", help="Send from an address that is not SRC's.")
@click.option(
    "--ttl", type=click.IntRange(1, 255), default=64, show_default=True, help="Hop limit to begin with."
)
@click.option("--size", type=click.IntRange(64, 65000), help="Bytes of the whole packet, for path MTUs.")
@json_option
def command(
    lab: str | None, file: str | None, source: str, destination: str, protocol: str, port: int | None,
    family: str | None, pretended: str | None, ttl: int, size: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Tell what becomes of one packet from SRC to DST, and why.

    SRC is a node, DST a node or an address. With --file a model of the file answers, without root. In a
    lab that is up, the packet is sent too, followed by nftables' trace and captures, and what happened is
    put beside what was predicted. Ends with 1 where they differ or the model does not know.

    \b
    Examples:
      vnetlab explain web remote --protocol tcp --port 443
      vnetlab explain --file topologies/five-modes.yaml safe1 remote
    """
    from vnetlab.explain.question import Words

    if lab and file:
        raise click.UsageError("give --lab or --file, not both")
    words = Words(source, destination, protocol, port or 0, family, pretended, ttl, size or 0)
    explanation = _of_file(file, words) if file else _of_lab(lab, words)
    if as_json:
        from vnetlab.report.explanation_json import explanation_object

        print_json(explanation_object(explanation))
    else:
        from vnetlab.report.explanation import print_explanation
        from vnetlab.report.terminal import console

        print_explanation(console(), explanation)
    return 0 if file and explanation.told.end.outcome else int(not explanation.agrees)


def _of_file(file: str, words: Words) -> Explanation:
    from vnetlab import local
    from vnetlab.compile import compile_topology
    from vnetlab.explain.answer import tell_of
    from vnetlab.explain.explanation import Explanation
    from vnetlab.explain.question import guarantee_of
    from vnetlab.topology.model import Topology

    loaded = Topology.load(file)
    topology = local.seen(loaded, loaded.name)
    guarantee = guarantee_of(topology, words)
    told = tell_of(topology, guarantee, compile_topology(topology))
    return Explanation(topology, "", words.destination, guarantee, told, told)


def _of_lab(name: str | None, words: Words) -> Explanation:
    from vnetlab.lab import Lab

    with Lab.attach(name) as lab:
        return lab.explain(words)
