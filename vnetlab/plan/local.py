"""Plans of a lab whose host is this very machine: its namespace is there, with much else in it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vnetlab.plan.order import diff
from vnetlab.plan.steps import EndFlows, MoveNic, MoveNicBack, Plan, ReleaseSettings
from vnetlab.state import Namespace, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vnetlab.plan.steps import Step


class Moves(Struct, frozen=True):
    """NICs of this machine that are, or shall be, ports of a lab's bridges."""

    host: str
    recorded: Mapping[str, str]
    """Bridges by the NIC that has become a port, or was about to."""
    done: Mapping[str, str]
    """NICs by the bridge that each is a port of."""
    wanted: Mapping[str, str]
    """NICs by the bridge that each shall be a port of."""

    def back(self) -> Iterator[Step]:
        """Yield the steps for those that shall be ports no more."""
        for nic, bridge in self.recorded.items():
            if self.wanted.get(bridge) != nic:
                yield MoveNicBack(self.host, nic, bridge)

    def there(self) -> Iterator[Step]:
        """Yield the steps for those that are to become ports."""
        for bridge, nic in self.wanted.items():
            if self.done.get(bridge) != nic:
                yield MoveNic(self.host, nic, bridge)


def build_on_machine(desired: State, host: str, moves: Mapping[str, str]) -> Plan:
    """Return the steps that make a lab on this machine, of which nothing is there yet.

    ``moves`` are the NICs by the bridge that each becomes a port of: last of all, when the bridge has what
    else it needs.
    """
    present = State((Namespace(host, "host"),))
    steps = tuple(
        # No flow of the lab is alive yet, and any other is none of its business.
        step
        for step in diff(present, desired).steps
        if not (isinstance(step, EndFlows) and step.namespace == host)
    )
    return Plan((*steps, *(MoveNic(host, nic, bridge) for bridge, nic in moves.items())))


def change_on_machine(present: State, desired: State, moves: Moves, released: tuple[str, ...]) -> Plan:
    """Return the steps from one State of a lab on this machine to another.

    ``released`` are the settings that the lab wrote and needs no more. A NIC leaves before anything happens
    to its bridge, and comes when the bridge is ready.
    """
    steps = tuple(_of_lab_alone(step, moves.host) for step in diff(present, desired).steps)
    release = (ReleaseSettings(moves.host, released),) if released else ()
    return Plan((*moves.back(), *release, *steps, *moves.there()))


def _of_lab_alone(step: Step, host: str) -> Step:
    """Return a step that lets the machine's own flows be: they are none of a lab's business."""
    if isinstance(step, EndFlows) and step.namespace == host:
        return replace(step, concern=replace(step.concern, of_ways_alone=True))
    return step
