"""The plan of a lab whose host is this very machine: its namespace is there, with much else in it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.plan.order import diff
from vnetlab.plan.steps import EndFlows, MoveNic, Plan
from vnetlab.state import Namespace, State

if TYPE_CHECKING:
    from collections.abc import Mapping


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
