"""Thousands of verdicts by columns: one lie among them is found, and nobody else is blamed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec.structs import replace

from vnetlab.guarantees import Outcome, VerdictKind
from vnetlab.modes import guarantees_for
from vnetlab.probe.columns import SIGHTING, Shots, Sightings
from vnetlab.probe.flight import Drop, Failure, Log, SendError, What
from vnetlab.probe.judge import judge
from vnetlab.probe.trial import plan_flight
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.verdicts import Verdicts

    Rows = np.ndarray[Any, np.dtype[Any]]

HOLDS, BROKEN = VerdictKind.HOLDS, VerdictKind.BROKEN
VMS = 30
TOPOLOGY = Topology.parse(
    """
name: many
segments: {lan: {subnets: [10.0.0.0/16, "fd00::/64"]}}
hosts:
  hv:
    nics: {eth0: lan}
    networks:
      office: {mode: bridge, uplink: eth0}
      cell: {mode: isolated, subnets: [10.9.0.0/24]}
    vms:
"""
    + "".join(f"      v{i}: office\n" for i in range(VMS))
    + "      lone: cell\n      mate: cell\n",
    "many.yaml",
)
EVERY = guarantees_for(TOPOLOGY, ("udp-one-way", "icmp", "tcp"))
OFFICE = np.array([node.startswith("v") for node in EVERY.nodes])
BETWEEN = np.flatnonzero(OFFICE[EVERY.source] & OFFICE[EVERY.destination])
PAIRS = EVERY.chosen(BETWEEN).chosen(
    [at for at, number in enumerate(BETWEEN.tolist()) if EVERY.patterns[EVERY.pattern[number]].slots]
)
FLIGHT = plan_flight(TOPOLOGY, PAIRS)
STATIONS = {station.name: at for at, station in enumerate(FLIGHT.stations)}
MACS = {station.name: station.points[0].mac for station in FLIGHT.stations}


def perfect() -> Rows:
    """Return what is seen where everything arrives and is answered: requests first."""
    number = np.asarray(FLIGHT.shot_of)
    shots = Shots.of(FLIGHT.shots).rows[number]
    station = np.array([STATIONS.get(node, -1) for node in PAIRS.nodes])
    rows = np.zeros(len(PAIRS), SIGHTING)
    rows["shot"], rows["what"], rows["addressed"] = number, What.REQUEST, True
    rows["station"] = station[PAIRS.destination]
    for column in (
        "source",
        "source_size",
        "destination",
        "destination_size",
        "source_port",
        "destination_port",
    ):
        rows[column] = shots[column]
    macs = np.array([list(MACS.get(node, bytes(6))) for node in PAIRS.nodes], np.uint8)
    rows["mac"], rows["mac_size"], rows["ttl"] = macs[PAIRS.source], 6, 64
    answers = rows.copy()
    answers["what"], answers["station"] = What.ANSWER, station[PAIRS.source]
    answers["source"], answers["destination"] = rows["destination"], rows["source"]
    answered = np.array([pattern.guarantee.answered for pattern in PAIRS.patterns])[PAIRS.pattern]
    return np.concatenate([rows, answers[answered]])


def judged(rows: Rows, **trouble: Any) -> Verdicts:
    log = Log(Sightings(rows, ("eth0", "eth1")), **trouble)
    found = judge(PAIRS, FLIGHT, log)
    # what is told by columns is what the judge says of each by itself
    for number in range(0, len(found), 13):
        assert found.remade(number).kind is found[number].kind
    return found


def test_what_is_as_promised_holds_and_is_told_by_columns() -> None:
    found = judged(perfect())
    assert found.counts() == {HOLDS: VMS * (VMS - 1) * 6}
    assert all(verdict.observed is Outcome.DELIVERED for verdict in found[::97])


def lost(rows: Rows, at: int) -> Rows:
    return np.delete(rows, at)


def twice_from_elsewhere(rows: Rows, at: int) -> Rows:
    more = rows[at : at + 1].copy()
    more["source"][0, 3] ^= 9
    return np.concatenate([rows, more])


def elsewhere(rows: Rows, at: int) -> Rows:
    rows = rows.copy()
    rows["station"][at] = (rows["station"][at] + 1) % VMS
    return rows


def changed(**columns: Any) -> Callable[[Rows, int], Rows]:
    def change(rows: Rows, at: int) -> Rows:
        rows = rows.copy()
        for column, value in columns.items():
            rows[column][at] = value
        return rows

    return change


LIES = {
    "loss": lost,
    "duplicate": twice_from_elsewhere,
    "stray": elsewhere,
    "flooded": changed(addressed=False),
    "ttl": changed(ttl=63),
    "nic": changed(nic=1),
    "mac": changed(mac=[2, 0, 0, 0, 9, 9]),
    "source": changed(source=[10, 0, 99, 99] + [0] * 12),
    "destination": changed(destination=[10, 0, 99, 99] + [0] * 12),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("number", [0, 1234, len(PAIRS) - 1])
def test_one_lie_breaks_one_promise(lie: str, number: int) -> None:
    rows = LIES[lie](perfect(), number)
    found = judged(rows)
    assert [at for at in range(len(found)) if found.kinds[at]] == [number]
    assert found[number].kind is BROKEN


@pytest.mark.parametrize("answer", [0, 777])
@pytest.mark.parametrize("lie", ["loss", "source"])
def test_one_wrong_answer_breaks_one_promise(lie: str, answer: int) -> None:
    rows = perfect()
    number = int(np.flatnonzero(np.asarray(FLIGHT.shot_of) == rows["shot"][len(PAIRS) + answer])[0])
    found = judged(LIES[lie](rows, len(PAIRS) + answer))
    assert np.flatnonzero(found.kinds).tolist() == [number]
    assert found[number].kind is BROKEN


def test_an_answer_to_what_asks_for_none_is_no_holding() -> None:
    rows = perfect()
    at = next(n for n in range(len(PAIRS)) if not PAIRS[n].flow.answer)
    more = rows[at : at + 1].copy()
    more["what"] = What.ERROR
    assert judged(np.concatenate([rows, more])).counts()[HOLDS] == len(PAIRS)


def test_losses_leave_what_was_seen_and_take_the_proof_from_what_was_not() -> None:
    found = judged(lost(perfect(), 5), drops=(Drop("machine", "softnet dropped", 1),))
    assert np.flatnonzero(found.kinds).tolist() == [5]
    assert found[5].kind is VerdictKind.INCONCLUSIVE


def test_a_station_that_was_lost_takes_its_own_verdicts() -> None:
    found = judged(perfect(), failures=(Failure("v3", "Network is down", in_flight=True),))
    concerned = [at for at in range(len(PAIRS)) if "v3" in (PAIRS[at].source, PAIRS[at].destination)]
    assert np.flatnonzero(found.kinds).tolist() == concerned


def test_a_no_by_columns_needs_its_controls() -> None:
    everything = guarantees_for(TOPOLOGY, ("udp-one-way",))
    denied = [
        g for g in everything if g.expected is Outcome.SILENT and g.source == "lone" and g.destination == "v1"
    ]
    flight = plan_flight(TOPOLOGY, denied)
    silent = judge(denied, flight, Log(()))
    assert {verdict.kind for verdict in silent} == {VerdictKind.INCONCLUSIVE}
    rows = np.zeros(len(flight.controls), SIGHTING)
    names = [station.name for station in flight.stations]
    nics = tuple(dict.fromkeys(control.seen_nic for control in flight.controls))
    for at, control in enumerate(flight.controls):
        rows[at]["shot"], rows[at]["what"] = control.shot, What.REQUEST
        rows[at]["station"], rows[at]["nic"] = names.index(control.seen_at), nics.index(control.seen_nic)
    shown = Log(Sightings(rows, nics))
    assert {verdict.kind for verdict in judge(denied, flight, shown)} == {HOLDS}
    refused = replace(shown, send_errors=(SendError(flight.shot_of[0], 105, "No buffer space available"),))
    assert judge(denied, flight, refused)[0].kind is VerdictKind.INCONCLUSIVE
    lossy = replace(shown, drops=(Drop("v1", "eth0 rx dropped", 1, by_device=True),))
    assert {verdict.kind for verdict in judge(denied, flight, lossy)} == {VerdictKind.INCONCLUSIVE}
