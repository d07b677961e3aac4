"""Undoes what labs that have ended did to this very machine, whoever was killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.errors import Absent, FeatureUnavailable, KernelError
from vnetlab.kernel.lock import nobody_is_told

if TYPE_CHECKING:
    from collections.abc import Callable

_CAPABILITIES = {12: "CAP_NET_ADMIN", 21: "CAP_SYS_ADMIN"}  # linux/capability.h


def clear(lab: str, told: Callable[[str], None] = nobody_is_told) -> bool:
    """Undo what a lab that has ended did to this machine, and tell whether there was anything.

    Raises KernelError that says what could not be undone.
    """
    from vnetlab.kernel.local import journal

    if not journal.journals_of(lab):
        return False
    with journal.alone(told):
        return clear_alone(lab, told)


def clear_alone(lab: str, told: Callable[[str], None] = nobody_is_told) -> bool:
    """Do what clear() does, for whoever has the machine to himself."""
    from vnetlab.kernel.local import journal, undo

    found = journal.journals_of(lab)
    for path in found:
        for text in undo.undo(path):
            told(f"lab {lab}: {text}")
    return bool(found)


def recover(told: Callable[[str], None]) -> tuple[str, ...]:
    """Undo every lab that was left behind on this machine; return their names.

    Raises FeatureUnavailable without the privileges, KernelError that says what could not be undone.
    """
    from vnetlab.kernel.local import journal

    if not left_behind():
        if journal.FOLDER.exists():
            with journal.alone(told):  # whose end removes an empty folder that a death left
                pass
        return ()
    check_privileges()
    with journal.alone(told):
        return recover_alone(told)


class LeftBehind(Struct, frozen=True):
    """A lab of which there is a journal, but no holder any more."""

    lab: str
    journal: Path
    restarted: bool
    """The machine was restarted since: nothing of the lab is there to be undone."""


def left_behind() -> tuple[LeftBehind, ...]:
    """Return the labs of which there are journals, but no holder any more."""
    from vnetlab.kernel.local import journal

    found = []
    for path in journal.journals():
        said = journal.records(path)
        lab = said[0].name if said else path.stem.partition(".")[2]
        restarted = journal.is_over(said)  # one that is up by that name is another one
        if restarted or not _is_up(path.stat().st_uid, lab):
            found.append(LeftBehind(lab, path, restarted))
    return tuple(found)


def _is_up(user: int, lab: str) -> bool:
    from vnetlab.kernel import control

    try:
        control.connect(user, lab).close()
    except OSError:
        return False
    return True


def recover_alone(told: Callable[[str], None]) -> tuple[str, ...]:
    """Do what recover() does, for whoever has the machine to himself."""
    from vnetlab.kernel.local import undo

    done, failed = [], []
    for left in left_behind():
        try:
            for text in undo.undo(left.journal):
                told(f"lab {left.lab}: {text}")
            if not left.restarted:
                told(f"lab {left.lab} was left behind by a process that was killed, and is undone")
            done.append(left.lab)
        except KernelError as error:
            failed.append(f"lab {left.lab}: {error}")
    if failed:
        raise KernelError("\n".join(failed))
    return tuple(done)


def check_privileges() -> None:
    """Raise FeatureUnavailable where this process may not change the machine's network."""
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:")
    )
    effective = int(line.split()[1], 16)
    lacking = [name for number, name in _CAPABILITIES.items() if not effective >> number & 1]
    if lacking or os.geteuid():
        evidence = f"without {' and '.join(lacking) or 'root'} nobody may change this machine's network"
        raise FeatureUnavailable((Absent("backend: local", evidence, "run as root"),))
