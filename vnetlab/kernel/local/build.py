"""Makes a lab whose host is this very machine: every step there is in the journal before it is taken.

Runs inside the lab (see agent.py). After an error the machine is as far as it got, and the journal says how
far: whoever started it undoes it (undo.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from socket import if_nameindex
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError
from vnetlab.kernel import nftables
from vnetlab.kernel.apply import apply
from vnetlab.kernel.local import move
from vnetlab.kernel.local.bypass import Bypass
from vnetlab.kernel.local.facts import read_setting, values_before_labs
from vnetlab.kernel.local.journal import Journal, Record, head
from vnetlab.kernel.ready import wait_ready
from vnetlab.names import ON_MACHINE
from vnetlab.plan import ChangeTables, CreateBridge, CreateTap, CreateVeth, MoveNic, Plan, SetSysctls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.kernel.spaces import Spaces
    from vnetlab.plan import Step
    from vnetlab.state import State, Sysctl

_SIX = "net/ipv6/conf/all/forwarding"
"""The kernel writes it to every device as well (`addrconf_forward_change()` in net/ipv6/addrconf.c)."""
FORWARDING_ALL = "net/ipv4/conf/all/forwarding"
FORWARDING = re.compile("net/ipv4/conf/(?!all/)[^/]+/forwarding")
"""Of a device; who turns it on for all turns it on for this one too."""
_OF_DEVICE = re.compile("net/ipv6/conf/[^/]+/forwarding")
_DEVICES = Path("/proc/sys/net/ipv6/conf")


@dataclass(frozen=True, slots=True)
class Making:
    """All that a lab on this machine is made of."""

    lab: str
    host: str
    """Name of the host that is this machine."""
    state: State
    plan: Plan
    facts: str
    """For the journal: what the machine was like, as JSON."""
    journal: str
    """Path of the journal."""
    hosts: str


def make(spaces: Spaces, making: Making) -> None:
    """Make the lab; returns when every address is usable.

    Raises KernelError, also for a name that is taken: nothing that was there before is ever changed or taken
    for the lab's own.
    """
    spaces.adopt(making.host)
    with Journal(Path(making.journal)) as journal:
        journal.write(head(making.lab, making.facts))
        with spaces.inside(making.host):
            taken = {name for _, name in if_nameindex()}
            tables = nftables.ruleset()
            before = values_before_labs()
        own = {link.name for link in making.state.namespace(making.host).links}
        for here, steps in groupby(making.plan.steps, key=lambda step: step.namespace == making.host):
            if not here:
                apply(spaces, Plan(tuple(steps)))
                continue
            for step in steps:
                with spaces.inside(making.host):
                    for record in _records(step, making.lab, own, before):
                        _refuse_taken(record, taken, tables)
                        journal.write(record)
                _take(spaces, making, step)
    wait_ready(spaces, making.state)
    spaces.write_hosts(making.hosts)


def _take(spaces: Spaces, making: Making, step: Step) -> None:
    if isinstance(step, MoveNic):
        with spaces.inside(making.host):
            mac, _ = move.look(step.nic)
            move.put_under(Bypass(making.lab, step.nic, mac), step.bridge)
        return
    apply(spaces, Plan((step,)))
    nics = {each.bridge: each.nic for each in making.plan.steps if isinstance(each, MoveNic)}
    if isinstance(step, CreateBridge) and step.link.name in nics:
        with spaces.inside(making.host):
            move.copy_settings(nics[step.link.name], step.link.name)


def _records(step: Step, lab: str, own: set[str], before: dict[str, str]) -> Iterator[Record]:
    """Yield what has to be recorded of a step; what goes with a device of the lab's own needs no record."""
    match step:
        case CreateBridge() | CreateTap() | CreateVeth():
            link = step.link
            yield Record("link", link.name, f"{link.mac} {link.altname}")
        case ChangeTables():
            for change in step.changes:
                if change.after:
                    yield Record("table", f"{change.after.family} {change.after.name}", change.after.name)
        case SetSysctls():
            for sysctl in step.sysctls:
                if not _is_of(sysctl, own):
                    yield from _settings(sysctl, before)
        case MoveNic():
            mac, carried = move.look(step.nic)
            yield from Bypass(lab, step.nic, mac).records()
            yield Record("nic", step.nic, f"{mac} {step.bridge}", carried.encode())
        case _:
            return


def _is_of(sysctl: Sysctl, own: set[str]) -> bool:
    return any(f"/conf/{device}/" in sysctl.key for device in own)


def _settings(sysctl: Sysctl, before: dict[str, str]) -> Iterator[Record]:
    value = before.get(sysctl.key, read_setting(sysctl.key))
    if value is None:
        raise KernelError(f"sysctl {sysctl.key}: the kernel has no such setting")
    if sysctl.key == _SIX:
        for key, own in _other_than(value, before):
            yield Record("sysctl", key, "", own)
    if FORWARDING.fullmatch(sysctl.key):
        every = before.get(FORWARDING_ALL, read_setting(FORWARDING_ALL)) or "0"
        yield Record("sysctl", FORWARDING_ALL, every, every)  # not written, but to be known afterwards
    yield Record("sysctl", sysctl.key, sysctl.value, value)


def _other_than(value: str, before: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what was set for single devices, and the kernel writes over with that for all of them."""
    if _SIX in before:  # another lab was first, and has recorded it
        yield from ((key, own) for key, own in before.items() if _OF_DEVICE.fullmatch(key) and key != _SIX)
        return
    for folder in sorted(_DEVICES.iterdir()):
        if folder.name in ("all", "lo") or folder.name.startswith(ON_MACHINE):
            continue
        own = read_setting(f"net/ipv6/conf/{folder.name}/forwarding")
        if own is not None and own != value:
            yield f"net/ipv6/conf/{folder.name}/forwarding", own


def _refuse_taken(record: Record, taken: set[str], tables: str) -> None:
    wrong = ""
    if record.kind == "link" and record.name in taken:
        wrong = f"this machine has a device {record.name} already"
    if record.kind == "table" and f"table {record.name} {{" in tables:
        wrong = f"this machine has an nftables table {record.name} already"
    if wrong:
        raise KernelError(f"{wrong}, which this lab did not make; remove it, or give the lab another name")
