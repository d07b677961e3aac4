"""A journey of the model as a network engineer tells it: one step for what several hops of the model say.

A frame that a switch carries is one step with all the ports it passed; a rule that translates and the
translation are one; that a packet leaves is said by where it arrives. Nothing gets lost: every step keeps the
model's hops and the events by which it can be observed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from vnetlab.explain import wording
from vnetlab.explain.event import Event, Header, What, header_of, is_of_flow
from vnetlab.predict.packet import Packet
from vnetlab.predict.walk import Arrival, Hop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.explain.lexicon import Lexicon
    from vnetlab.predict.journey import Journey

TRANSLATIONS = ("masquerade", "snat", "dnat", "redirect")
ENDS = ("drop", "reject", "no route", "unresolved", "unknown")


class Step(Struct, frozen=True):
    """One thing that happens to the packet, or to what comes back."""

    way: str
    """``request``, ``answer``, ``reset`` or ``error``."""
    node: str
    """Namespace, or the node behind a tap."""
    text: str
    verdict: str
    """As the model has it: ``send``, ``arrive``, ``accept``, ``translate``, ``forward``, ``drop``..."""
    header: Header
    """Of the packet afterwards."""
    hops: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def is_end(self) -> bool:
        """Whether the packet goes no further."""
        return self.verdict in ENDS


class _Pending(Struct):
    """What waits for the step that it belongs to."""

    hops: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    port: str = ""
    """The bridge port that the frame came in by."""
    rule: Hop | None = None
    """A rule that translates."""


class _Teller:
    def __init__(self, lexicon: Lexicon, journey: Journey) -> None:
        self._lexicon = lexicon
        self._journey = journey
        self._steps: list[Step] = []
        self._pending: dict[tuple[str, str], _Pending] = {}

    def tell(self) -> tuple[Step, ...]:
        for item in in_order(self._journey):
            packet = item.payload if isinstance(item, Arrival) else item.before
            if not isinstance(packet, Packet):
                continue
            if isinstance(item, Arrival):
                self._arrival(item, packet)
            else:
                self._hop(item, packet)
        for (node, way), waiting in self._pending.items():
            self._leave(node, way, waiting)
        return tuple(self._steps)

    def _leave(self, node: str, way: str, waiting: _Pending) -> None:
        """Give what no step took to the last one there; a frame that nothing became of is a step itself."""
        last = next(
            (n for n, s in reversed(list(enumerate(self._steps))) if (s.node, s.way) == (node, way)), -1
        )
        if last >= 0:
            step = self._steps[last]
            hops, events = (*step.hops, *waiting.hops), (*step.events, *waiting.events)
            self._steps[last] = replace(step, hops=hops, events=events)
        elif waiting.events:
            text, header = "gets it, and does no more with it", waiting.events[-1].header
            hops, events = tuple(waiting.hops), tuple(waiting.events)
            self._steps.append(Step(way, node, text, "arrive", header, hops, events))

    def _waiting(self, namespace: str, packet: Packet) -> _Pending:
        return self._pending.setdefault((namespace, packet.role.value), _Pending())

    def _add(self, node: str, text: str, verdict: str, packet: Packet) -> None:
        waiting = self._pending.pop((node, packet.role.value), _Pending())
        self._steps.append(
            Step(
                packet.role.value,
                node,
                text,
                verdict,
                header_of(packet),
                tuple(waiting.hops),
                tuple(waiting.events),
            )
        )

    def _arrival(self, item: Arrival, packet: Packet) -> None:
        if item.socket:
            return
        port = self._lexicon.is_port(item.node, item.device)
        if not (port or item.addressed):
            return  # a copy that its NIC does not take
        waiting = self._waiting(item.node, packet)
        if is_of_flow(packet):
            waiting.events.append(frame_event(item, packet))
        if not port:
            self._add(item.node, wording.arrives(self._lexicon, item), "arrive", packet)
            return
        waiting.port = item.device
        self._begin(item, packet)

    def _begin(self, item: Arrival, packet: Packet) -> None:
        """Say who sent a frame whose sending the model has no hop for: the guest behind a tap."""
        guest = self._lexicon.guest(item.node, item.device)
        if guest:
            text = wording.guest_sends(guest[1], packet)
            self._steps.append(Step(packet.role.value, guest[0], text, "send", header_of(packet)))

    def _hop(self, hop: Hop, packet: Packet) -> None:
        waiting = self._waiting(hop.namespace, packet)
        waiting.hops.append(str(hop))
        after = hop.after if isinstance(hop.after, Packet) else packet
        if is_chain(hop) and is_of_flow(packet):
            waiting.events.append(chain_event(hop, packet))
        if hop.verdict in TRANSLATIONS:
            waiting.rule = hop
        elif hop.stage == "neighbour" and hop.verdict == "send":
            pass
        elif hop.stage == "bridge" and hop.verdict == "forward":
            self._switched(hop, packet, waiting)
        elif hop.stage == "device" and " for " in hop.object:
            pass  # a copy that its NIC does not take
        else:
            self._say(hop, after, waiting)

    def _say(self, hop: Hop, packet: Packet, waiting: _Pending) -> None:
        last = self._steps[-1] if self._steps else None
        if hop.verdict == "deliver" and last and last.verdict == "arrive" and last.node == hop.namespace:
            self._steps.pop()  # one step with its arrival, unless a chain had its say in between
            waiting.hops[:0], waiting.events[:0] = last.hops, last.events
        text = wording.says(self._lexicon, hop, self._journey, waiting.rule)
        self._add(hop.namespace, text, hop.verdict, packet)

    def _switched(self, hop: Hop, packet: Packet, waiting: _Pending) -> None:
        if not waiting.port:
            return  # the host's own frame: where it arrives says all
        self._add(hop.namespace, wording.carries(self._lexicon, hop, waiting.port), "forward", packet)


def in_order(journey: Journey) -> Iterator[Hop | Arrival]:
    """Yield what happened, arrivals and hops, in the order of the walk."""
    arrivals = iter(journey.arrivals)
    arrival = next(arrivals, None)
    for number, hop in enumerate(journey.hops):
        while arrival and arrival.after <= number:
            yield arrival
            arrival = next(arrivals, None)
        yield hop
    while arrival:
        yield arrival
        arrival = next(arrivals, None)


def is_chain(hop: Hop) -> bool:
    """Tell whether a chain of nftables decided."""
    chain, found, _ = hop.object.partition(": ")
    return bool(found) and len(chain.split(" ")) == len(("family", "table", "chain"))


def frame_event(arrival: Arrival, packet: Packet) -> Event:
    """Return a frame's arrival as it can be observed."""
    return Event(What.FRAME, arrival.node, arrival.device, "", packet.role.value, header_of(packet))


def chain_event(hop: Hop, packet: Packet) -> Event:
    """Return a chain's decision as it can be observed: a rejected packet is a dropped one there."""
    verdict = "drop" if hop.verdict in ("drop", "reject") else "accept"
    return Event(What.CHAIN, hop.namespace, hop.object, verdict, packet.role.value, header_of(packet))


def tell(lexicon: Lexicon, journey: Journey) -> tuple[Step, ...]:
    """Return the steps of a journey, the request's first."""
    return _Teller(lexicon, journey).tell()
