"""What of this very machine is a lab's, and what changes it: its namespace holds much else. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vnetlab import names
from vnetlab.plan import Moves, Plan, change_on_machine
from vnetlab.plan.settings import device_of
from vnetlab.plan.wording import in_words_of
from vnetlab.policy import NO_POLICY
from vnetlab.state import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vnetlab.localise import OnMachine
    from vnetlab.state import Link, Namespace

_BYPASS = f"{names.ON_MACHINE}t"
"""How devices begin that are there as long as a NIC is moved."""


class Claims(Struct, frozen=True):
    """What a lab has recorded as its own on this machine, and may be there or not."""

    macs: Mapping[str, frozenset[str]]
    """Of devices by name."""
    altnames: frozenset[str]
    tables: frozenset[tuple[str, str]]
    """Family and name."""
    settings: frozenset[str]
    written: frozenset[str]
    """Of the settings those that the lab itself wrote."""
    nics: Mapping[str, str]
    """NICs that became ports, and the bridge of each."""

    def has(self, link: Link) -> bool:
        """Tell whether a device is the lab's: by its altname, or its name and MAC."""
        return link.altname in self.altnames or link.mac in self.macs.get(link.name, ())


class Difference(Struct, frozen=True):
    """A lab on this machine as it is and as it shall be, and the steps from one to the other."""

    present: State
    desired: State
    """In the words of ``present``."""
    plan: Plan


def difference(read: State, desired: State, where: OnMachine, claims: Claims) -> Difference:
    """Compare a State that was read back, with all that the machine has besides, and one that is desired."""
    wanted = desired.namespace(where.host)
    machine = read.namespace(where.host)
    keys = claims.settings | {sysctl.key for sysctl in wanted.sysctls}
    # A setting that has its value from elsewhere is to be claimed all the same: others may end before.
    present = _with(read, _of_lab(machine, claims, claims.settings))
    known_words = _with(read, _of_lab(machine, claims, keys))
    known = {sysctl.key for sysctl in machine.sysctls}
    there = {link.name for link in machine.links}
    # What is not read back is not compared, but for what devices get that are still to be made.
    compared = tuple(s for s in wanted.sysctls if s.key in known or device_of(s.key) not in there)
    desired = in_words_of(known_words, _with(desired, replace(wanted, sysctls=compared)))
    released = tuple(sorted(claims.written - {sysctl.key for sysctl in wanted.sysctls}))
    moves = Moves(where.host, claims.nics, _moved(machine, claims), where.moves)
    plan = change_on_machine(present, desired, moves, released)
    return Difference(present, desired, plan)


def _of_lab(machine: Namespace, claims: Claims, settings: frozenset[str]) -> Namespace:
    """Return what of this very machine is a lab's, with the settings of these keys."""
    links = tuple(link for link in machine.links if claims.has(link) and not link.name.startswith(_BYPASS))
    there = {link.name for link in links}
    carrying = {name for name in there if not name.startswith(names.SWITCHES)}
    return replace(
        machine,
        links=links,
        addresses=tuple(a for a in machine.addresses if a.device in carrying),
        neighbours=(),
        routes=(),
        sysctls=tuple(s for s in machine.sysctls if s.key in settings or device_of(s.key) in there),
        tables=tuple(table for table in machine.tables if (table.family, table.name) in claims.tables),
        policy=NO_POLICY,
        beyond=(),
    )


def _moved(machine: Namespace, claims: Claims) -> dict[str, str]:
    """Return the NICs that are ports of a lab's own bridges and carry nothing any more, by bridge."""
    carrying = {address.device for address in machine.addresses}
    ports = (link for link in machine.links if link.name in claims.nics.keys() - carrying)
    return {link.master: link.name for link in ports if link.master == claims.nics[link.name]}


def _with(state: State, machine: Namespace) -> State:
    return State(tuple(machine if space.name == machine.name else space for space in state.namespaces))
