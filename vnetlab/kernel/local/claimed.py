"""What a lab on this very machine has recorded as its own, and what differs from what it shall be.

Acts in the namespace that the thread is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab import names
from vnetlab.claims import Claims
from vnetlab.kernel.local.bypass import Bypass
from vnetlab.kernel.local.journal import latest, path_of, records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.kernel.local.journal import Record

_NO_ALTNAME = ("", "-")


def claims_of(lab: str) -> Claims:
    """Return what a lab's journal says; raises KernelError where it cannot be read."""
    found = records(path_of(lab))
    last = latest(found)
    macs: dict[str, frozenset[str]] = {}
    altnames = set()
    for record in found:
        if record.kind == "link":
            mac, _, altname = record.mark.partition(" ")
            macs[record.name] = macs.get(record.name, frozenset()) | {mac}
            altnames.add(altname)
    own = names.table_on_machine(lab)
    tables = (record.name.partition(" ") for record in _of_kind(last, "table"))
    settings = tuple(_of_kind(last, "sysctl"))
    return Claims(
        macs,
        frozenset(altnames.difference(_NO_ALTNAME)),
        frozenset((family, name) for family, _, name in tables if name == own),
        frozenset(record.name for record in settings),
        frozenset(record.name for record in settings if record.mark and record.mark != record.before),
        {record.name: record.mark.partition(" ")[2] for record in _of_kind(last, "nic")},
    )


def tidy(lab: str) -> None:
    """Remove what is there only while a NIC is moved, where its mover was killed; raises KernelError."""
    for record in _of_kind(records(path_of(lab)), "nic"):
        Bypass(lab, record.name, record.mark.partition(" ")[0]).remove()


def _of_kind(found: tuple[Record, ...], kind: str) -> Iterator[Record]:
    return (record for record in found if record.kind == kind)
