"""A lab examined: four answers to each guarantee, and what of the lab the probes exercised.

::

    read the State present -> fly the probes -> judge -> settle
                              predict twice, meanwhile

The State is read right before the flight, so that a change by hand meets both. What the model says of it and
of the compiled State is worked out in this process while the agent flies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vnetlab.concord import settle
from vnetlab.drift import drift
from vnetlab.kernel.read import Node, read
from vnetlab.predict.matrix import predict
from vnetlab.probe.judge import judge
from vnetlab.probe.trial import plan_flight
from vnetlab.probe.wire import fly

if TYPE_CHECKING:
    from vnetlab.guarantees import Guarantee, Verdict
    from vnetlab.kernel.agent import Agent
    from vnetlab.state import State
    from vnetlab.topology.model import Topology


@dataclass(frozen=True, slots=True)
class Findings:
    """What an examination found."""

    verdicts: tuple[Verdict, ...] = ()
    """One for each guarantee, in their order."""


def examine(agent: Agent, topology: Topology, compiled: State, guarantees: tuple[Guarantee, ...]) -> Findings:
    """Put guarantees to the model of both States and to packets, all of these in one flight.

    Raises KeyError where a guarantee names a node that the topology lacks, LabLost where the lab ends
    meanwhile, KernelError where its State cannot be read. What cannot be probed here (a tap that has a
    guest already, or may not be opened) is a verdict, ``unavailable``, not an error.
    """
    if not guarantees:
        return Findings()
    flight = plan_flight(topology, guarantees)
    present = agent.call(read, nodes_of(compiled))
    with agent.running(fly, flight) as log:
        predictions = predict(topology, compiled, guarantees), predict(topology, present, guarantees)
        judged = judge(guarantees, flight, log())
    changes = drift(compiled, present) if predictions[0] != predictions[1] else ()
    return Findings(tuple(settle(*answers, changes) for answers in zip(judged, *predictions, strict=True)))


def nodes_of(compiled: State) -> tuple[Node, ...]:
    """Return the nodes of a lab, as the kernel's reader needs to be told of them."""
    return tuple(Node(n.name, n.kind) for n in compiled.namespaces if n.kind != "segment")
