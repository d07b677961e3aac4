"""A lab examined: four answers to each guarantee, and what of the lab the probes exercised.

::

    read the State present -> fly the probes -> judge -> settle
    plan them, meanwhile      predict and prepare to judge, meanwhile

The State is read right before the flight, so that a change by hand meets both. What the model says of it and
of the compiled State is worked out in this process while the agent flies, once where they are the same to it.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from vnetlab.concord import settle_all
from vnetlab.cover import cover, with_companions
from vnetlab.coverage import Coverage, coverage, disputed, exercised_by
from vnetlab.drift import drift
from vnetlab.guarantees import Flow, Outcome, Protocol, Special
from vnetlab.kernel.read import nodes_of, read
from vnetlab.many import Guarantees
from vnetlab.modes import guarantees_for
from vnetlab.predict.around import model_of
from vnetlab.predict.fib import LOOPBACK
from vnetlab.predict.matrix import predict, predict_again
from vnetlab.probe.counted import Flown, Order, fly_counted
from vnetlab.probe.judge import Judge
from vnetlab.probe.trial import plan_flight
from vnetlab.topology.model import Family
from vnetlab.verdicts import HOLDS, Verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vnetlab.guarantees import Guarantee
    from vnetlab.items import Item
    from vnetlab.kernel.agent import Agent
    from vnetlab.predict.journey import Prediction
    from vnetlab.probe.flight import Flight
    from vnetlab.state import State
    from vnetlab.topology.model import Topology


class Findings(Struct, frozen=True):
    """What an examination found."""

    verdicts: Verdicts = field(default_factory=lambda: Verdicts.of(()))
    """One for each guarantee, in their order."""
    coverage: Coverage | None = None
    """What of the lab the flight exercised; None: nothing flew."""
    left_out: int = 0
    """Guarantees that were not put to the test, since others exercise as much."""


def examine(agent: Agent, topology: Topology, compiled: State, guarantees: Sequence[Guarantee]) -> Findings:
    """Put guarantees to the model of both States and to packets, all of these in one flight.

    Raises KeyError where a guarantee names a node that the topology lacks, LabLost where the lab ends
    meanwhile, KernelError where its State cannot be read. What cannot be probed here (a tap that has a
    guest already, or may not be opened) is a verdict, ``unavailable``, not an error.
    """
    if not guarantees:
        return Findings()
    guarantees = Guarantees.of(guarantees)
    with agent.running(read, nodes_of(compiled)) as reading:
        flight = plan_flight(topology, guarantees)
        present = reading()
    ruled = frozenset(space.name for space in present.namespaces if space.tables)
    with agent.running(fly_counted, Order(flight, ruled)) as result:
        predicted = predict(topology, compiled, guarantees)
        again = predict_again(topology, predicted, present, guarantees)
        changes = drift(compiled, present) if predicted.differs_from(again) else ()
        every = again.summed(np.ones(len(again), np.bool_))
        controls = control_predictions(topology, present, flight)
        judge = Judge(guarantees, flight)
        flown = result()
    verdicts = settle_all(judge.verdicts(flown.log), predicted, again, changes)
    holding = verdicts.kinds == HOLDS
    agreed = every if holding.all() else again.summed(holding)
    return Findings(verdicts, _covered(topology, present, agreed, (*every, *controls), flown))


def examine_cover(
    agent: Agent, topology: Topology, compiled: State, guarantees: Sequence[Guarantee]
) -> Findings:
    """Do as examine() with only so many guarantees as exercise all that all of them do, says the model."""
    predicted = predict(topology, compiled, guarantees)
    numbers = with_companions(guarantees, cover([prediction.used for prediction in predicted]))
    chosen = tuple(guarantees[number] for number in numbers)
    left_out = len(guarantees) - len(chosen)
    return replace(examine(agent, topology, compiled, chosen), left_out=left_out)


def _covered(
    topology: Topology,
    present: State,
    agreed: Sequence[Prediction],
    every: Sequence[Prediction],
    flown: Flown,
) -> Coverage:
    """Return what was exercised: of routes and neighbours what flows did on which all answers agreed."""
    used: frozenset[Item] = frozenset().union(*(prediction.used for prediction in agreed))
    rules, ports = flown.after.rules_moved(flown.before), flown.after.ports_moved(flown.before)
    exercised = exercised_by(topology, present, used, rules, ports)
    return coverage(topology, present, exercised, disputed(every, exercised))


def control_predictions(topology: Topology, state: State, flight: Flight) -> tuple[Prediction, ...]:
    """Return what the model says of the packets by which hosts show that their own sockets work."""
    shots = [flight.shots[control.shot] for control in flight.controls if control.seen_nic == LOOPBACK]
    if not shots:
        return ()
    model = model_of(topology, state, ())
    return tuple(
        model.send(
            shot.station,
            Flow(
                Family.IPV4 if shot.version == 4 else Family.IPV6,
                Protocol.UDP,
                ip_address(shot.destination),
                ip_address(shot.source),
                shot.source_port,
                shot.destination_port,
                answer=False,
            ),
        ).prediction(shot.station, is_host=True)
        for shot in shots
    )


def controls_for(topology: Topology, wanted: Sequence[Guarantee]) -> Sequence[Guarantee]:
    """Return promised deliveries from the same senders and to the same receivers.

    A flow that was not seen proves nothing unless its sender could send and its receiver could see.
    """
    senders = {guarantee.source for guarantee in wanted}
    receivers = {guarantee.destination for guarantee in wanted}
    many = guarantees_for(topology)
    here, there = (np.array([node in ends for node in many.nodes], np.bool_) for ends in (senders, receivers))
    return tuple(
        guarantee
        for guarantee in many.chosen(here[many.source] | there[many.destination])
        if guarantee.expected is Outcome.DELIVERED
        and guarantee.flow.special is Special.NONE
        and guarantee not in wanted
    )
