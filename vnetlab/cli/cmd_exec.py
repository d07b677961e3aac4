"""`vnetlab exec`: run a command inside a node, as if it were started there."""

from __future__ import annotations

import os
import signal
import sys

import click

from vnetlab.cli.options import lab_option


@click.command(
    name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@lab_option
@click.argument("node", metavar="NODE")
@click.argument("argv", metavar="-- CMD [ARG]...", nargs=-1, type=click.UNPROCESSED, required=True)
def command(lab: str | None, node: str, argv: tuple[str, ...]) -> None:
    """Run a command in a VM, host or machine; stdio and exit code pass through.

    \b
    Example:
      vnetlab exec web -- ip route
    """
    words = list(argv[1:] if argv[0] == "--" else argv)
    if not words:
        raise click.UsageError("what is to be run? Missing CMD after --")
    replace_process(lab, node, words)


def replace_process(lab: str | None, node: str, argv: list[str]) -> None:
    """Become the command inside the node."""
    from vnetlab.kernel import enter
    from vnetlab.kernel.holder import Holder
    from vnetlab.node import environment

    with Holder.find(lab) as holder:
        entered = enter.command(holder, node, argv)
    sys.stdout.flush()
    # Python ignores SIGPIPE, and what is ignored stays so across exec (signal(7)).
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execvpe(entered[0], entered, environment())  # noqa: S606  an argument list, never a shell
