"""Settings that a new namespace inherits, and whether a lab's own take their place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError
from vnetlab.health import Area, Check, State
from vnetlab.kernel import sysctl
from vnetlab.kernel.doctor.files import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.state import Sysctl

_SHOWN = 3


def inherited(wanted: tuple[Sysctl, ...]) -> Iterator[Check]:
    """Compare the settings of the namespace that the thread is in, write a lab's, and read them back."""
    before = {each.key: _read(each.key) for each in wanted}
    refused = ""
    try:
        sysctl.Settings().write(wanted)
    except KernelError as error:
        refused = str(error)
    after = {each.key: _read(each.key) for each in wanted}
    yield judge(wanted, before, after, refused)


def judge(wanted: tuple[Sysctl, ...], before: dict[str, str], after: dict[str, str], refused: str) -> Check:
    """Say which settings a new namespace has otherwise than a lab, and which would not be changed.

    A setting that the kernel does not have reads as an empty text.
    """
    name = "inherited settings"
    kept = [each.key for each in wanted if after[each.key] not in ("", each.value)]
    if refused or kept:
        finding = refused or f"{kept[0].replace('/', '.')} stays {after[kept[0]]}"
        remedy = "mount /proc writable, and look for a security module that forbids settings"
        return Check(Area.INTERFERENCE, name, State.MISSING, finding, remedy)
    other = [each for each in wanted if before[each.key] not in ("", each.value)]
    shown = ", ".join(f"{each.key.replace('/', '.')}={before[each.key]}" for each in other[:_SHOWN])
    more = f", {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
    told = f"a new namespace has {shown}{more}; " if other else "a new namespace has what a lab sets; "
    finding = f"{told}{len(wanted)} settings of a lab were written there and read back"
    return Check(Area.INTERFERENCE, name, State.OK, finding)


def _read(key: str) -> str:
    return text_of(Path("/proc/sys", key)).strip()
