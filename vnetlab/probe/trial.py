"""From guarantees to a flight: which packet leaves where, which ports are open, which controls are
needed.

Pure. Equal flows of one sender are sent once, however many receivers judge them.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from vnetlab.guarantees import LINK_WIDE, Guarantee, Outcome, Protocol, Special
from vnetlab.many import Guarantees
from vnetlab.probe.columns import Shots
from vnetlab.probe.controls import add_controls, port_stations
from vnetlab.probe.exits import packed_mac
from vnetlab.probe.flight import Control, Flight, Kind, Listener, Shot, Station, Wide
from vnetlab.probe.greetings import greeting
from vnetlab.probe.order import in_blocks
from vnetlab.probe.places import Places, group_mac
from vnetlab.probe.salvo import Salvo, introductions, makes_no_neighbours, salvo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vnetlab.guarantees import Flow
    from vnetlab.topology.model import Topology

MANY_WIDE = 30
"""From so many datagrams to everybody on, whoever judges none of them does without: all get all of them."""
QUIET = 0.15
"""Seconds without a packet after which nothing more is on its way inside one machine."""
QUIET_UNRESOLVED = 3.5
"""A kernel says host-unreachable after three solicitations, one second apart
(``retrans_time_ms``).
"""


def plan_flight(topology: Topology, guarantees: Sequence[Guarantee]) -> Flight:
    """Return the flight in which all guarantees can be judged.

    Raises KeyError where a guarantee names a node that the topology lacks.
    """
    many = Guarantees.of(guarantees)
    places = Places(topology)
    found = salvo(many, places, partial(_shot, places))
    # What is said of nodes is said once for each pattern: all else of a guarantee is its other end's.
    telling = [many[at] for at in many.ends().tolist()]
    extra: list[Shot] = []
    controls = add_controls(places, telling, extra, len(found.shots))
    asking, asked_by = introductions(found, many)
    shots = found.shots + extra
    rows = np.concatenate([shots.rows, asking])
    nobody = np.full(len(extra), -1, np.int64)
    at = (found.first, asked_by)
    sources, destinations = (
        np.concatenate([column[at[0]], nobody, column[at[1]]]) for column in (many.source, many.destination)
    )
    free = np.zeros(len(rows), np.bool_)
    free[: len(found.shots)] = makes_no_neighbours(found)
    return Flight(
        stations=_stations(places, telling, found.shots, (*controls,), extra, _wide(found, many)),
        shots=Shots(rows, shots.stations, shots.nics),
        shot_of=tuple(found.of.tolist()),
        blocks=in_blocks(rows, sources, destinations, free, many.nodes),
        listeners=_listeners(telling),
        controls=controls,
        watched=_watched(places, telling),
        introductions=len(asking),
        vacant=_vacant(places, telling),
        linger=_linger(telling),
    )


_KINDS = {
    (Protocol.RESOLUTION, 4): Kind.ARP,
    (Protocol.RESOLUTION, 6): Kind.NS,
    (Protocol.ICMP, 4): Kind.ICMP,
    (Protocol.ICMP, 6): Kind.ICMP,
    (Protocol.TCP, 4): Kind.TCP,
    (Protocol.TCP, 6): Kind.TCP,
    (Protocol.UDP, 4): Kind.UDP,
    (Protocol.UDP, 6): Kind.UDP,
}


def _shot(places: Places, node: str, flow: Flow) -> Shot:
    version = flow.family.version
    kind = _KINDS[flow.protocol, version]
    if flow.special is Special.DHCP:
        kind = Kind.DHCP
    elif flow.special is Special.ADVERTISEMENT:
        kind = Kind.RA
    elif flow.special is Special.UNTRACKED:
        kind = Kind.FIN
    destination = flow.destination_address.packed
    resolves = kind in (Kind.ARP, Kind.NS)
    mac = packed_mac(flow.next_hop_mac) if flow.next_hop_mac else group_mac(kind, destination)
    nic = flow.out_nic or (places.nic_towards(node, flow) if mac else "")
    source = flow.source_address.packed if flow.source_address else b""
    if not source and mac:
        source = places.source_on(node, nic, version)
    return Shot(
        station=node,
        kind=kind,
        version=version,
        nic=nic,
        mac=mac,
        source=source,
        destination=destination,
        source_port=flow.source_port,
        destination_port=flow.destination_port,
        ttl=255 if resolves or kind is Kind.RA else flow.ttl,
        size=flow.size,
        fragments=flow.special is Special.FRAGMENTS,
        wants_answer=flow.answer,
    )


def _stations(
    places: Places,
    guarantees: Sequence[Guarantee],
    shots: Shots,
    controls: tuple[Control, ...],
    extra: list[Shot],
    wide: Mapping[str, Wide],
) -> tuple[Station, ...]:
    asked: defaultdict[str, set[bytes]] = defaultdict(set)
    groups: defaultdict[str, set[tuple[str, bytes]]] = defaultdict(set)
    framed = np.unique(shots.rows["station"][shots.rows["mac_size"] > 0]).tolist()
    captures = {shots.stations[number] for number in framed}
    captures |= {shot.station for shot in extra if shot.mac}
    nodes: dict[str, None] = {}
    for guarantee in guarantees:
        nodes[guarantee.source] = nodes[guarantee.destination] = None
        address = guarantee.flow.destination_address
        if guarantee.flow.protocol is Protocol.RESOLUTION:
            asked[guarantee.destination].add(address.packed)
        elif address.is_multicast:
            devices = places.heard_by(guarantee.destination, guarantee.source, guarantee.flow.out_nic)
            groups[guarantee.destination].update((device, address.packed) for device in devices)
        if guarantee.seen and guarantee.seen.source_mac:
            captures.add(guarantee.destination)
    stations = (
        replace(
            places.station(node, asked[node], groups[node], captures=node in captures), wide=wide.get(node)
        )
        for node in nodes
    )
    return greeting(places, stations) + port_stations(places, controls, extra, len(shots))


def _wide(found: Salvo, many: Guarantees) -> dict[str, Wide]:
    """Return for every node which datagrams to everybody are judged there; nothing where there are few."""
    if found.wide < MANY_WIDE:
        return {}
    judged: defaultdict[int, set[int]] = defaultdict(set)
    for at in np.flatnonzero(found.of < found.wide).tolist():
        judged[int(many.destination[at])].add(int(found.of[at]))
    return {node: Wide(found.wide, tuple(sorted(judged[number]))) for number, node in enumerate(many.nodes)}


def _listeners(guarantees: Sequence[Guarantee]) -> tuple[Listener, ...]:
    """Return the ports to open: all that flows go to, but for those that are to refuse."""
    answers: dict[Listener, bool] = {}
    closed: set[Listener] = set()
    for guarantee in guarantees:
        flow = guarantee.flow
        if flow.protocol not in (Protocol.TCP, Protocol.UDP) or flow.special in LINK_WIDE:
            continue
        seen_port = guarantee.seen.destination_port if guarantee.seen else 0
        port = seen_port or flow.destination_port
        listener = Listener(guarantee.destination, flow.protocol.value, port)
        if guarantee.expected is Outcome.REFUSED:
            closed.add(listener)
        else:
            answers[listener] = answers.get(listener, False) or flow.answer
    answers = {one: asked for one, asked in answers.items() if one not in closed}
    return tuple(Listener(one.station, one.protocol, one.port, asked) for one, asked in answers.items())


def _watched(places: Places, guarantees: Sequence[Guarantee]) -> tuple[str, ...]:
    """Return who must not believe a router advertisement; a guest has no routes to change."""
    watched = {
        g.destination: None
        for g in guarantees
        if g.flow.special is Special.ADVERTISEMENT and not places.is_guest(g.destination)
    }
    return tuple(watched)


def _vacant(places: Places, guarantees: Sequence[Guarantee]) -> frozenset[bytes]:
    """Return the destinations that no node of the topology has, on whatever link."""
    flows = (g.flow for g in guarantees if g.flow.special is Special.VACANT)
    return frozenset(flow.destination_address.packed for flow in flows) - places.addresses


def _linger(guarantees: Sequence[Guarantee]) -> float:
    unresolved = any(g.error_code == "host-unreachable" for g in guarantees)
    return QUIET_UNRESOLVED if unresolved else QUIET
