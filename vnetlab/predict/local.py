"""Packets for the namespace itself: its input filter, its sockets, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.predict import errors, ip, neighbour, replies
from vnetlab.predict.packet import (
    ICMP6,
    ROUTER_ADVERTISEMENT,
    SOLICITATION,
    TCP,
    UDP,
    Packet,
    Role,
    is_link_local,
    text,
)
from vnetlab.predict.walk import Arrival

if TYPE_CHECKING:
    from vnetlab.predict.passage import Passage
    from vnetlab.predict.space import Device, Space
    from vnetlab.predict.walk import Walk


def deliver(walk: Walk, space: Space, device: Device, passage: Passage, *, unicast: bool) -> None:
    """Take a packet for an address of the namespace, or for a group that it is in. Raises Unknown."""
    stop = walk.hook("input", passage)
    if stop:
        errors.rejected(walk, device, passage, stop, to_self=True)
        return
    packet = passage.ip
    mac = passage.frame.source if passage.frame else ""
    if packet.protocol == ICMP6 and packet.kind == ROUTER_ADVERTISEMENT:
        _advertised(walk, space, device, packet, mac)
        return
    walk.arrivals.append(Arrival(space.name, device.name, True, True, mac, packet, len(walk.hops)))
    walk.note(space, "deliver", f"{text(packet.version, packet.destination)}", "deliver", packet)
    if packet.protocol == ICMP6 and packet.kind == SOLICITATION:
        neighbour.solicited(walk, space, device, packet, mac)
    elif packet.role is Role.REQUEST and unicast:
        _answer(walk, space, device, passage)
    elif packet.role is Role.ANSWER and unicast and packet.protocol in (TCP, UDP):
        walk.unawaited.append((device, passage))


def _answer(walk: Walk, space: Space, device: Device, passage: Passage) -> None:
    packet = passage.ip
    if _ignores_echo(space, packet):
        return
    ttl = space.plain_setting("net/ipv4/ip_default_ttl", 64)
    if packet.version == 6:
        ttl = space.setting("ipv6", device.name, "hop_limit", 64)
    reply = replies.reply_to(walk.world, space.name, packet, ttl)
    if reply is None:
        return
    if reply.role is Role.ERROR:
        errors.send(walk, device, passage, reply.kind, local=True)
        return
    ip.send(walk, space, reply, device.name if is_link_local(reply.destination) else "")


def refuse_answer(walk: Walk, device: Device, passage: Passage) -> None:
    """Say what a kernel says to an answer that it did not ask for itself. Raises Unknown.

    A reset to a SYN with ACK (RFC 9293, 3.10.7.1; of a port that listens too, 3.10.7.2), port unreachable to
    a datagram for a port that is closed.
    """
    space, packet = passage.space, passage.ip
    if packet.protocol == TCP:
        towards = device.name if is_link_local(packet.source) else ""
        ip.send(walk, space, replies.reset_of(packet), towards)
    elif ("udp", packet.destination_port) not in walk.world.open_ports(space.name):
        errors.send(walk, device, passage, replies.PORT_UNREACHABLE[packet.version], local=True)


def _ignores_echo(space: Space, packet: Packet) -> bool:
    if packet.protocol == UDP or not packet.kind:
        return False
    if packet.version == 4:
        return packet.protocol == 1 and space.plain_setting("net/ipv4/icmp_echo_ignore_all") == 1
    return packet.protocol == ICMP6 and space.plain_setting("net/ipv6/icmp/echo_ignore_all") == 1


def _advertised(walk: Walk, space: Space, device: Device, packet: Packet, mac: str) -> None:
    """Take a router advertisement: believed or not (`ipv6_accept_ra`)."""
    accepts = space.setting("ipv6", device.name, "accept_ra", 1)
    forwards = space.setting("ipv6", device.name, "forwarding")
    if accepts == 2 or (accepts == 1 and not forwards):
        walk.arrivals.append(Arrival(space.name, device.name, True, True, mac, packet, len(walk.hops)))
        walk.note(space, "deliver", f"{device.name} believes it", "deliver", packet)
    else:
        walk.note(space, "deliver", f"{device.name}: accept_ra is {accepts}", "drop", packet)
