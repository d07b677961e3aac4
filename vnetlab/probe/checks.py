"""What must be true of a flow that did what was promised, field by field. Each fault is half a
sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.guarantees import Outcome, Protocol, Special
from vnetlab.icmp import error_name
from vnetlab.probe.exits import packed_mac
from vnetlab.probe.flight import ELSEWHERE, Kind
from vnetlab.probe.wording import address, happened, mac

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vnetlab.guarantees import Guarantee, Seen
    from vnetlab.probe.flight import Sighting, Station
    from vnetlab.probe.observation import Observation

UNPRIVILEGED = 1024
_PORTS = (Kind.TCP, Kind.FIN, Kind.UDP, Kind.DHCP)


def yes_faults(
    guarantee: Guarantee,
    observation: Observation,
    stations: Mapping[str, Station],
    rivals: frozenset[str],
) -> list[str]:
    """Return what contradicts a promise to deliver; ``rivals`` send from the same port at once."""
    if observation.outcome is not guarantee.expected:
        return [happened(guarantee, observation)]
    if guarantee.flow.protocol is Protocol.RESOLUTION:
        faults = _resolution_faults(guarantee, observation)
    else:
        faults = _arrival_faults(guarantee, observation, stations[guarantee.destination])
    faults += _answer_faults(guarantee, observation)
    if guarantee.flow.special is Special.SAME_PORT:
        names = list(stations)
        wrong = {names[s.station] for s in observation.strays} & (rivals - {guarantee.source})
        faults += [f"its answer reached {name}" for name in sorted(wrong)]
    return faults


def _resolution_faults(guarantee: Guarantee, observation: Observation) -> list[str]:
    expected = guarantee.seen.source_mac if guarantee.seen else ""
    if not expected:
        return []
    wrong = {a.mac for a in observation.answers if a.mac != packed_mac(expected)}
    return [f"the answer told {mac(found)} instead of {expected}" for found in sorted(wrong)]


def _arrival_faults(guarantee: Guarantee, observation: Observation, station: Station) -> list[str]:
    """Return the faults of the best arrival; a second source or a strange device is one of its own."""
    seen = guarantee.seen
    if seen is None:
        return []
    found = [_field_faults(seen, sighting, observation, station) for sighting in observation.arrivals]
    best = min(found, key=len)
    if not best and any(sighting.nic == ELSEWHERE for sighting in observation.arrivals):
        best = ["it arrived by a device that is on none of its networks as well"]
    if best or seen.source_address is None:
        return best
    promised = seen.source_address.packed
    others = {s.source for s in observation.arrivals if s.source != promised}
    return [f"it arrived from {address(other)} as well" for other in sorted(others)]


def _field_faults(seen: Seen, sighting: Sighting, observation: Observation, station: Station) -> list[str]:
    faults = []
    labels = next((p.labels for p in station.points if p.labels[0] == sighting.nic), ())
    if seen.nic and seen.nic not in (sighting.nic, *labels):
        faults.append(f"it arrived at {sighting.nic} instead of {seen.nic}")
    if seen.source_address and seen.source_address.packed != sighting.source:
        faults.append(f"it arrived from {address(sighting.source)} instead of {seen.source_address}")
    if seen.destination_address and seen.destination_address.packed != sighting.destination:
        faults.append(f"it arrived for {address(sighting.destination)} instead of {seen.destination_address}")
    if seen.ttl is not None and seen.ttl != sighting.ttl:
        faults.append(f"it arrived with TTL {sighting.ttl} instead of {seen.ttl}")
    if observation.shot.kind in _PORTS:
        faults += _port_faults(seen, sighting)
    return faults + _mac_faults(seen, sighting, observation)


def _port_faults(seen: Seen, sighting: Sighting) -> list[str]:
    faults = []
    if seen.destination_port and seen.destination_port != sighting.destination_port:
        faults.append(f"it arrived for port {sighting.destination_port} instead of {seen.destination_port}")
    if seen.source_port_unprivileged and sighting.source_port < UNPRIVILEGED:
        faults.append(f"it arrived from port {sighting.source_port}, below {UNPRIVILEGED}")
    return faults


def _mac_faults(seen: Seen, sighting: Sighting, observation: Observation) -> list[str]:
    """Check the MAC: of the frame, or for a host (whose raw sockets see none) at its devices."""
    if not seen.source_mac:
        return []
    found = {sighting.mac} if sighting.mac else set(observation.passed_macs)
    if packed_mac(seen.source_mac) in found:
        return []
    told = " and ".join(mac(one) for one in sorted(found)) or "no frame at all"
    return [f"it arrived from MAC {told} instead of {seen.source_mac}"]


def _answer_faults(guarantee: Guarantee, observation: Observation) -> list[str]:
    if guarantee.expected is Outcome.REFUSED:
        return []
    if not guarantee.answered:
        unwanted = guarantee.flow.answer and observation.answers
        return [f"its answer reached {guarantee.source}, though it must not"] if unwanted else []
    if not observation.answers:
        return [f"its answer did not reach {guarantee.source}"]
    asked = observation.shot.destination
    if guarantee.flow.destination_address.is_multicast or asked == b"\xff" * 4:
        return []
    others = {a.source for a in observation.answers if a.source != asked}
    return [f"its answer came from {address(other)} instead of {address(asked)}" for other in sorted(others)]


def rejection_faults(guarantee: Guarantee, observation: Observation) -> list[str]:
    """Return what contradicts a promise to be silent about a flow, or to reject it in a certain
    way.
    """
    if observation.outcome is not guarantee.expected:
        return [happened(guarantee, observation)]
    if guarantee.expected is Outcome.SILENT:
        return []
    found = [_error_faults(guarantee, observation, error) for error in observation.errors]
    if not found:
        wanted = guarantee.error_code or guarantee.error_from
        return [f"a TCP reset came instead of {guarantee.error_code or 'an error'}"] if wanted else []
    return min(found, key=len)


def _error_faults(guarantee: Guarantee, observation: Observation, error: Sighting) -> list[str]:
    faults = []
    name = error_name(observation.shot.version, error.icmp)
    if guarantee.error_code and name != guarantee.error_code:
        faults.append(f"the error is {name} instead of {guarantee.error_code}")
    if guarantee.error_from and guarantee.error_from.packed != error.source:
        faults.append(f"the error comes from {address(error.source)} instead of {guarantee.error_from}")
    if observation.sent_from and error.quoted != observation.sent_from:
        faults.append(
            f"the error quotes source {address(error.quoted)} instead of {address(observation.sent_from)}"
        )
    if observation.shot.source_port and error.quoted_port != observation.shot.source_port:
        faults.append(
            f"the error quotes source port {error.quoted_port} instead of {observation.shot.source_port}"
        )
    return faults
