"""Takes the steps of a plan on this very machine: each is in the journal before it is taken.

Runs inside the lab (see agent.py). After an error the machine is as far as it got, and the journal says how
far.
"""

from __future__ import annotations

from itertools import groupby
from socket import if_nametoindex
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError
from vnetlab.kernel import nftables
from vnetlab.kernel.apply import apply
from vnetlab.kernel.local import move, settings
from vnetlab.kernel.local.bypass import Bypass
from vnetlab.kernel.local.carriage import Carried
from vnetlab.kernel.local.facts import values_before_labs
from vnetlab.kernel.local.journal import Journal, Record, head, latest, path_of, records
from vnetlab.plan import (
    ChangeMac,
    ChangeTables,
    CreateBridge,
    CreateTap,
    CreateVeth,
    MoveNic,
    MoveNicBack,
    Plan,
    ReleaseSettings,
    SetSysctls,
)
from vnetlab.plan.settings import device_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vnetlab.kernel.spaces import Spaces
    from vnetlab.localise import OnMachine
    from vnetlab.plan import Step
    from vnetlab.state import State


def take(
    spaces: Spaces, where: OnMachine, plan: Plan, desired: State, check: Callable[[], None] | None = None
) -> None:
    """Take every step in order, and before each of them ``check``, whose exceptions end it.

    ``desired`` is the State to which they lead. Raises KernelError, also for a name that is taken: nothing
    that was there before is ever changed or taken for the lab's own.
    """
    with spaces.inside(where.host):
        path = path_of(where.lab)
    own = frozenset(link.name for link in desired.namespace(where.host).links)
    with Journal(path) as journal:
        taker = _Taker(spaces, where, journal, path, own)
        taker.note_facts()
        for here, steps in groupby(plan.steps, key=lambda step: step.namespace == where.host):
            if not here:
                apply(spaces, Plan(tuple(steps)), check)
                continue
            for step in steps:
                if check:
                    check()
                taker.take(step)


class _Taker:
    """Takes steps in the machine's own namespace."""

    def __init__(
        self, spaces: Spaces, where: OnMachine, journal: Journal, path: Path, own: frozenset[str]
    ) -> None:
        self._spaces = spaces
        self._where = where
        self._journal = journal
        self._path = path
        self._own = own
        """Devices whose settings go with them."""
        self._known = {(record.kind, record.name): record for record in latest(records(path))}
        with spaces.inside(where.host):
            self._before = values_before_labs(path)

    def note_facts(self) -> None:
        """Record what the machine is without the lab, if that is not what is recorded."""
        with self._spaces.inside(self._where.host):
            facts = head(self._where.lab, self._where.facts)
        if self._known.get(("lab", self._where.lab)) != facts:
            self._record(facts)

    def take(self, step: Step) -> None:
        """Take one; raises KernelError."""
        with self._spaces.inside(self._where.host):
            for record in self._records(step):
                self._record(record)
            if self._is_done(step):
                return
        apply(self._spaces, Plan((step,)))
        if isinstance(step, CreateBridge) and step.link.name in self._where.moves:
            with self._spaces.inside(self._where.host):
                move.copy_settings(self._where.moves[step.link.name], step.link.name)

    def _record(self, record: Record) -> None:
        self._journal.write(record)
        if record.kind == "back":
            kind, name = record.name.split(" ", 1)
            self._known.pop((kind, name), None)
        else:
            self._known[record.kind, record.name] = record

    def _records(self, step: Step) -> Iterator[Record]:
        """Yield what has to be recorded of a step; what goes with a device of the lab's own is not."""
        match step:
            case CreateBridge() | CreateTap() | CreateVeth():
                _refuse_device(step.link.name)
                yield from self._new(Record("link", step.link.name, f"{step.link.mac} {step.link.altname}"))
            case ChangeMac():
                known = self._known.get(("link", step.device))
                altname = known.mark.partition(" ")[2] if known else "-"
                yield from self._new(Record("link", step.device, f"{step.mac} {altname}"))
            case ChangeTables():
                yield from self._tables(step)
            case SetSysctls():
                for sysctl in step.sysctls:
                    if device_of(sysctl.key) not in self._own:
                        yield from settings.records(sysctl, self._before, self._of_kind("sysctl"))
            case MoveNic() if ("nic", step.nic) not in self._known:
                mac, carried = move.look(step.nic)
                for record in Bypass(self._where.lab, step.nic, mac).records():
                    yield from self._new(record)
                yield Record("nic", step.nic, f"{mac} {step.bridge}", carried.encode())
            case _:
                return

    def _new(self, record: Record) -> Iterator[Record]:
        if self._known.get((record.kind, record.name)) != record:
            yield record

    def _of_kind(self, wanted: str) -> dict[str, Record]:
        return {name: record for (kind, name), record in self._known.items() if kind == wanted}

    def _tables(self, step: ChangeTables) -> Iterator[Record]:
        for change in step.changes:
            if change.after is None:
                continue
            name = f"{change.after.family} {change.after.name}"
            if change.before is None and f"table {name} {{" in nftables.ruleset():
                raise _taken(f"this machine has an nftables table {name} already")
            yield from self._new(Record("table", name, change.after.name))

    def _is_done(self, step: Step) -> bool:
        """Do what other labs need not do; tell whether the step was such a one."""
        match step:
            case MoveNic():
                if not move.is_port(step.nic):  # somebody removed the bridge with all that it had
                    move.restore(step.nic, self._carried(step.nic))
                move.put_under(self._bypass(step.nic), step.bridge)
            case MoveNicBack():
                move.take_back(self._bypass(step.nic), step.bridge)
                move.restore(step.nic, self._carried(step.nic))
                self._record(Record("back", f"nic {step.nic}", ""))
            case ReleaseSettings():
                self._release(step.keys)
            case _:
                return False
        return True

    def _bypass(self, nic: str) -> Bypass:
        return Bypass(self._where.lab, nic, self._known["nic", nic].mark.partition(" ")[0])

    def _carried(self, nic: str) -> Carried:
        return Carried.decode(self._known["nic", nic].before)

    def _release(self, keys: tuple[str, ...]) -> None:
        claimed = self._of_kind("sysctl")
        going = {each for key in keys for each in (key, *settings.went_with(key, claimed))}
        others = settings.claimed_by_others(self._path)
        for key, record in reversed(claimed.items()):
            if key not in going:
                continue
            if key not in others:
                tuple(settings.put_back(claimed.values(), record))
            self._record(Record("back", f"sysctl {key}", ""))


def _refuse_device(name: str) -> None:
    try:
        if_nametoindex(name)
    except OSError:
        return
    raise _taken(f"this machine has a device {name} already")


def _taken(wrong: str) -> KernelError:
    return KernelError(f"{wrong}, which this lab did not make; remove it, or give the lab another name")
