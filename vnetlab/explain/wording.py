"""Sentences about single steps; who does it is said beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.guarantees import Special
from vnetlab.icmp import error_name
from vnetlab.predict.packet import Packet, Role, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.explain.lexicon import Lexicon
    from vnetlab.predict.journey import Journey
    from vnetlab.predict.walk import Arrival, Hop

_TRANSLATING = ("srcnat", "dstnat")
"""How the names of chains begin that translate (ruleset.py)."""


def arrives(lexicon: Lexicon, arrival: Arrival) -> str:
    """Return that a frame came to a device."""
    device = lexicon.device(arrival.node, arrival.device)
    vm = lexicon.topology.vms.get(arrival.node)
    if vm and vm.backend == "tap":
        has = "has the answer" if arrival.payload.role is Role.ANSWER else "gets it"
        return f"{has} by {device} (its tap)"
    if arrival.node in lexicon.topology.hosts:
        if lexicon.network(arrival.node, arrival.device):
            return f"takes it in from {device} (bridge {arrival.device})"
        return f"takes it in by {device}"
    return f"gets it by {device}"


def guest_sends(nic: str, packet: Packet) -> str:
    """Return that a guest sends, which no hop of the model says."""
    return f"{_sends(packet)} by {nic} (its tap)"


def carries(lexicon: Lexicon, hop: Hop, came_by: str) -> str:
    """Return that a switch hands a frame on."""
    device = hop.object.partition(" to ")[2]
    port = lexicon.port(hop.namespace, device)
    target = port[0] if port else lexicon.device(hop.namespace, device)
    if lexicon.is_segment(hop.namespace):
        return f"carries it to {target}"
    origin = lexicon.port(hop.namespace, came_by)
    first = origin[0] if origin else lexicon.device(hop.namespace, came_by)
    out = f"out by {target}" if port is None else f"to {target}"
    return f"switches it from {first} {out}"


def says(lexicon: Lexicon, hop: Hop, journey: Journey, rule: Hop | None) -> str:
    """Return what a hop of the model says, in words."""
    if hop.object == "translation":
        return _translates(hop, rule)
    known = _STAGES.get((hop.stage, hop.verdict))
    if known:
        return known(lexicon, hop, journey)
    chain, found, about = hop.object.partition(": ")
    if found and len(chain.split(" ")) == 3:
        return _judges(chain, about, hop.verdict)
    return f"{_did(hop.verdict)}: {lexicon.words(hop.namespace, hop.object)}"


def chain_says(label: str, verdict: str) -> str:
    """Return a chain's decision in words; a trace does not tell whether a rule drops or rejects."""
    chain, _, about = label.partition(": ")
    return _judges(chain, about, "stop" if verdict == "drop" else verdict)


def frame_says(lexicon: Lexicon, node: str, device: str) -> str:
    """Return a frame at a device in words."""
    port, words = lexicon.port(node, device), lexicon.device(node, device)
    if lexicon.network(node, device) or (lexicon.is_bridge(node, device) and not port):
        return f"goes up to the host from {words}"
    return f"comes in by the port of {port[0]}" if port else f"comes in by {words}"


def _judges(chain: str, about: str, verdict: str) -> str:
    owner, found, what = about.partition(": ")
    name = chain.rpartition(" ")[2]
    if about == "policy":
        return f"{_did(verdict)}: no rule of chain {name} allows it"
    if not found:
        return f"{_did(verdict)}: {about}"
    if verdict == "accept" and name.startswith(_TRANSLATING):
        return f"{owner} translates it: {what}"
    return f"{owner} {_did(verdict)}: {what}"


def _did(verdict: str) -> str:
    return {
        "accept": "lets it pass",
        "drop": "drops it",
        "reject": "rejects it",
        "stop": "stops it",
        "masquerade": "translates it",
        "snat": "translates it",
        "dnat": "translates it",
        "redirect": "translates it",
        "unknown": "cannot be predicted",
    }.get(verdict, verdict)


def _translates(hop: Hop, rule: Hop | None) -> str:
    before, after = hop.before, hop.after
    assert isinstance(before, Packet)
    assert isinstance(after, Packet)
    changes = [
        f"{name} {_end(after, source=source)}"
        for name, source in (("source", True), ("destination", False))
        if _end(before, source=source) != _end(after, source=source)
    ]
    what = " and ".join(changes) or "identifier"
    if rule is None:
        return f"translates it back: {what}"
    owner = rule.object.partition(": ")[2].partition(": ")[0]
    return f"{owner} translates it: {what} ({rule.verdict})"


def _end(packet: Packet, *, source: bool) -> str:
    address = text(packet.version, packet.source if source else packet.destination)
    port = packet.source_port if source else packet.destination_port
    if not packet.destination_port:
        return address
    return f"[{address}]:{port}" if packet.version == 6 else f"{address}:{port}"


def _sends(packet: Packet) -> str:
    if packet.role is Role.ANSWER:
        return "answers"
    if packet.role is Role.RESET:
        return "answers with a reset"
    if packet.role is Role.ERROR:
        return f"says {error_name(packet.version, packet.kind)}"
    return "sends it"


def _send(lexicon: Lexicon, hop: Hop, journey: Journey) -> str:
    packet = hop.before
    assert isinstance(packet, Packet)
    device, found, mac = hop.object.partition(" to ")
    if found:
        by, whom = lexicon.device(hop.namespace, device), lexicon.owner(mac)
        crafted = journey.flow.special is Special.CRAFTED
        tail = ", as if it had a route" if crafted else ""
        return f"{_sends(packet)} by {by} straight to {whom}{tail}"
    if hop.object == "lo":
        return f"{_sends(packet)} to itself"
    return f"{_sends(packet)} {lexicon.way(hop.namespace, hop.object)}"


def _route(lexicon: Lexicon, hop: Hop, journey: Journey) -> str:
    return f"routes it {lexicon.way(hop.namespace, hop.object)}"


def _deliver(lexicon: Lexicon, hop: Hop, journey: Journey) -> str:
    packet = hop.before
    assert isinstance(packet, Packet)
    if packet.role is Role.REQUEST:
        return "takes it: the address is its own"
    if hop.namespace != journey.source:
        return "takes it"
    if packet.role is Role.ERROR:
        return f"is told {error_name(packet.version, packet.kind)} by {text(packet.version, packet.source)}"
    return "has the answer" if packet.role is Role.ANSWER else "has the reset"


def _no_route(lexicon: Lexicon, hop: Hop, journey: Journey) -> str:
    return f"has {lexicon.words(hop.namespace, hop.object)}"


def _unresolved(lexicon: Lexicon, hop: Hop, journey: Journey) -> str:
    return f"gets no answer to {_asks(hop.before)}: {lexicon.words(hop.namespace, hop.object)}"


def _asks(packet: object) -> str:
    return "ARP" if isinstance(packet, Packet) and packet.version == 4 else "neighbour discovery"


_STAGES: dict[tuple[str, str], Callable[[Lexicon, Hop, Journey], str]] = {
    ("send", "send"): _send,
    ("route", "forward"): _route,
    ("deliver", "deliver"): _deliver,
    ("route", "no route"): _no_route,
    ("neighbour", "unresolved"): _unresolved,
}
