"""A flow answered from one State: its steps, and the end with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.explain.lexicon import Lexicon
from vnetlab.explain.reason import End, end_of
from vnetlab.explain.steps import Step, tell
from vnetlab.predict.around import model_of

if TYPE_CHECKING:
    from vnetlab.explain.event import Event
    from vnetlab.guarantees import Guarantee
    from vnetlab.predict.journey import Journey
    from vnetlab.state import State
    from vnetlab.topology.model import Topology


class Told(Struct, frozen=True):
    """What one State says of the packet."""

    basis: str
    """``compiled``: the file's State. ``present``: read back from the kernels of a lab."""
    journey: Journey
    steps: tuple[Step, ...]
    end: End

    @property
    def events(self) -> tuple[Event, ...]:
        """Everything by which the way can be observed, in its order."""
        return tuple(event for step in self.steps for event in step.events)


def tell_of(topology: Topology, guarantee: Guarantee, state: State, basis: str = "compiled") -> Told:
    """Return what a State says of a flow."""
    lexicon = Lexicon(topology)
    journey = model_of(topology, state, (guarantee,)).send(guarantee.source, guarantee.flow)
    vm = topology.vms.get(guarantee.destination)
    prediction = journey.prediction(
        guarantee.destination,
        is_host=guarantee.destination in topology.hosts,
        is_guest=vm is not None and vm.backend == "tap",
    )
    return Told(basis, journey, tell(lexicon, journey), end_of(lexicon, guarantee, journey, prediction))
