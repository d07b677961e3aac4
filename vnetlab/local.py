"""Labs whose host is this very machine: the one sequence for what other labs need not do.

Look at the machine, and read the file again with what it says; refuse what would not work; have the machine
to oneself; make; and undo from the journal, whoever died.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vnetlab.description import hosts_file
from vnetlab.errors import (
    Absent,
    FeatureUnavailable,
    Interference,
    KernelError,
    Problem,
    TopologyError,
    UserError,
)
from vnetlab.kernel.lock import nobody_is_told
from vnetlab.localise import localise, uplinks
from vnetlab.topology.facts import decoded, encoded
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnetlab.interference import Hindrance
    from vnetlab.kernel.agent import Agent
    from vnetlab.plan import Plan
    from vnetlab.state import State
    from vnetlab.topology.facts import Facts

_CAPABILITIES = {12: "CAP_NET_ADMIN", 21: "CAP_SYS_ADMIN"}  # linux/capability.h


def seen(topology: Topology, lab: str) -> Topology:
    """Return the topology with the machine's own addresses, where a host of it is this very machine.

    Those of a lab that is up, or was left behind, are what the machine was before it. Raises TopologyError
    for what does not fit the machine, KernelError where it cannot be looked at.
    """
    if topology.local is None:
        return topology
    found = Topology.parse(topology.text, topology.file, _facts(lab))
    _check_owners(found)
    return found


def _facts(lab: str) -> Facts:
    from vnetlab.kernel.local import journal
    from vnetlab.kernel.local.facts import read_facts

    said = journal.records(journal.path_of(lab))
    if said and not journal.is_over(said):
        return decoded(json.loads(said[0].before))
    return read_facts()


def _check_owners(topology: Topology) -> None:
    from vnetlab.kernel import tap

    problems = []
    for vm in topology.vms.values():
        for key, name, number in (
            ("owner", vm.owner, tap.user_number),
            ("group", vm.group, tap.group_number),
        ):
            try:
                number(name)
            except KernelError as error:
                thing = f"hosts.{vm.host}.vms.{vm.name}.{key}"
                problems.append(Problem(vm.place, thing, name, str(error), "write one that it has"))
    if problems:
        raise TopologyError(tuple(problems))


def placed(topology: Topology, state: State, lab: str) -> State:
    """Return the compiled State as it is on this very machine, where a host is that."""
    return localise(topology, state, lab)


def first_plan(topology: Topology, state: State, lab: str) -> Plan:
    """Return the steps that make a lab of which nothing is there."""
    from vnetlab import names, plan

    host = topology.local
    if host is None:
        return plan.build(state)
    moves = {names.on_machine(lab, device): nic.name for device, nic in uplinks(host).items()}
    return plan.build_on_machine(state, host.name, moves)


def refuse_traffic(topology: Topology) -> None:
    """Raise UserError for a lab whose world is real: what is sent and forged there would meet others."""
    if topology.local is not None:
        host = topology.local
        raise UserError(
            f"{host.place}: hosts.{host.name}.backend: local: packets of a probe would go out to the real "
            "LAN of this machine; write `backend: namespace` and the machines around it to have the same "
            "networks probed"
        )


@contextmanager
def ready(
    topology: Topology, lab: str, told: Callable[[str], None] = nobody_is_told, *, force: bool = False
) -> Iterator[Topology]:
    """Have this very machine to oneself, tidied up, where a host of the topology is that; yield it as seen.

    Raises FeatureUnavailable without the privileges, KernelError where a dead lab cannot be undone, and
    Interference where the machine's own rules would break a promise, but with ``force``.
    """
    if topology.local is None:
        yield topology
        return
    _check_privileges()
    from vnetlab.kernel.local import journal

    with journal.alone(told):
        _recover(told)
        found = seen(topology, lab)  # nothing is in its way any more
        _refuse_hindered(found, lab, told, force=force)
        _tell_leases(found, told)
        yield found


def hindered(topology: Topology, lab: str) -> tuple[Hindrance, ...]:
    """Return what of this machine's own rules would break a promise of a lab on it; none for other labs.

    Raises KernelError where they cannot be read, FeatureUnavailable without libnftables.
    """
    if topology.local is None:
        return ()
    from vnetlab.interference import hindrances
    from vnetlab.kernel.local.foreign import bridge_settings, foreign_tables

    return hindrances(topology, lab, foreign_tables(), bridge_settings())


def _refuse_hindered(topology: Topology, lab: str, told: Callable[[str], None], *, force: bool) -> None:
    """Raise Interference where the machine's own rules are in the way; say so only with ``force``."""
    from vnetlab.interference import REMEDY
    from vnetlab.kernel.local.foreign import legacy_tables

    if families := legacy_tables():
        told(f"legacy iptables has rules ({', '.join(families)}) that nftables does not show")
    found = hindered(topology, lab)
    if not found:
        return
    text = "\n".join(str(each) for each in found)
    if not force:
        raise Interference(f"{text}\n{REMEDY}; or make the lab as it is with `--force`")
    for line in text.splitlines():
        told(line)


