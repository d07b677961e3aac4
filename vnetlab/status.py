"""Which labs are up, asked of their holders: there is no other record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.description import NodeInfo, decode
from vnetlab.errors import LabLost, LabNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vnetlab.converge import Comparison


class LabStatus(Struct, frozen=True):
    """A lab that is up."""

    name: str
    holder: int
    """Process id of its holder."""
    nodes: tuple[NodeInfo, ...]


def running(name: str | None = None) -> tuple[LabStatus, ...]:
    """Return the labs that are up, or the one of that name.

    A lab that is still being built, or ends while we ask, is left out. Raises LabNotFound for a
    name that is not up.
    """
    from vnetlab.kernel.holder import labs

    if name is not None:
        return (_ask(name),)
    found: list[LabStatus] = []
    for lab in dict.fromkeys(info.name for info in labs()):
        try:
            found.append(_ask(lab))
        except (LabNotFound, LabLost):
            continue
    return tuple(found)


def drifts(labs: tuple[LabStatus, ...], told: Callable[[str], None]) -> Mapping[str, Comparison]:
    """Return for each lab what differs from the file that it was made of; one that has ended is left out.

    Raises UserError for a lab that was made without a file, KernelError where it cannot be read.
    """
    from vnetlab.lab import Lab

    found = {}
    for each in labs:
        try:
            with Lab.attach(each.name) as lab, lab.alone("vnetlab status --drift", told):
                found[each.name] = lab.drift()
        except (LabNotFound, LabLost):
            continue
    return found


def _ask(name: str) -> LabStatus:
    from vnetlab.kernel.holder import Holder

    with Holder.find(name) as holder:
        return LabStatus(holder.name, holder.pid, decode(holder.description()).nodes)
