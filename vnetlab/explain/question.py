"""From the words of a command to a question, and to the flow that puts it."""

from __future__ import annotations

from difflib import get_close_matches
from ipaddress import ip_address
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vnetlab.errors import NodeNotFound, UserError
from vnetlab.guarantees import Protocol
from vnetlab.modes import PROPERTIES
from vnetlab.modes.questions import Question, asked
from vnetlab.modes.world import World
from vnetlab.topology.model import Family, family_of

if TYPE_CHECKING:
    from vnetlab.guarantees import Guarantee
    from vnetlab.topology.model import IPAddress, Topology


class Words(Struct, frozen=True):
    """What was typed."""

    source: str
    destination: str
    protocol: str = "icmp"
    port: int = 0
    family: str | None = None
    source_address: str | None = None
    ttl: int = 64
    size: int = 0


def guarantee_of(topology: Topology, words: Words, source_port: int = 0) -> Guarantee:
    """Return the flow to send, and what the modes promise of it.

    ``source_port`` is the port, or echo identifier, to send from; 0 leaves it to the prediction. Raises
    UserError where the words make no question, NodeNotFound for a name that nobody has.
    """
    question = replace(_question(topology, words), source_port=source_port)
    world = World(topology, PROPERTIES)
    families = (Family(words.family),) if words.family else tuple(Family)
    for family in families:
        given = question.source_address
        if given is None or family_of(given) is family:
            found = asked(world, question, family)
            if found:
                _check_guest(topology, question, found)
                return found
    only = f" but {words.family} was asked for" if words.family else ""
    raise UserError(
        f"{words.source} and {words.destination} have no address family in common{only}; "
        "subnets of both families give them one"
    )


def _question(topology: Topology, words: Words) -> Question:
    names = [node.name for node in topology.nodes()]
    if words.source not in names:
        raise _unknown(topology, words.source, names)
    if words.destination == words.source:
        raise UserError(f"{words.source}: source and destination are one node; name another one")
    address = None if words.destination in names else _address(topology, words.destination, names)
    if (words.protocol == "icmp") is bool(words.port):
        raise UserError(_about_port(words))
    return Question(
        words.source,
        "" if address else words.destination,
        address,
        Protocol(words.protocol),
        words.port,
        _own_address(words.source_address),
        ttl=words.ttl,
        size=words.size,
    )


def _about_port(words: Words) -> str:
    if words.port:
        return f"port {words.port}: icmp has no ports; add --protocol tcp or --protocol udp"
    return f"protocol {words.protocol}: has no port yet; add one, such as --port 443"


def _unknown(topology: Topology, name: str, names: list[str]) -> NodeNotFound:
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"its nodes are {', '.join(names[:8])}"
    more = ", ..." if not near and len(names) > len(names[:8]) else ""
    return NodeNotFound(f"{topology.name} has no node {name}; {hint}{more}")


def _address(topology: Topology, text: str, names: list[str]) -> IPAddress:
    try:
        found = ip_address(text)
    except ValueError:
        raise _unknown(topology, text, names) from None
    if found.is_multicast or found.is_unspecified or found.is_loopback or str(found) == "255.255.255.255":
        raise UserError(f"destination {text}: is no address of one other node; name a unicast address")
    return found


def _own_address(text: str | None) -> IPAddress | None:
    if text is None:
        return None
    try:
        return ip_address(text)
    except ValueError:
        raise UserError(f"source {text!r}: is no IP address; write one such as 192.0.2.7") from None


def _check_guest(topology: Topology, question: Question, found: Guarantee) -> None:
    """Refuse what a guest behind a tap cannot send: it has no kernel of ours that would ask around."""
    vm = topology.vms.get(question.source)
    if vm and vm.backend == "tap" and not found.flow.next_hop_mac:
        raise UserError(
            f"{question.source} is behind a tap, and the file tells no neighbour on the way to "
            f"{question.address}; ask from another node"
        )
