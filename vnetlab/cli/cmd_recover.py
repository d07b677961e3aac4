"""`vnetlab recover`: undo what labs left behind on this very machine."""

from __future__ import annotations

import click

from vnetlab.cli.options import progress


@click.command(name="recover")
def command() -> None:
    """Undo labs on this very machine (`backend: local`) whose processes were killed.

    What their journals say is undone, and nothing else; labs that are up are not touched.

    \b
    Example:
      vnetlab recover
    """
    from vnetlab.recovery import recover

    if not recover(progress):
        progress("nothing was left behind")
