"""Undoes what a lab did to this very machine, from its journal alone: what it does not say stays.

Acts in the namespace that the thread is in. It looks before it does anything, so it can be begun again at any
point, whoever was killed. After an error it goes on with the rest, keeps the journal, and reports all errors.
"""

from __future__ import annotations

from functools import partial
from socket import if_nametoindex
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError
from vnetlab.kernel import messages, nftables, read_messages, sysctl
from vnetlab.kernel.local import journal, move
from vnetlab.kernel.local.bypass import Bypass
from vnetlab.kernel.local.carriage import Carried
from vnetlab.kernel.local.facts import read_setting
from vnetlab.kernel.netlink import Netlink
from vnetlab.plan import DeleteLink
from vnetlab.state import NftTable, Sysctl

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
        return ("it is of an earlier uptime of this machine, of which the kernel keeps nothing",)
    others = _claimed_by_others(path)
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


def _claimed_by_others(path: Path) -> set[str]:
    """Return the settings that other labs need: the last of them restores what was there before."""
    found: set[str] = set()
    for other in journal.journals():
        said = journal.records(other)
        if other != path and not journal.is_over(said):
            found |= {record.name for record in said if record.kind == "sysctl"}
    return found


def _steps(found: tuple[Record, ...], others: set[str]) -> Iterator[Callable[[], Iterator[str]]]:
    """Yield what is to be done: NICs, devices, then what opened paths, and last what kept others closed."""
    back = tuple(reversed(found))
    for kind, way in (("nic", _nic), ("link", _link), ("sysctl", _setting), ("table", _table)):
        for record in back:
            if record.kind == kind and not (kind == "sysctl" and record.name in others):
                yield partial(way, found[0].name, record)


def _nic(lab: str, record: Record) -> Iterator[str]:
    try:
        if_nametoindex(record.name)
    except OSError:
        yield f"{_PLACE} has no {record.name} any more, to which addresses and routes could go back"
        return
    mac, _, bridge = record.mark.partition(" ")
    move.take_back(Bypass(lab, record.name, mac), bridge)
    move.restore(record.name, Carried.decode(record.before))


def _link(_: str, record: Record) -> Iterator[str]:
    mac, _, altname = record.mark.partition(" ")
    with Netlink() as netlink:
        dump = netlink.dump(read_messages.dump(read_messages.GET_LINKS))
        there = [link for link in (read_messages.link(body) for _, body in dump) if link.name == record.name]
        for link in there:
            if link.mac != mac and link.altname != altname:
                yield f"{record.name} is another device by now, and stays"
                continue
            netlink.add(messages.delete_link(link.index), DeleteLink(_PLACE, link.name))
            netlink.flush()


def _table(_: str, record: Record) -> Iterator[str]:
    family, name = record.name.split(" ", 1)
    if f"table {family} {name} {{" in nftables.ruleset():
        nftables.delete(NftTable(family, name, ()))
    return
    yield


def _setting(_: str, record: Record) -> Iterator[str]:
    now = read_setting(record.name)
    if now is None or now == record.before:
        return
    if record.mark and now != record.mark:
        yield f"{record.name} is {now} by now, which this lab did not write, and stays"
        return
    sysctl.write((Sysctl(record.name, record.before),))
