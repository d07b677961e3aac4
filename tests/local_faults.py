"""Deaths in the middle of a lab on a machine that is played; run as programs there.

``local_faults.py make FILE NTH WHEN``: `up`, killed at the NTH journal record (``before``, ``after``, or when
the one kernel call ``behind`` it was made), or, ``moving``, after the NTH kernel call of the NIC's move.
``local_faults.py undo LAB NTH``: `down`, killed after its NTH kernel call. Both end with 0 if there was none.
``local_faults.py change BEFORE AFTER EVERY``: `up` of one file where the lab is up as in the other, with a
fault at every EVERY-th kernel call; prints how many those calls are.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from itertools import count
from typing import Any

from faults import ENOMEM, EPERM, Fault, inject

from vnetlab import local, recovery
from vnetlab.errors import KernelError
from vnetlab.kernel import writes
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.change import RESTORED, UNCHANGED, carry_out
from vnetlab.kernel.holder import Holder
from vnetlab.lab import Lab

DEAD = 9


@dataclass
class Killer:
    """Kills this process at one moment."""

    nth: int
    when: str
    records: int = 0
    moving: int = 0
    is_moving: bool = False

    def before(self, _: int, what: str) -> None:
        self.records += what.startswith("record ")
        if self.when == "before" and self.records == self.nth:
            self._die()

    def after(self, _: int, what: str) -> None:
        recorded = what.startswith("record ")
        if self.when == "after" and recorded and self.records == self.nth:
            self._die()
        if self.when == "behind" and not recorded and self.records == self.nth:
            self._die()
        self.moving += self.is_moving
        self.is_moving = self.is_moving or what.startswith("record nic")
        if self.when == "moving" and self.moving == self.nth:
            self._die()

    def _die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def arm(_: Any, killer: Killer) -> None:
    """Have it happen in this agent."""
    writes.watch(killer)


def main() -> None:
    """Do as the arguments say."""
    if sys.argv[1] == "make":
        _make(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    elif sys.argv[1] == "change":
        _change(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        _undo(sys.argv[2], int(sys.argv[3]))


def _make(file: str, nth: int, when: str) -> None:
    make = local.make

    def killed(agent: Any, *arguments: Any) -> None:
        agent.call(arm, Killer(nth, when))
        make(agent, *arguments)

    setattr(local, "make", killed)  # noqa: B010 - it takes any arguments
    recovery.clear_alone = lambda *_: os._exit(DEAD)
    Lab(file).up()


def _undo(lab: str, nth: int) -> None:
    with Holder.find(lab) as holder:
        holder.end()
    killer = Killer(nth, "moving", is_moving=True)
    writes.watch(killer)
    recovery.clear(lab)


def _change(before: str, after: str, every: int) -> None:
    """Leave the lab as it was before; raises AssertionError where a fault leaves anything in between."""
    made: list[Fault | None] = [None]
    call = Agent.call

    def broken(agent: Agent, act: Any, argument: Any) -> Any:
        if act is carry_out:
            call(agent, inject, made[0])
        return call(agent, act, argument)

    setattr(Agent, "call", broken)  # noqa: B010 - it takes any arguments
    for number in count(1, every):
        for fault in (Fault(number, False, ENOMEM), Fault(number, True, EPERM), Fault(number, True)):
            made[0] = fault
            try:
                _up(after)
            except KernelError as error:
                assert str(error).endswith((RESTORED, UNCHANGED)), error  # noqa: PT017 - the last raises none
                _assert_as_said(before, f"{fault}: {error}")
                continue
            _assert_as_said(after, str(fault))
            made[0] = None
            _up(before)
            _assert_as_said(before, f"and back, {fault}")
            if not fault.after:  # there is no such call
                sys.stdout.write(str(number - 1))
                return


def _up(file: str) -> None:
    lab = Lab(file)
    try:
        lab.up()
    finally:
        lab.close()


def _assert_as_said(file: str, when: str) -> None:
    found = Lab(file).compare()
    assert found.same, (when, [step.describe() for step in found.plan.steps])


if __name__ == "__main__":
    import local_faults  # what travels to the agent has to be importable by name

    local_faults.main()
