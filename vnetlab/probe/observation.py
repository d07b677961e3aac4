"""What the log says of one guarantee: arrivals, answers, errors, and the outcome that they amount
to.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from vnetlab.guarantees import Guarantee, Outcome, Protocol, Special
from vnetlab.probe.columns import Sightings
from vnetlab.probe.flight import Flight, Kind, Log, Role, SendError, Shot, Sighting, Station, What

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnetlab.probe.columns import Numbers

REACHED = (Outcome.DELIVERED, Outcome.REFUSED)
PORT_UNREACHABLE = {4: 0x0303, 6: 0x0104}
HOST_UNREACHABLE = {4: 0x0301, 6: 0x0103}


class Observation(Struct, frozen=True):
    """The part of a log that concerns one guarantee."""

    outcome: Outcome
    shot: Shot
    number: int
    sent_from: bytes
    """The source address that was sent, whoever chose it."""
    arrivals: tuple[Sighting, ...]
    """The shot at the destination."""
    answers: tuple[Sighting, ...]
    """Answers that the sender got."""
    resets: tuple[Sighting, ...]
    errors: tuple[Sighting, ...]
    """ICMP errors about the shot that the sender got."""
    passed_macs: tuple[bytes, ...]
    """Source MACs of the shot's frames at a destination host's devices."""
    strays: tuple[Sighting, ...]
    """Answers that came to another station than the sender."""
    send_error: SendError | None
    adopted: tuple[str, ...]
    """Routes of the destination that the shot, a router advertisement, brought about."""


class Observer:
    """Looks guarantees up in a log."""

    def __init__(self, flight: Flight, log: Log) -> None:
        self.flight = flight
        self.log = log
        self.stations: dict[str, Station] = {station.name: station for station in flight.stations}
        self._index = {station.name: i for i, station in enumerate(flight.stations)}
        self._seen = Sightings.of(log.sightings)
        shots = self._seen.rows["shot"]
        # One column is looked up at a time: of a broadcast everybody's sighting is, for everybody.
        self._station, self._what = (np.ascontiguousarray(self._seen.rows[c]) for c in ("station", "what"))
        self._order = np.argsort(shots, kind="stable")
        """The numbers of the sightings, those of one shot together."""
        self._starts = np.searchsorted(shots[self._order], np.arange(len(flight.shots) + 1))
        self._send_errors = {error.shot: error for error in log.send_errors}
        self._sources = dict(log.sources)
        self._adopted: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
        for number, station, route in log.adopted:
            self._adopted[number, station].append(route)

    def sightings(self, number: int) -> list[Sighting]:
        """Return every sighting of a shot."""
        return [self._seen[at] for at in self._of(number).tolist()]

    def _of(self, number: int) -> Numbers:
        of: Numbers = self._order[self._starts[number] : self._starts[number + 1]]
        return of

    def _about(self, number: int, source: int, destination: int) -> Iterator[Sighting]:
        """Yield what was seen of a shot at these stations, and answers to it wherever they were seen."""
        of = self._of(number)
        station = self._station[of]
        mask = (station == source) | (station == destination) | (self._what[of] == What.ANSWER)
        return (self._seen[at] for at in of[mask].tolist())

    def is_at(self, sighting: Sighting, station: str) -> bool:
        """Tell whether a sighting was made at the station of that name."""
        return sighting.station == self._index.get(station)

    def observe(self, guarantee: Guarantee, number: int) -> Observation:
        """Return what the log says of a guarantee whose shot has this number."""
        shot = self.flight.shots[number]
        source, destination = self._index[guarantee.source], self._index[guarantee.destination]
        arrivals: list[Sighting] = []
        about = list(self._about(number, source, destination))
        answers, resets, errors = _returned(about, source)
        strays: list[Sighting] = []
        macs: list[bytes] = []
        for sighting in about:
            what = sighting.what
            if sighting.station == destination and (what == What.REQUEST or _blames(guarantee, sighting)):
                arrivals.append(sighting)
            elif what == What.PASSED and sighting.station == destination:
                macs.append(sighting.mac)
            elif what == What.ANSWER and sighting.station != source:
                strays.append(sighting)
        adopted = self._adopted.get((number, guarantee.destination), [])
        seen = _relevant(guarantee, arrivals)
        outcome = self._outcome(guarantee, shot, seen, answers, resets, errors, adopted)
        return Observation(
            outcome=outcome,
            shot=shot,
            number=number,
            sent_from=shot.source or self._sources.get(number, b""),
            arrivals=tuple(seen),
            answers=tuple(answers),
            resets=tuple(resets),
            errors=tuple(errors),
            passed_macs=tuple(macs),
            strays=tuple(strays),
            send_error=self._send_errors.get(number),
            adopted=tuple(adopted),
        )

    def _outcome(
        self,
        guarantee: Guarantee,
        shot: Shot,
        arrivals: list[Sighting],
        answers: list[Sighting],
        resets: list[Sighting],
        errors: list[Sighting],
        adopted: list[str],
    ) -> Outcome:
        if shot.kind is Kind.RA:
            guest = self.stations[guarantee.destination].role is Role.GUEST
            return Outcome.DELIVERED if adopted or (guest and arrivals) else Outcome.SILENT
        if guarantee.flow.protocol is Protocol.RESOLUTION:
            told = any(answer.source == shot.destination for answer in answers)
            return Outcome.DELIVERED if told or arrivals else Outcome.SILENT
        if guarantee.flow.special is Special.VACANT:
            errors = [error for error in errors if error.icmp != HOST_UNREACHABLE[shot.version]]
        unreachable = PORT_UNREACHABLE[shot.version]
        if arrivals:
            refused = resets or any(error.icmp == unreachable for error in errors)
            return Outcome.REFUSED if refused and not answers else Outcome.DELIVERED
        return Outcome.REJECTED if errors or resets else Outcome.SILENT


def _returned(
    sightings: Iterable[Sighting], source: int
) -> tuple[list[Sighting], list[Sighting], list[Sighting]]:
    """Return the answers, resets and errors that the sender got.

    What was flooded past its NIC, for another MAC, its kernel never got.
    """
    found: dict[int, list[Sighting]] = {What.ANSWER: [], What.RESET: [], What.ERROR: []}
    for sighting in sightings:
        if sighting.station == source and sighting.addressed:
            found.get(sighting.what, []).append(sighting)
    return found[What.ANSWER], found[What.RESET], found[What.ERROR]


def _blames(guarantee: Guarantee, sighting: Sighting) -> bool:
    """Tell an error that the owner of a forged source gets: where nothing is to arrive, that is too much."""
    forged = guarantee.flow.special is Special.FORGED and guarantee.source != guarantee.destination
    return forged and sighting.what == What.ERROR and guarantee.expected not in REACHED and sighting.addressed


def _relevant(guarantee: Guarantee, arrivals: list[Sighting]) -> list[Sighting]:
    """For a yes only frames that the NIC takes count; for a no, every frame that reaches it
    does.
    """
    if guarantee.expected in REACHED:
        return [sighting for sighting in arrivals if sighting.addressed]
    return arrivals


def same_port_sources(guarantees: Iterable[Guarantee]) -> frozenset[str]:
    """Return the nodes that send the flows of equal source port."""
    return frozenset(g.source for g in guarantees if g.flow.special is Special.SAME_PORT)
