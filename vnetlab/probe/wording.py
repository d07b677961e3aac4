"""The judge's words: what was sent and seen, in lines that a person checks against tcpdump."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from vnetlab.guarantees import Outcome, Protocol
from vnetlab.icmp import error_name
from vnetlab.probe.flight import Kind, Sighting, What
from vnetlab.probe.raw import address_text

if TYPE_CHECKING:
    from vnetlab.guarantees import Guarantee
    from vnetlab.probe.flight import Drop, Shot
    from vnetlab.probe.observation import Observation

_NAMES = {
    Kind.ARP: "ARP request",
    Kind.NS: "neighbour solicitation",
    Kind.ICMP: "echo request",
    Kind.TCP: "TCP SYN",
    Kind.FIN: "TCP FIN",
    Kind.UDP: "UDP datagram",
    Kind.DHCP: "DHCP discover",
    Kind.RA: "router advertisement",
    Kind.CONTROL: "control frame",
}
_PORTS = (Kind.TCP, Kind.FIN, Kind.UDP, Kind.DHCP)
_text = lru_cache(maxsize=65_536)(address_text)


def address(packed: bytes) -> str:
    """Return an address as text; the empty one is unknown."""
    return _text(packed) if packed else "?"


@lru_cache(maxsize=65_536)
def mac(packed: bytes) -> str:
    """Return a MAC as text."""
    return packed.hex(":")


def sent(guarantee: Guarantee, observation: Observation) -> str:
    """Return what left the sender, and how."""
    shot = observation.shot
    text = f"sent by {guarantee.source}"
    if shot.nic:
        text += f" {shot.nic}"
    source, destination = address(observation.sent_from), address(shot.destination)
    if shot.kind in _PORTS:
        source += f" port {shot.source_port}" if shot.source_port else ""
        destination += f" port {shot.destination_port}"
    text += f": {_NAMES[shot.kind]} from {source} to {destination}"
    if shot.mac:
        text += f", frame to {mac(shot.mac)}"
    if shot.size:
        text += f", {shot.size} bytes"
    if observation.send_error:
        return f"{text}; its kernel refused: {observation.send_error.text}"
    return f"{text}, TTL {shot.ttl}"


def seen(sighting: Sighting, shot: Shot, station: str) -> str:
    """Return one sighting as a line."""
    what = _WHATS[sighting.what]
    where = f"{what} seen at {station} {sighting.nic}"
    if sighting.what == What.ERROR:
        name = error_name(shot.version, sighting.icmp)
        quoted = address(sighting.quoted)
        return f"{where}: {address(sighting.source)} says {name}, quoting source {quoted}"
    if shot.kind in (Kind.ARP, Kind.NS):
        return f"{where}: {address(sighting.source)} is at {mac(sighting.mac)}"
    source, destination = address(sighting.source), address(sighting.destination)
    if shot.kind in _PORTS:
        source += f" port {sighting.source_port}"
        destination += f" port {sighting.destination_port}"
    line = f"{where}: from {source} to {destination}, TTL {sighting.ttl}"
    if sighting.mac:
        line += f", from MAC {mac(sighting.mac)}"
    return line if sighting.addressed else f"{line} (a frame for another MAC)"


_WHATS = {
    int(What.REQUEST): "request",
    int(What.ANSWER): "answer",
    int(What.RESET): "TCP reset",
    int(What.ERROR): "ICMP error",
    int(What.PASSED): "request (before filters)",
}


def evidence(guarantee: Guarantee, observation: Observation) -> list[str]:
    """Return what was sent and what was seen where, a line each."""
    shot = observation.shot
    lines = [sent(guarantee, observation)]
    lines += [seen(s, shot, guarantee.destination) for s in observation.arrivals[:3]]
    if not observation.arrivals:
        lines.append(f"request not seen at {guarantee.destination}")
    replies = observation.answers + observation.resets + observation.errors
    lines += [seen(s, shot, guarantee.source) for s in replies[:3]]
    lines += [f"route of {guarantee.destination}: {route}" for route in observation.adopted]
    return lines


def drops(found: tuple[Drop, ...]) -> list[str]:
    """Return the counters that moved, a line each."""
    return [f"lost at {drop.where}: {drop.counter} +{drop.amount}" for drop in found]


def happened(guarantee: Guarantee, observation: Observation) -> str:
    """Return the observation in a few words."""
    destination, shot = guarantee.destination, observation.shot
    if observation.outcome is Outcome.REJECTED:
        if not observation.errors:
            return f"a TCP reset came back though {destination} saw nothing"
        error = observation.errors[0]
        who, what = address(error.source), error_name(shot.version, error.icmp)
        return f"{who} answered {what} and {destination} saw nothing"
    if observation.outcome is Outcome.SILENT:
        if observation.send_error:
            return f"the sender's own kernel refused it ({observation.send_error.text})"
        if shot.kind is Kind.RA:
            return f"{destination} took no route from it"
        return f"{destination} saw nothing and nobody answered"
    if observation.adopted:
        return f"{destination} took the route {observation.adopted[0]}"
    if guarantee.flow.protocol is Protocol.RESOLUTION and observation.answers:
        answer = observation.answers[0]
        return f"{address(answer.source)} answered from {mac(answer.mac)}"
    refused = " and refused it" if observation.outcome is Outcome.REFUSED else ""
    if not observation.arrivals:
        return f"{destination} was reached{refused}"
    first = observation.arrivals[0]
    origin = address(first.source) if first.source else mac(first.mac)
    return f"{destination} saw it at {first.nic} from {origin}{refused}"
