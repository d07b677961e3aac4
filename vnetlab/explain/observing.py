"""What was captured and traced, as events in the vocabulary of the prediction. Knows no prediction."""

from __future__ import annotations

from ipaddress import ip_address
from struct import unpack_from
from typing import TYPE_CHECKING

from vnetlab.explain.event import Event, Header, What
from vnetlab.predict.packet import ICMP, ICMP6, TCP, UDP, Role
from vnetlab.probe.flight import What as Sight
from vnetlab.probe.frames import ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.explain.lexicon import Lexicon
    from vnetlab.kernel.trace import Traced
    from vnetlab.probe.flight import Sighting
    from vnetlab.probe.follow import Followed, Seen

_ROLES = {
    Sight.REQUEST: Role.REQUEST,
    Sight.ANSWER: Role.ANSWER,
    Sight.RESET: Role.RESET,
    Sight.ERROR: Role.ERROR,
}
_ECHOES = {
    (ICMP, 8): Role.REQUEST,
    (ICMP, 0): Role.ANSWER,
    (ICMP6, 128): Role.REQUEST,
    (ICMP6, 129): Role.ANSWER,
}
_RESET, _ACKNOWLEDGES = 0x04, 0x10


def events_of(lexicon: Lexicon, followed: Followed) -> tuple[Event, ...]:
    """Return everything observed, but for copies that a switch flooded past NICs that do not take them."""
    return (*_frames(lexicon, followed), *_chains(followed))


def _frames(lexicon: Lexicon, followed: Followed) -> Iterator[Event]:
    for seen in followed.seen:
        guest = lexicon.guest(seen.space, seen.device)
        if seen.outgoing:
            if guest:  # out of the tap is into the guest
                yield _frame(guest[0], seen)
        elif seen.addressed or lexicon.is_port(seen.space, seen.device):
            yield _frame(seen.space, seen)


def sent_out(lexicon: Lexicon, followed: Followed) -> Iterator[tuple[str, str, str]]:
    """Yield role, namespace and bridge port of every frame that a switch sent on."""
    for seen in followed.seen:
        if seen.outgoing and lexicon.is_port(seen.space, seen.device):
            yield _ROLES[Sight(seen.sighting.what)].value, seen.space, seen.device


def _frame(node: str, seen: Seen) -> Event:
    sighting = seen.sighting
    role = _ROLES[Sight(sighting.what)].value
    return Event(What.FRAME, node, seen.device, "", role, _header(sighting))


def _header(sighting: Sighting) -> Header:
    return Header(
        str(ip_address(sighting.source)),
        str(ip_address(sighting.destination)),
        sighting.source_port,
        sighting.destination_port,
        sighting.ttl,
    )


def _chains(followed: Followed) -> Iterator[Event]:
    for space, traced in followed.traced:
        if traced.by_policy and traced.verdict == "accept":
            continue  # a chain that had nothing to say
        role, header = _packet(traced)
        yield Event(What.CHAIN, space, traced.label, traced.verdict, role, header)


def _packet(traced: Traced) -> tuple[str, Header]:
    network, transport = traced.network, traced.transport
    if network[0] >> 4 == 4:
        protocol, ttl, source, destination = network[9], network[8], network[12:16], network[16:20]
    else:
        protocol, ttl, source, destination = network[6], network[7], network[8:24], network[24:40]
    role, ports = _transport(protocol, transport)
    return role.value, Header(str(ip_address(source)), str(ip_address(destination)), *ports, ttl)


def _transport(protocol: int, data: bytes) -> tuple[Role, tuple[int, int]]:
    if protocol in (ICMP, ICMP6):
        role = _ECHOES.get((protocol, data[0]), Role.ERROR)
        identifier = 0 if role is Role.ERROR else unpack_from("!H", data, 4)[0]
        return role, (identifier, 0)
    ports: tuple[int, int] = unpack_from("!HH", data)
    if protocol == UDP:
        return (Role.ANSWER if unpack_from("!I", data, 12)[0] & ANSWER else Role.REQUEST), ports
    assert protocol == TCP
    flags = data[13]
    if flags & _RESET:
        return Role.RESET, ports
    return (Role.ANSWER if flags & _ACKNOWLEDGES else Role.REQUEST), ports
