"""One command at a time on a lab: a lock that dies with its owner, and says whose it is.

It is a flock(2) on a file of the lab's tmpfs: the kernel releases it when the last descriptor is closed, by
whatever death. Agents inherit the descriptor, so a change that goes on after the death of its command still
keeps others away.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vnetlab.errors import LabLost, LabNotFound
from vnetlab.kernel import control, journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnetlab.kernel.holder import Holder


def nobody_is_told(_: str) -> None:
    """Say nothing of waiting."""


@contextmanager
def alone(
    holder: Holder, command: str, told: Callable[[str], None] = nobody_is_told, *, mend: bool = True
) -> Iterator[None]:
    """Have the lab to oneself. ``command`` is what others are told they wait for.

    ``told`` is told whom we wait for, and that a change which a dead command left unfinished is undone; with
    ``mend`` that is done. Raises LabNotFound where the lab ended while we waited, KernelError where it cannot
    be undone.
    """
    try:
        with holder.spaces() as spaces:
            descriptor = os.open(control.LOCK, os.O_RDWR | os.O_CLOEXEC, dir_fd=spaces[0])
        try:
            _lock(descriptor, holder.name, told)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{command} (process {os.getpid()})".encode(), 0)
            holder.lock = descriptor
            with holder.spaces() as spaces:  # it lives
                unfinished = journal.read(spaces[0], journal.CHANGE)
            if unfinished and mend:
                _mend(holder, told)
            yield
        finally:
            holder.lock = -1
            os.close(descriptor)
    except LabLost as error:
        raise LabNotFound(f"lab {holder.name} has just ended") from error


def _mend(holder: Holder, told: Callable[[str], None]) -> None:
    from vnetlab.kernel.agent import CHANGING, Agent
    from vnetlab.kernel.change import recover

    with Agent(holder, CHANGING) as agent:
        if agent.call(recover, None):
            told(f"lab {holder.name} was left in the middle of a change, which was undone")


def _lock(descriptor: int, lab: str, told: Callable[[str], None]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 200, 0).decode(errors="replace") or "another command"
        told(f"lab {lab} is in use, waiting for {owner}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
