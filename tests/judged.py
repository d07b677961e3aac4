"""Verdicts by packets alone, for tests that compare them with the model, or lie to the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.probe.judge import judge
from vnetlab.probe.trial import plan_flight
from vnetlab.probe.wire import fly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vnetlab.guarantees import Guarantee, Verdict
    from vnetlab.kernel.agent import Agent
    from vnetlab.topology.model import Topology


def probe(agent: Agent, topology: Topology, guarantees: Sequence[Guarantee]) -> Sequence[Verdict]:
    """Return a verdict for each guarantee, in their order, all from one flight.

    Raises KeyError where a guarantee names a node that the topology lacks, LabLost where the lab
    ends meanwhile. What cannot be probed here (a tap that has a guest already, or may not be
    opened) is a verdict, ``unavailable``, not an error.
    """
    if not guarantees:
        return ()
    flight = plan_flight(topology, guarantees)
    log = agent.call(fly, flight)
    return judge(guarantees, flight, log)
