"""Options and ways of speaking that several commands share."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from vnetlab.guarantees import FLOW_KINDS
from vnetlab.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable

_PARTS = 10_000

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else."
)
junit_option = click.option(
    "--junit", metavar="FILE", help="Write the verdicts as JUnit XML as well; - is stdout."
)
pairs_option = click.option(
    "--pairs",
    type=click.Choice(["all", "cover"]),
    default="all",
    help="cover: send only as many probes as exercise every object that all of them do.",
)
flows_option = click.option(
    "--flows",
    type=click.Choice(FLOW_KINDS),
    multiple=True,
    help="Send only flows of this kind, or of these where it is given several times.",
)
svg_option = click.option("--svg", metavar="FILE", hidden=True, help="Write the report as a picture.")


def lab_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--lab``."""
    option = click.option("--lab", metavar="LAB", help="The lab; may be left out when only one is up.")
    return option(function)


def print_json(value: object) -> None:
    """Print one object on stdout."""
    # In parts: the plan of a large lab is hundreds of megabytes. JSON escapes all of ASCII but DEL.
    parts = json.JSONEncoder(indent=2).iterencode(value)
    while part := "".join(islice(parts, _PARTS)):
        click.echo(part.replace("\x7f", "\\u007f"), nl=False)
    click.echo()


def progress(text: str) -> None:
    """Say on stderr what is going on."""
    click.echo(f"vnetlab: {visible(text)}", err=True)
