"""Labs whose host is this very machine: the one sequence for what other labs need not do.

Look at the machine, and read the file again with what it says; refuse what would not work; have the machine
to oneself; and make. What undoes it, whoever died, is in recovery.py.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vnetlab.description import hosts_file
from vnetlab.errors import (
    Interference,
    KernelError,
    Problem,
    TopologyError,
    UserError,
)
from vnetlab.kernel.lock import nobody_is_told
from vnetlab.localise import localise, place, uplinks
from vnetlab.recovery import check_privileges, recover_alone
from vnetlab.topology.facts import decoded
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnetlab.interference import Hindrance
    from vnetlab.kernel.agent import Agent
    from vnetlab.plan import Plan
    from vnetlab.state import State
    from vnetlab.topology.facts import Facts


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
    if not said or journal.is_over(said):
        return read_facts()
    first = decoded(json.loads([record for record in said if record.kind == "lab"][-1].before))
    moved, own = (
        frozenset(record.name for record in journal.latest(said) if record.kind == kind)
        for kind in ("nic", "link")
    )
    return first.as_now(read_facts(), moved, own)


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
    from vnetlab import plan

    where = place(topology, lab)
    return plan.build_on_machine(state, where.host, where.moves) if where else plan.build(state)


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
    check_privileges()
    from vnetlab.kernel.local import journal

    with journal.alone(told):
        recover_alone(told)
        found = seen(topology, lab)  # nothing is in its way any more
        _refuse_hindered(found, lab, told, force=force)
        _tell_leases(found, told)
        yield found


def allowed(topology: Topology, lab: str, told: Callable[[str], None], *, force: bool) -> None:
    """Refuse to change a lab on this very machine as ready() refuses to make one."""
    if topology.local is not None:
        check_privileges()
        _refuse_hindered(topology, lab, told, force=force)


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
    from vnetlab.kernel.local import build

    where = place(topology, lab)
    assert where is not None
    plan = first_plan(topology, state, lab)
    agent.call(build.make, build.Making(where, state, plan, hosts_file(topology)))
