"""The entry point: finds the command, and turns whatever ends it into an exit code.

Exit codes: 0 it holds, 1 broken or inconclusive, 2 topology or usage, 3 a feature is unavailable,
4 anything else, 128+n ended by signal n. A command loads when it is called: ``--help`` stays quick.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from vnetlab import __version__
from vnetlab.cli.border import Border

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (
    "plan", "up", "status", "exec", "shell", "predict", "explain", "probe", "mutate", "test", "down",
    "recover", "doctor", "schema",
)  # fmt: skip
"""In the order of use; each is the ``command`` of the module ``vnetlab.cli.cmd_NAME``."""


class LazyGroup(click.Group):
    """A group whose commands are modules, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"vnetlab.cli.cmd_{cmd_name}").command
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="vnetlab %(version)s")
def vnetlab() -> None:
    """Build virtual networking labs, and prove what their network modes promise.

    \b
    Example:
      vnetlab test topologies/five-modes.yaml
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    with Border() as border:
        args = None if arguments is None else list(arguments)
        border.exit_code = vnetlab.main(args, prog_name="vnetlab", standalone_mode=False) or 0
    return border.exit_code


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run())
