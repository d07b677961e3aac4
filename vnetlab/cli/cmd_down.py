"""`vnetlab down`: end labs."""

from __future__ import annotations

import os

import click

from vnetlab.cli.options import progress


@click.command(name="down")
@click.argument("lab", metavar="[LAB]", required=False)
@click.option("--all", "every", is_flag=True, help="End every lab of this user.")
def command(lab: str | None, every: bool) -> None:
    """Remove a lab; LAB may be left out when only one is up.

    \b
    Example:
      vnetlab down first
    """
    if lab and every:
        raise click.UsageError("give a LAB or --all, not both")
    if every:
        _end_all()
    else:
        _end(lab)


def _end(name: str | None) -> None:
    from vnetlab import recovery
    from vnetlab.errors import LabNotFound
    from vnetlab.kernel.holder import Holder
    from vnetlab.kernel.lock import alone

    try:
        with Holder.find(name) as holder, alone(holder, "vnetlab down", progress, mend=False):
            holder.end()
            recovery.clear(holder.name, progress)
            progress(f"lab {holder.name} is down")
    except LabNotFound:
        if name is None or not recovery.clear(name, progress):
            raise
        progress(f"lab {name} was left behind on this machine, and is undone")


def _end_all() -> None:
    """End every lab of this user, go on past those that refuse, and then say which did."""
    from vnetlab.errors import KernelError, LabNotFound, VnetlabError
    from vnetlab.kernel.holder import labs

    left: list[str] = []
    for info in labs():
        if info.uid != os.geteuid():
            continue  # root sees the labs of others too
        try:
            _end(info.name)
        except LabNotFound:
            continue  # it ended by itself in the meantime
        except VnetlabError as error:
            left.append(f"{info.name}: {error}")
    if left:
        raise KernelError("\n".join(left))
