"""The judge: guarantees and a log become verdicts. Pure, and the only part of the probe that knows
both.

A yes has to show every field that is promised. A no is worth something only if its sender and its
receiver are shown to work in the same flight and nothing was lost on the way; without that it is
inconclusive.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import numpy as np

from vnetlab.guarantees import Guarantee, Outcome, Verdict, VerdictKind
from vnetlab.many import Guarantees
from vnetlab.probe import wording
from vnetlab.probe.checks import rejection_faults, yes_faults
from vnetlab.probe.expected import Expectations, Promised
from vnetlab.probe.flight import Flight, Listener, Log, Role, SendError, What
from vnetlab.probe.observation import REACHED, Observation, Observer, same_port_sources
from vnetlab.verdicts import HOLDS, KINDS, Verdicts

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from numpy.typing import NDArray

    from vnetlab.many import Pattern

OWN_ANSWERS = (
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EPERM,
    errno.EACCES,
    errno.EADDRNOTAVAIL,
)
"""What a host's own routing or output filter says of a packet: its answer, and no failure of the
probe.
"""

Place = tuple[str, str]
"""A node and one of its NICs, or the empty string for the node as a whole."""


def judge(guarantees: Sequence[Guarantee], flight: Flight, log: Log) -> Verdicts:
    """Return a verdict for each guarantee, in their order.

    ``flight`` must be the one planned for these guarantees. Those of which the log shows what is promised and
    nothing else are told by columns (`expected`), and put into words only when somebody asks for them.
    """
    return Judge(guarantees, flight).verdicts(log)


class Judge:
    """The judge of a flight, ready before it has landed."""

    def __init__(self, guarantees: Sequence[Guarantee], flight: Flight) -> None:
        """Take guarantees and the flight that was planned for them."""
        self._promised = Promised(Guarantees.of(guarantees), flight)

    def verdicts(self, log: Log) -> Verdicts:
        """Do what judge() does."""
        return _Judgement(self._promised, log).verdicts()


class _Judgement:
    def __init__(self, promised: Promised, log: Log) -> None:
        self._promised = promised
        self._many = guarantees = promised.many
        self._log = log
        self._flight = promised.flight
        self._observer = Observer(promised.flight, log)
        self._failed = {failure.station: failure for failure in log.failures}
        self._taken = {taken.listener: taken for taken in log.taken}
        alike = guarantees.ends().tolist()
        self._rivals = same_port_sources(guarantees[number] for number in alike)
        self._senders: dict[Place, str] = {}
        self._receivers: dict[Place, str] = {}

    def verdicts(self) -> Verdicts:
        shown = Expectations(self._promised, self._log)
        arrived, unseen = shown.delivered(), shown.silent() | shown.rejected()
        self._find_controls(arrived, np.flatnonzero(~(arrived | unseen)).tolist())
        sure = arrived | self._proven(unseen)
        known = {number: self._judged(number) for number in np.flatnonzero(~sure).tolist()}
        kinds = np.full(len(self._many), HOLDS, np.int8)
        for number, verdict in known.items():
            kinds[number] = KINDS.index(verdict.kind)
        return Verdicts(self._many, kinds, self._judged, known)

    def _observed(self, number: int) -> tuple[Guarantee, Observation]:
        guarantee = self._many[number]
        return guarantee, self._observer.observe(guarantee, self._flight.shot_of[number])

    def _judged(self, number: int) -> Verdict:
        return self._verdict(*self._observed(number))

    def _find_controls(self, arrived: NDArray[np.bool_], others: list[int]) -> None:
        """Find who is shown to send and to receive: by one clean arrival at each NIC, and all others."""
        clean = self._first_at_each_nic(np.flatnonzero(arrived)).tolist()
        for guarantee, observation in map(self._observed, sorted((*clean, *others))):
            if guarantee.expected in REACHED and observation.arrivals:
                text = f"{guarantee.flow.protocol} from {guarantee.source} to {guarantee.destination} arrived"
                nic = observation.arrivals[0].nic
                _add(self._senders, guarantee.source, guarantee.flow.out_nic, text)
                _add(self._receivers, guarantee.destination, nic, text)
            if observation.answers:
                text = f"answer to {guarantee.source} arrived"
                _add(self._receivers, guarantee.source, observation.answers[0].nic, text)
        for control in self._flight.controls:
            for sighting in self._observer.sightings(control.shot):
                at_place = self._observer.is_at(sighting, control.seen_at)
                if sighting.what == What.REQUEST and at_place and sighting.nic == control.seen_nic:
                    able = self._senders if control.sends else self._receivers
                    text = f"control frame between {control.node} and its own port arrived"
                    _add(able, control.node, control.nic, text)

    def _first_at_each_nic(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return so many of these that the first of each NIC that sends or receives is among them.

        Which NIC it is, a pattern promises of all its guarantees; one that does not stands for itself.
        """
        ways: dict[Hashable, int] = {}
        way_of = [ways.setdefault(_nics(at, each), len(ways)) for at, each in enumerate(self._many.patterns)]
        way = np.array(way_of, np.int64)[self._many.pattern[numbers]]
        size = len(self._many.nodes)
        ends = (self._many.source[numbers], self._many.destination[numbers])
        firsts = [np.unique(way * size + end, return_index=True)[1] for end in ends]
        found: NDArray[np.int64] = numbers[np.union1d(*firsts)]
        return found

    def _proven(self, unseen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell of which guarantees not to have been seen is proof, as _doubts() says of each by itself."""
        if self._log.drops or self._log.unsettled:
            return np.zeros(len(unseen), np.bool_)
        numbers = np.flatnonzero(unseen)
        many = self._many.chosen(numbers)
        good = np.ones(len(numbers), np.bool_)
        for column, sends in ((many.source, True), (many.destination, False)):
            keys = many.pattern.astype(np.int64) * len(many.nodes) + column
            _, first, group = np.unique(keys, return_index=True, return_inverse=True)
            shown = [self._shows(many[number], sends=sends) for number in first.tolist()]
            good &= np.array(shown, np.bool_)[group]
        proven = unseen.copy()
        proven[numbers] = good
        return proven

    def _shows(self, guarantee: Guarantee, *, sends: bool) -> bool:
        if sends:
            # who hears that he is refused did send it
            place, able = (guarantee.source, guarantee.flow.out_nic), self._senders
            if guarantee.expected is Outcome.REJECTED:
                return True
        else:
            place, able = (guarantee.destination, self._receiving_nic(guarantee)), self._receivers
        return not any(True for _ in self._control(able, place, "", []))

    def _verdict(self, guarantee: Guarantee, observation: Observation) -> Verdict:
        for node in (guarantee.source, guarantee.destination):
            failure = self._failed.get(node)
            if failure:
                lost = failure.in_flight
                kind = VerdictKind.INCONCLUSIVE if lost else VerdictKind.UNAVAILABLE
                reason = (
                    f"{node} {'was lost during the flight' if lost else 'cannot be probed'}: {failure.text}"
                )
                return Verdict(guarantee, None, kind, reason)
        if guarantee.expected in REACHED:
            return self._judge_yes(guarantee, observation)
        return self._judge_no(guarantee, observation)

    def _judge_yes(self, guarantee: Guarantee, observation: Observation) -> Verdict:
        lines = wording.evidence(guarantee, observation)
        faults = yes_faults(guarantee, observation, self._observer.stations, self._rivals)
        if not faults:
            reason = wording.happened(guarantee, observation)
            return _verdict(guarantee, observation, VerdictKind.HOLDS, reason, lines)
        doubt = self._why_lost(guarantee, observation)
        if doubt:
            return _verdict(guarantee, observation, VerdictKind.INCONCLUSIVE, doubt, lines)
        return _broken(guarantee, observation, faults, lines)

    def _why_lost(self, guarantee: Guarantee, observation: Observation) -> str:
        """Return what else than the network may have kept a yes from being seen; empty if
        nothing.
        """
        taken = self._taken.get(self._listener(guarantee))
        if taken and not (taken.in_use and taken.listener.protocol == "tcp"):
            return (
                f"{taken.listener.protocol} port {taken.listener.port} of {taken.listener.station} "
                f"could not be opened: {taken.text}"
            )
        missing = not observation.arrivals or (guarantee.answered and not observation.answers)
        # A device that drops is the network not keeping its promise.
        overload = tuple(drop for drop in self._log.drops if not drop.by_device)
        if missing and overload:
            return f"packets were lost while it flew: {wording.drops(overload)[0]}"
        return ""

    def _listener(self, guarantee: Guarantee) -> Listener:
        seen_port = guarantee.seen.destination_port if guarantee.seen else 0
        port = seen_port or guarantee.flow.destination_port
        return Listener(guarantee.destination, guarantee.flow.protocol.value, port)

    def _judge_no(self, guarantee: Guarantee, observation: Observation) -> Verdict:
        lines = wording.evidence(guarantee, observation)
        if observation.outcome in REACHED:
            faults = [wording.happened(guarantee, observation)]
            return _broken(guarantee, observation, faults, lines)
        doubts = self._doubts(guarantee, observation, lines)
        if doubts:
            reason = f"{' and '.join(doubts)}, so that nothing was seen proves nothing"
            return _verdict(guarantee, observation, VerdictKind.INCONCLUSIVE, reason, lines)
        faults = rejection_faults(guarantee, observation)
        if faults:
            return _broken(guarantee, observation, faults, lines)
        reason = wording.happened(guarantee, observation)
        return _verdict(guarantee, observation, VerdictKind.HOLDS, reason, lines)

    def _doubts(self, guarantee: Guarantee, observation: Observation, lines: list[str]) -> list[str]:
        """Return why not having seen the flow proves nothing; add the controls to the evidence."""
        doubts = []
        refusal = observation.send_error
        if refusal and not self._own_answer(guarantee, refusal):
            doubts.append(f"{guarantee.source} could not send it ({refusal.text})")
        if not (observation.errors or observation.resets or refusal):
            sender = (guarantee.source, guarantee.flow.out_nic)
            doubts += self._control(self._senders, sender, "sends", lines)
        receiver = (guarantee.destination, self._receiving_nic(guarantee))
        doubts += self._control(self._receivers, receiver, "receives", lines)
        if self._log.drops:
            lines += wording.drops(self._log.drops)
            doubts.append("packets were lost during the flight")
        if self._log.unsettled:
            doubts.append("packets were still arriving when the flight ended")
        return doubts

    def _own_answer(self, guarantee: Guarantee, refusal: SendError) -> bool:
        """Tell whether a refused shot is the sender's own filter or routing at work."""
        host = self._observer.stations[guarantee.source].role is Role.HOST
        return refusal.errno in OWN_ANSWERS or (host and refusal.errno == errno.ENOBUFS)

    def _control(self, able: dict[Place, str], place: Place, verb: str, lines: list[str]) -> Iterable[str]:
        node, nic = place
        if self._observer.stations[node].role is Role.HOST:
            nic = ""
        text = able.get((node, nic))
        name = f"{node} {nic}".rstrip()
        if text is None:
            yield f"no control shows that {name} {verb}"
        else:
            lines.append(f"control: {name} {verb}: {text}")

    def _receiving_nic(self, guarantee: Guarantee) -> str:
        if guarantee.seen and guarantee.seen.nic:
            return guarantee.seen.nic
        address = guarantee.flow.destination_address.packed
        for point in self._observer.stations[guarantee.destination].points:
            if address in point.addresses:
                return point.labels[0]
        return ""


def _nics(at: int, pattern: Pattern) -> Hashable:
    flow, seen = pattern.guarantee.flow, pattern.guarantee.seen
    return (flow.out_nic, seen.nic, pattern.guarantee.answered) if flow.out_nic and seen and seen.nic else at


def _add(able: dict[Place, str], node: str, nic: str, text: str) -> None:
    able.setdefault((node, nic), text)
    able.setdefault((node, ""), text)


def _verdict(
    guarantee: Guarantee,
    observation: Observation,
    kind: VerdictKind,
    reason: str,
    lines: list[str],
) -> Verdict:
    return Verdict(guarantee, observation.outcome, kind, reason, tuple(lines))


def _broken(guarantee: Guarantee, observation: Observation, faults: list[str], lines: list[str]) -> Verdict:
    return _verdict(guarantee, observation, VerdictKind.BROKEN, "; ".join(faults), lines)
