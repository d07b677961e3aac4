"""Undoes what a lab did to this very machine, from its journal alone: what it does not say stays.

Acts in the namespace that the thread is in. It looks before it does anything, so it can be begun again at any
point, whoever was killed. After an error it goes on with the rest, keeps the journal, and reports all errors.
"""

from __future__ import annotations

from functools import partial
from socket import if_nametoindex
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError
from vnetlab.kernel import messages, nftables
from vnetlab.kernel.local import devices, journal, move, settings
from vnetlab.kernel.local.bypass import Bypass
from vnetlab.kernel.local.carriage import Carried
from vnetlab.kernel.netlink import Netlink
from vnetlab.state import NftTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vnetlab.kernel.local.journal import Record

_PLACE = "this machine"


def undo(path: Path) -> tuple[str, ...]:
    """Undo a lab, and forget its journal; return what was left alone, in words.

    Raises KernelError that says what could not be undone; the journal is kept then.
    """
    found = journal.records(path)
    if not found:
        journal.forget(path)
        return ()
    if journal.is_over(found):
        journal.forget(path)
        return ("this machine was restarted since, which left nothing of it to undo",)
    others = settings.claimed_by_others(path)
    told: list[str] = []
    failed: list[str] = []
    for step in _steps(found, others):
        try:
            told += step()
        except (KernelError, OSError) as error:
            failed.append(str(error))
    if failed:
        raise KernelError(f"left to undo, and recorded in {path}: " + "; ".join(failed))
    journal.forget(path)
    return tuple(told)


def _steps(found: tuple[Record, ...], others: set[str]) -> Iterator[Callable[[], Iterator[str]]]:
    """Yield what is to be done: NICs, devices, then what opened paths, and last what kept others closed."""
    back = tuple(reversed(journal.latest(found)))
    for kind, way in (("nic", _nic), ("link", _link), ("sysctl", settings.put_back), ("table", _table)):
        for record in back:
            if record.kind == kind and not (kind == "sysctl" and record.name in others):
                yield partial(way, found, record)


def _nic(found: tuple[Record, ...], record: Record) -> Iterator[str]:
    try:
        if_nametoindex(record.name)
    except OSError:
        yield f"{_PLACE} has no {record.name} any more, to which addresses and routes could go back"
        return
    mac, _, bridge = record.mark.partition(" ")
    move.take_back(Bypass(found[0].name, record.name, mac), bridge)
    move.restore(record.name, Carried.decode(record.before))


def _link(found: tuple[Record, ...], record: Record) -> Iterator[str]:
    # A device may have been made more than once, by other marks.
    marks = [r.mark.split(" ", 1) for r in found if r.kind == "link" and r.name == record.name]
    macs, altnames = {mac for mac, _ in marks}, {altname for _, altname in marks}
    with Netlink() as netlink:
        for link in devices.links(netlink):
            if link.name != record.name:
                continue
            if link.mac not in macs and link.altname not in altnames:
                yield f"{record.name} is another device by now, and stays"
                continue
            try:
                what = f"delete {link.name}"
                devices.send(netlink, what, (messages.delete_link(link.index),))
            except KernelError:
                # The kernel was faster: a veth goes with the namespace of its other end, a moment after that.
                if link.index in devices.indices(netlink).values():
                    raise


def _table(_: tuple[Record, ...], record: Record) -> Iterator[str]:
    family, name = record.name.split(" ", 1)
    if f"table {family} {name} {{" in nftables.ruleset():
        nftables.delete(NftTable(family, name, ()))
    return
    yield
