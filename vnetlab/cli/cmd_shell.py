"""`vnetlab shell`: an interactive shell inside a node, whose prompt says where one is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from vnetlab.cli.cmd_exec import replace_process
from vnetlab.cli.options import lab_option

BASH_SETTINGS = Path(__file__).with_name("shellrc")


@click.command(name="shell")
@lab_option
@click.argument("node", metavar="NODE")
def command(lab: str | None, node: str) -> None:
    """Open an interactive shell in a VM, host or machine.

    \b
    Example:
      vnetlab shell web
    """
    # sh reads PS1 from its environment; bash has it set by its settings file, after the user's own.
    os.environ["PS1"] = os.environ["VNETLAB_PROMPT"] = f"[{node}] $ "
    os.environ["VNETLAB_NODE"] = node
    replace_process(lab, node, shell_command())


def shell_command() -> list[str]:
    """Return bash with the user's own settings and our prompt, or sh where there is no bash."""
    if bash := shutil.which("bash"):
        return [bash, "--rcfile", str(BASH_SETTINGS), "-i"]
    return ["/bin/sh", "-i"]
