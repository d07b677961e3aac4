"""Which labs are up, asked of their holders: there is no other record."""

from __future__ import annotations

from dataclasses import dataclass

from vnetlab.description import NodeInfo, decode
from vnetlab.errors import LabLost, LabNotFound


@dataclass(frozen=True, slots=True)
class LabStatus:
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


def _ask(name: str) -> LabStatus:
    from vnetlab.kernel.holder import Holder

    with Holder.find(name) as holder:
        return LabStatus(holder.name, holder.pid, decode(holder.description()).nodes)
