"""Settings of this very machine that a lab writes: what is recorded of them, and how they go back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError
from vnetlab.kernel import sysctl
from vnetlab.kernel.local import journal
from vnetlab.kernel.local.facts import read_setting
from vnetlab.kernel.local.journal import Record
from vnetlab.names import ON_MACHINE
from vnetlab.state import Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SIX = "net/ipv6/conf/all/forwarding"
"""The kernel writes it to every device as well (`addrconf_forward_change()` in net/ipv6/addrconf.c)."""
_ALL = "net/ipv4/conf/all/forwarding"
_FORWARDING = re.compile("net/ipv4/conf/(?!all/)[^/]+/forwarding")
"""Of a device; who turns it on for all turns it on for this one too."""
_OF_DEVICE = re.compile("net/ipv6/conf/[^/]+/forwarding")
_DEVICES = Path("/proc/sys/net/ipv6/conf")


def records(written: Sysctl, before: Mapping[str, str], known: Mapping[str, Record]) -> Iterator[Record]:
    """Yield what has to be recorded before a setting is written.

    ``before`` is what settings were before other labs, ``known`` what is recorded of this one's by key: of a
    setting that still has the value that was written, no more than that. Raises KernelError where the kernel
    has no such setting.
    """
    now = read_setting(written.key)
    by_the_way = written.key in known and not known[written.key].mark
    value = known[written.key].before if by_the_way else before.get(written.key, now)
    if value is None:
        raise KernelError(f"sysctl {written.key}: the kernel has no such setting")
    if written.key in known and now == known[written.key].mark:
        return
    if written.key == SIX and SIX not in known:
        for key, own in _other_than(value, before):
            yield Record("sysctl", key, "", own)
    if _FORWARDING.fullmatch(written.key) and _ALL not in known:
        every = before.get(_ALL, read_setting(_ALL)) or "0"
        yield Record("sysctl", _ALL, every, every)  # not written, but to be known afterwards
    yield Record("sysctl", written.key, written.value, value)


def _other_than(value: str, before: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what was set for single devices, and the kernel writes over with that for all of them."""
    if SIX in before:  # another lab was first, and has recorded it
        yield from ((key, own) for key, own in before.items() if _OF_DEVICE.fullmatch(key) and key != SIX)
        return
    for folder in sorted(_DEVICES.iterdir()):
        if folder.name in ("all", "lo") or folder.name.startswith(ON_MACHINE):
            continue
        own = read_setting(f"net/ipv6/conf/{folder.name}/forwarding")
        if own is not None and own != value:
            yield f"net/ipv6/conf/{folder.name}/forwarding", own


def put_back(found: Iterable[Record], record: Record) -> Iterator[str]:
    """Give a setting the value that it had, unless it is somebody else's by now; yield what stays, in words.

    ``found`` is all that is recorded of the lab. Raises KernelError.
    """
    now = read_setting(record.name)
    if now is None or now == record.before:
        return
    if record.mark and now != record.mark:
        yield f"{record.name} is {now} by now, which this lab did not write, and stays"
        return
    if _FORWARDING.fullmatch(record.name) and _forwards_since(found):
        yield f"{record.name} stays {now}: somebody else has this machine forward IPv4 since"
        return
    sysctl.write((Sysctl(record.name, record.before),))


def _forwards_since(found: Iterable[Record]) -> bool:
    """Tell whether the machine forwards on all devices, and did not before the lab: Docker has it so."""
    before = {record.before for record in found if record.kind == "sysctl" and record.name == _ALL}
    return before == {"0"} and read_setting(_ALL) == "1"


def claimed_by_others(path: Path) -> set[str]:
    """Return the settings that other labs need: the last of them restores what was there before."""
    found: set[str] = set()
    for other in journal.journals():
        said = journal.records(other)
        if other != path and not journal.is_over(said):
            found |= {record.name for record in journal.latest(said) if record.kind == "sysctl"}
    return found


def went_with(key: str, claimed: Iterable[str]) -> Iterator[str]:
    """Yield the recorded settings that go back with one: those that the kernel wrote by the way."""
    if key == SIX:
        yield from (each for each in claimed if _OF_DEVICE.fullmatch(each) and each != SIX)
