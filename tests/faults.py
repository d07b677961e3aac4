"""Faults at one kernel call of a change: an error before or after it, or the death of whoever is involved.

What is here is called in an agent; a process that it forks inherits the observer.
"""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError
from vnetlab.kernel import writes

if TYPE_CHECKING:
    from vnetlab.kernel.spaces import Spaces

ENOMEM, EPERM = errno.ENOMEM, errno.EPERM


@dataclass(frozen=True)
class Fault:
    """What happens at a call: ``error`` is its number; 0 kills the process that makes it."""

    number: int
    after: bool
    error: int = 0
    spared: bool = True
    """Whether the agent itself, which undoes what a dead child of its own left, is not killed."""
    meeting: str = ""
    """Where it stops instead: ``MEETING.reached`` is written, and ``MEETING.go`` is read."""


class Breaker:
    """Does it, once."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._agent = os.getpid()

    def before(self, number: int, what: str) -> None:
        if number == self._fault.number and not self._fault.after:
            self._strike(what)

    def after(self, number: int, what: str) -> None:
        if number == self._fault.number and self._fault.after:
            self._strike(what)

    def _strike(self, what: str) -> None:
        fault = self._fault
        if fault.meeting:
            Path(f"{fault.meeting}.reached").write_text(what)
            Path(f"{fault.meeting}.go").read_text()
        elif fault.error:
            raise KernelError(f"{what}: {os.strerror(fault.error)}")
        elif os.getpid() != self._agent or not fault.spared:
            os.kill(os.getpid(), signal.SIGKILL)


def inject(spaces: Spaces, fault: Fault | None) -> None:
    """Have it happen in this agent, or no more."""
    writes.watch(Breaker(fault) if fault else None)
