"""Who answers for an address: ARP (RFC 826) and neighbour discovery (RFC 4861), as Linux does them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.predict import ethernet, ip, replies
from vnetlab.predict.packet import (
    BROADCAST_MAC,
    ICMP6,
    SOLICITATION,
    Arp,
    Frame,
    Packet,
    Role,
    group_mac,
    link_local,
    solicited_node,
    text,
)
from vnetlab.predict.passage import Passage, Unknown
from vnetlab.predict.policy import Asked
from vnetlab.predict.walk import Arrival, Walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vnetlab.items import Item
    from vnetlab.predict.space import Device, Space
    from vnetlab.predict.walk import NeighbourKey
    from vnetlab.predict.world import NeighbourKey as AskedKey
    from vnetlab.predict.world import World

_ND_HOP_LIMIT = 255


class Resolved(Struct, frozen=True):
    """What asking for a next hop led to."""

    mac: str | None
    """None: nobody answered."""
    learned: Mapping[NeighbourKey, str]
    """Who came to know the asker by being asked (RFC 826, "Packet Reception"; RFC 4861, 7.2.3)."""
    doubt: str
    """Why the model cannot tell; empty if it can."""
    used: frozenset[Item | None] = frozenset()
    """What question and answer went through."""


def arp_input(walk: Walk, space: Space, device: Device, frame: Frame, message: Arp) -> None:
    """Take an ARP message for this device (`arp_process` of the kernel's net/ipv4/arp.c)."""
    passage = Passage(space, message, device.name, frame=frame, family="arp")
    if walk.family_hook("arp", "input", passage):
        return
    walk.arrivals.append(Arrival(space.name, device.name, True, True, frame.source, message))
    if message.operation != 1:
        return
    why = _silence(space, device, message)
    if why:
        walk.note(space, "arp", f"{device.name}: {why}", "drop", message)
        return
    walk.note(space, "arp", f"{device.name} has {text(4, message.target)}", "answer", message)
    walk.learned[space.name, device.name, 4, message.sender] = message.sender_mac
    answer = Arp(2, device.mac, message.target, message.sender_mac, message.sender)
    reply = Frame(device.mac, message.sender_mac, answer)
    if not walk.family_hook(
        "arp", "output", Passage(space, answer, oif=device.name, frame=reply, family="arp")
    ):
        ethernet.transmit(walk, space, device, reply)


def _silence(space: Space, device: Device, message: Arp) -> str:
    """Return why a question is not answered; empty if it is."""
    fib, asked, asker = space.fib(4), message.target, message.sender
    if fib.is_loopback(asked) or asked >> 28 == 0xE:
        return "no question about this address is answered"
    if asker and (martian := ip.martian_source(space, device, asker, asked)):
        return martian
    if not fib.is_local(asked):
        return _no_proxy(space, device, asked, asker)
    ignore = space.most("ipv4", device.name, "arp_ignore")
    if ignore not in (0, 1, 2, 8):
        raise Unknown(f"arp_ignore {ignore}")
    if ignore == 8:
        return "arp_ignore is 8"
    if ignore and not fib.on_device(asked, device.name):
        return f"arp_ignore is {ignore}, and {text(4, asked)} is not its own"
    if ignore == 2 and not any(own.covers(asker, 32) for own in fib.of_device(device.name)):
        return f"arp_ignore is 2, and {text(4, asker)} is in no prefix of its own"
    if space.most("ipv4", device.name, "arp_filter"):
        way = space.way(4, asker, asked=Asked(asked))
        if way is None or way.device != device.name:
            return "arp_filter is on, and the asker is elsewhere"
    return ""


def _no_proxy(space: Space, device: Device, asked: int, asker: int) -> str:
    if not (space.most("ipv4", device.name, "proxy_arp") and space.forwards(4, device.name)):
        return f"{text(4, asked)} is not here"
    way = space.way(4, asked, asked=Asked(asker, device.name))
    if way is None or way.device == device.name:
        return f"{text(4, asked)} is not elsewhere"
    return ""


def solicited(walk: Walk, space: Space, device: Device, packet: Packet, mac: str) -> None:
    """Take a neighbour solicitation that came from a MAC (`ndisc_recv_ns`)."""
    asked = text(6, packet.target)
    if packet.ttl != _ND_HOP_LIMIT or not space.fib(6).on_device(packet.target, device.name):
        walk.note(space, "nd", f"{device.name} does not have {asked}", "drop", packet)
        return
    if not packet.source:
        raise Unknown("duplicate address detection")
    walk.note(space, "nd", f"{device.name} has {asked}", "answer", packet)
    walk.learned[space.name, device.name, 6, packet.source] = mac
    ip.send_on(walk, space, device, replies.advertisement(packet), mac)


def resolve(walk: Walk, space: Space, device: Device, packet: Packet, next_hop: int) -> str | None:
    """Return the MAC of a next hop; None where nobody answers. Raises Unknown."""
    version = packet.version
    permanent = space.permanent_neighbours.get((device.name, version, next_hop))
    if permanent:
        walk.used.append(permanent[1])
        return permanent[0]
    heard_of = walk.learned.get((space.name, device.name, version, next_hop))
    if heard_of:
        return heard_of
    asker = _asker(space, device, packet, next_hop)
    key = (space.name, device.name, version, next_hop, asker)
    found = walk.world.resolved(key, lambda: ask(walk.world, key))
    if found.doubt:
        raise Unknown(found.doubt)
    walk.used.extend(found.used)
    walk.learned.update(found.learned)
    return found.mac


def _asker(space: Space, device: Device, packet: Packet, next_hop: int) -> int:
    fib = space.fib(packet.version)
    if packet.version == 4:
        return fib.select(device.name, next_hop) or 0
    if fib.on_device(packet.source, device.name):
        return packet.source
    return link_local(device.mac)


def ask(world: World, key: AskedKey) -> Resolved:
    """Ask on the link, and see who answers."""
    name, port, version, next_hop, asker = key
    space = world.spaces[name]
    device = space.devices[port]
    asking = _question(world, space, device, version, next_hop, asker)
    return _heard(asking, space, device, version, next_hop)


def _question(world: World, space: Space, device: Device, version: int, next_hop: int, asker: int) -> Walk:
    """Return what becomes of an ARP request or a neighbour solicitation."""
    asking = Walk(world)
    try:
        if version == 4:
            question = Arp(1, device.mac, asker, "00:00:00:00:00:00", next_hop)
            frame = Frame(device.mac, BROADCAST_MAC, question)
            passage = Passage(space, question, oif=device.name, frame=frame, family="arp")
            if not asking.family_hook("arp", "output", passage):
                ethernet.transmit(asking, space, device, frame)
        else:
            group = solicited_node(next_hop)
            solicitation = Packet(
                6, asker, group, ICMP6, kind=SOLICITATION, ttl=_ND_HOP_LIMIT, target=next_hop
            )
            ip.send_on(asking, space, device, solicitation, group_mac(6, group))
        asking.run()
    except Unknown as why:
        asking.doubts.append(str(why))
    return asking


def _heard(asking: Walk, space: Space, device: Device, version: int, next_hop: int) -> Resolved:
    macs = set()
    for arrival in asking.arrivals:
        if arrival.node != space.name or arrival.device != device.name or not arrival.addressed:
            continue
        payload = arrival.payload
        if payload.role is not Role.ANSWER:
            continue
        if not arrival.socket:
            continue
        if isinstance(payload, Arp):
            macs |= {payload.sender_mac} if payload.sender == next_hop else set()
        elif payload.target == next_hop:
            macs.add(arrival.source_mac)
    if len(macs) > 1:
        doubt = f"{text(version, next_hop)} is answered for by {' and '.join(sorted(macs))}"
        return Resolved(None, {}, doubt)
    if not macs and asking.doubts:
        return Resolved(None, {}, asking.doubts[0])
    if not macs and (owner := _asks_back(asking.world, space, device, version, next_hop)):
        return Resolved(None, {}, f"{owner} has {text(version, next_hop)} and may make it known by asking")
    return Resolved(next(iter(macs), None), asking.learned, "", frozenset(asking.used))


def _asks_back(world: World, space: Space, device: Device, version: int, address: int) -> str:
    """Return a node that has an address, and may be known here by what it asks; empty for none.

    Traffic of its own may have made it ask, before the packet that is followed here or meanwhile.
    """
    for other in world.spaces.values():
        if other is space or address not in other.fib(version).local:
            continue
        owner = other.devices[other.fib(version).local[address]]
        for asked in _likely_questions(space, device, version, address):
            asking = _question(world, other, owner, version, asked, address)
            if asking.doubts or _overheard(asking, space, device, version, address):
                return other.name
    return ""


def _likely_questions(space: Space, device: Device, version: int, address: int) -> list[int]:
    """Return whom somebody may ask for; of IPv4 also itself, since ARP requests are heard by all."""
    mine = [own.address for own in space.fib(version).of_device(device.name)]
    return [*mine, address] if version == 4 else mine


def _overheard(asking: Walk, space: Space, device: Device, version: int, address: int) -> bool:
    """Tell whether a device learns the asker: `arp_process` updates an entry in the making by any message."""
    if version == 6:
        return (space.name, device.name, version, address) in asking.learned
    return any(a.socket and (a.node, a.device) == (space.name, device.name) for a in asking.arrivals)
