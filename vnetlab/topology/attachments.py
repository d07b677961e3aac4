"""How VMs and machines say where they are attached: one short and one long way, read alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.topology.addressing import Fixed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.topology.document import AttachmentDoc, MachineDoc, VmDoc
    from vnetlab.topology.report import Path, Report


class Attached(Struct, frozen=True):
    """One attachment of a VM or machine, whichever way it is written."""

    name: str
    doc: AttachmentDoc | VmDoc | MachineDoc
    path: Path
    """Of the name of the network or segment."""
    options: Path
    """Of the map that has address, addresses and mac."""


def attachments(
    doc: VmDoc | MachineDoc, one: str, many: str, path: Path, report: Report
) -> Iterator[Attached]:
    """Iterate over the attachments of a node; reports one that is written in two ways, or none."""
    single: str | None = getattr(doc, one)
    several: dict[str, AttachmentDoc] | None = getattr(doc, many)
    if single is not None and several is not None:
        wrong = f"`{one}` and `{many}` say the same thing"
        report.add((*path, one), wrong, f"keep `{many}` only")
    elif single is not None:
        yield Attached(single, doc, (*path, one), path)
    elif not several and not report.is_marred(path):
        report.add((*path, many), f"the node is on no {one}", f"add `{one}:`", "")
    if several is None:
        return
    for option in ("address", "addresses", "mac"):
        if single is None and getattr(doc, option) is not None:
            wrong = f"does not say which of the {many} it is for"
            remedy = f"write it inside of `{many}: {{NAME: {{...}}}}`"
            report.add((*path, option), wrong, remedy)
    for name, attachment in several.items():
        yield Attached(name, attachment, (*path, many, name), (*path, many, name))


def fixed_addresses(
    doc: AttachmentDoc | VmDoc | MachineDoc, path: Path, report: Report
) -> tuple[Fixed, ...] | None:
    """Return the addresses that the file fixes; None where they are to be derived."""
    if doc.address is not None and doc.addresses is not None:
        wrong = "`address` and `addresses` say the same thing"
        report.add((*path, "address"), wrong, "keep `addresses` only")
    if doc.address is not None:
        return (Fixed(doc.address, (*path, "address")),)
    if doc.addresses is None:
        return None
    return tuple(Fixed(a, (*path, "addresses", i)) for i, a in enumerate(doc.addresses))
