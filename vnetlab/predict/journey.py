"""What became of one flow in the model, and what that means for a node that should or should not see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import astuple

from vnetlab.guarantees import Outcome, Protocol, Special
from vnetlab.icmp import error_name
from vnetlab.predict import replies
from vnetlab.predict.packet import ROUTER_ADVERTISEMENT, Arp, Packet, Role, address_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.guarantees import Flow
    from vnetlab.items import Item
    from vnetlab.predict.walk import Arrival, Hop
    from vnetlab.topology.model import IPAddress

_ENDS = ("drop", "reject", "no route", "unresolved", "unknown")


class Received(Struct, frozen=True):
    """A packet as its receiver sees it."""

    device: str
    source_mac: str
    source_address: IPAddress
    destination_address: IPAddress
    source_port: int
    destination_port: int
    ttl: int
    drawn: tuple[int, int] | None = None
    """The source port is one of this range, by chance; ``source_port`` is the first."""


class Prediction(Struct, frozen=True):
    """The model's answer for one destination of a flow."""

    outcome: Outcome | None
    """None: the model does not know; ``reason`` says why."""
    reason: str
    """Where it ended and at what, or that it arrived."""
    answered: bool
    received: Received | None = None
    error_from: IPAddress | None = None
    error_code: str = ""
    used: frozenset[Item] = frozenset()
    """What of the lab the flow exercised; no part of what becomes of it."""
    after: frozenset[Item] | None = frozenset()
    """What was exercised by what its sender's kernel says to answers; None: the model does not know."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prediction) and self._said() == other._said()

    def __hash__(self) -> int:
        return hash(self._said())

    def _said(self) -> tuple[object, ...]:
        """Return what becomes of the flow, without what it exercises."""
        return astuple(self)[:-2]


class Journey(Struct, frozen=True):
    """A flow's whole way, with its answers and errors, in the order in which it happened."""

    source: str
    from_host: bool
    flow: Flow
    hops: tuple[Hop, ...]
    arrivals: tuple[Arrival, ...]
    doubts: tuple[str, ...]
    looped: bool
    used: frozenset[Item] = frozenset()
    """Rules, routes, ports and neighbours that anything of the flow went through."""
    after: frozenset[Item] | None = frozenset()
    """What the refusals of its answers went through (see Walk.aftermath)."""

    def prediction(
        self, destination: str, *, is_host: bool, is_guest: bool = False, any_frame: bool = False
    ) -> Prediction:
        """Return what the flow means for a node.

        A hypervisor host is judged behind its own filter, anybody else at its devices; ``is_guest`` says
        that the node is behind a tap. ``any_frame`` counts frames that its NIC would not take: where
        nothing is to arrive, one of those is a leak.
        """
        if self.looped:
            return Prediction(None, "it goes round for ever", False, used=self.used)
        if self.doubts:
            return Prediction(None, self.doubts[0], False, used=self.used)
        arrivals = [a for a in self._arrivals(destination, is_host, is_guest) if any_frame or a.addressed]
        if any_frame and self.flow.special is Special.FORGED:
            arrivals += self._blamed(destination)
        returned = tuple(self._returned())
        answers = [a for a in returned if a.payload.role is Role.ANSWER]
        errors = [a for a in returned if a.payload.role is Role.ERROR and _about_request(a)]
        resets = [a for a in returned if a.payload.role is Role.RESET]
        outcome = self._outcome(arrivals, answers, errors, resets)
        first = errors[0].payload if errors else None
        error = first if isinstance(first, Packet) else None
        return Prediction(
            outcome,
            self._reason(outcome, destination),
            bool(answers),
            _received(arrivals),
            address_of(error.version, error.source) if error else None,
            error_name(error.version, error.kind) if error else "",
            self.used,
            self.after,
        )

    def _outcome(
        self, arrivals: list[Arrival], answers: list[Arrival], errors: list[Arrival], resets: list[Arrival]
    ) -> Outcome:
        if self.flow.special is Special.ADVERTISEMENT:
            return Outcome.DELIVERED if arrivals else Outcome.SILENT
        if self.flow.protocol is Protocol.RESOLUTION:
            return Outcome.DELIVERED if arrivals or answers else Outcome.SILENT
        if arrivals:
            refused = resets or any(_is_refusal(error) for error in errors)
            return Outcome.REFUSED if refused and not answers else Outcome.DELIVERED
        return Outcome.REJECTED if errors or resets else Outcome.SILENT

    def _arrivals(self, node: str, is_host: bool, is_guest: bool) -> Iterator[Arrival]:
        """Yield the flow's arrivals at a node; an ARP or ND question that a host hears is none."""
        resolves = self.flow.protocol is Protocol.RESOLUTION
        believed = self.flow.special is Special.ADVERTISEMENT and not is_guest
        for arrival in self.arrivals:
            if arrival.node != node or arrival.payload.role is not Role.REQUEST:
                continue
            if (resolves and is_host) or not _is_same_question(self.flow, arrival.payload):
                continue
            if arrival.socket is (is_host or believed):
                yield arrival

    def _blamed(self, node: str) -> list[Arrival]:
        """Return the errors that a node gets about what somebody else sent in its name."""
        mine = (a for a in self.arrivals if a.node == node != self.source and a.addressed and not a.socket)
        return [a for a in mine if a.payload.role is Role.ERROR and _about_request(a)]

    def _returned(self) -> Iterator[Arrival]:
        """Yield what came back to the sender; a host hears ARP and ND at its devices."""
        resolves = self.flow.protocol is Protocol.RESOLUTION
        for arrival in self.arrivals:
            if arrival.node != self.source or not arrival.addressed:
                continue
            if resolves or arrival.socket is self.from_host:
                yield arrival

    def _reason(self, outcome: Outcome, destination: str) -> str:
        if outcome in (Outcome.DELIVERED, Outcome.REFUSED):
            return f"it reaches {destination}"
        ends = [h for h in self.hops if h.verdict in _ENDS and h.before.role is Role.REQUEST]
        # Of a frame that is flooded, what became of it at the destination tells most.
        ends.sort(key=lambda hop: hop.namespace == destination)
        if ends:
            hop = ends[-1]
            return f"{hop.namespace}: {hop.stage}: {hop.object}: {hop.verdict}"
        return f"nothing leads it to {destination}"


def _is_same_question(flow: Flow, payload: Packet | Arp) -> bool:
    """Leave out what a node on the way asked for itself."""
    if isinstance(payload, Arp):
        return flow.protocol is Protocol.RESOLUTION
    return (payload.kind == ROUTER_ADVERTISEMENT) == (flow.special is Special.ADVERTISEMENT)


def _about_request(arrival: Arrival) -> bool:
    payload = arrival.payload
    return isinstance(payload, Packet) and payload.quoted is not None and payload.quoted.role is Role.REQUEST


def _is_refusal(arrival: Arrival) -> bool:
    payload = arrival.payload
    return isinstance(payload, Packet) and payload.kind == replies.PORT_UNREACHABLE[payload.version]


def _received(arrivals: list[Arrival]) -> Received | None:
    if not arrivals:
        return None
    best = next((a for a in arrivals if a.addressed), arrivals[0])
    packet = best.payload
    if isinstance(packet, Arp):
        source, destination = address_of(4, packet.sender), address_of(4, packet.target)
        return Received(best.device, best.source_mac, source, destination, 0, 0, 0)
    return Received(
        best.device,
        best.source_mac,
        address_of(packet.version, packet.source),
        address_of(packet.version, packet.destination),
        packet.source_port,
        packet.destination_port,
        packet.ttl,
        packet.drawn,
    )