def _tell_leases(topology: Topology, told: Callable[[str], None]) -> None:
    """Say which addresses somebody has to renew, since their NIC becomes a port."""
    from vnetlab.kernel.local import carriage, move

    assert topology.local is not None
    for nic in uplinks(topology.local).values():
        for address in move.look(nic.name)[1].addresses:
            if carriage.is_ipv4(address) and not carriage.is_lasting(address):
                told(
                    f"an address of {nic.name} has a lifetime: whoever renews it (a DHCP client) does so "
                    f"on {nic.name}, which is a port of a bridge until the lab is down"
                )


def make(agent: Agent, topology: Topology, state: State, lab: str) -> None:
    """Make a lab on this very machine; raises KernelError, and then it is to be undone."""
    from vnetlab.kernel.local import build, journal

    assert topology.local is not None
    assert topology.facts is not None
    agent.call(
        build.make,
        build.Making(
            lab,
            topology.local.name,
            state,
            first_plan(topology, state, lab),
            json.dumps(encoded(topology.facts)),
            str(journal.path_of(lab)),
            hosts_file(topology),
        ),
    )


def clear(lab: str, told: Callable[[str], None] = nobody_is_told) -> bool:
    """Undo what a lab that has ended did to this machine, and tell whether there was anything.

    Raises KernelError that says what could not be undone.
    """
    from vnetlab.kernel.local import journal

    if not journal.journals_of(lab):
        return False
    with journal.alone(told):
        return clear_alone(lab, told)


def clear_alone(lab: str, told: Callable[[str], None] = nobody_is_told) -> bool:
    """Do what clear() does, for whoever has the machine to himself."""
    from vnetlab.kernel.local import journal, undo

    found = journal.journals_of(lab)
    for path in found:
        for text in undo.undo(path):
            told(f"lab {lab}: {text}")
    return bool(found)


def recover(told: Callable[[str], None]) -> tuple[str, ...]:
    """Undo every lab that was left behind on this machine; return their names.

    Raises FeatureUnavailable without the privileges, KernelError that says what could not be undone.
    """
    from vnetlab.kernel.local import journal

    if not left_behind():
        if journal.FOLDER.exists():
            with journal.alone(told):  # whose end removes an empty folder that a death left
                pass
        return ()
    _check_privileges()
    with journal.alone(told):
        return _recover(told)


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A lab of which there is a journal, but no holder any more."""

    lab: str
    journal: Path
    restarted: bool
    """The machine was restarted since: nothing of the lab is there to be undone."""


def left_behind() -> tuple[LeftBehind, ...]:
    """Return the labs of which there are journals, but no holder any more."""
    from vnetlab.kernel.local import journal

    found = []
    for path in journal.journals():
        said = journal.records(path)
        lab = said[0].name if said else path.stem.partition(".")[2]
        restarted = journal.is_over(said)  # one that is up by that name is another one
        if restarted or not _is_up(path.stat().st_uid, lab):
            found.append(LeftBehind(lab, path, restarted))
    return tuple(found)


def _is_up(user: int, lab: str) -> bool:
    from vnetlab.kernel import control

    try:
        control.connect(user, lab).close()
    except OSError:
        return False
    return True


def _recover(told: Callable[[str], None]) -> tuple[str, ...]:
    from vnetlab.kernel.local import undo

    done, failed = [], []
    for left in left_behind():
        try:
            for text in undo.undo(left.journal):
                told(f"lab {left.lab}: {text}")
            if not left.restarted:
                told(f"lab {left.lab} was left behind by a process that was killed, and is undone")
            done.append(left.lab)
        except KernelError as error:
            failed.append(f"lab {left.lab}: {error}")
    if failed:
        raise KernelError("\n".join(failed))
    return tuple(done)


def _check_privileges() -> None:
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:")
    )
    effective = int(line.split()[1], 16)
    lacking = [name for number, name in _CAPABILITIES.items() if not effective >> number & 1]
    if lacking or os.geteuid():
        evidence = f"without {' and '.join(lacking) or 'root'} nobody may change this machine's network"
        raise FeatureUnavailable((Absent("backend: local", evidence, "run as root"),))
