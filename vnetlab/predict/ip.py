"""IP packets in a namespace: received, routed, forwarded, sent.

After ip_rcv, ip_route_input, ip_forward and ip_output of the kernel's net/ipv4, and their likes in net/ipv6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.policy import PROHIBIT
from vnetlab.predict import errors, ethernet, local, neighbour, replies
from vnetlab.predict.fib import LOOPBACK, Way
from vnetlab.predict.packet import (
    ALL_NODES,
    LIMITED_BROADCAST,
    Frame,
    Packet,
    group_mac,
    is_link_local,
    solicited_node,
    text,
)
from vnetlab.predict.passage import HOST, Passage, Unknown
from vnetlab.predict.policy import Asked, BarredError

if TYPE_CHECKING:
    from vnetlab.predict.space import Device, Space
    from vnetlab.predict.walk import Walk

_ALL_SYSTEMS = 0xE0000001  # 224.0.0.1 (RFC 1112, 4)
_ALL_ROUTERS = (0xFF02 << 112) | 2


def receive(
    walk: Walk, space: Space, device: Device, frame: Frame, packet: Packet, kind: int, mark: int = 0
) -> None:
    """Take an IP packet that a device received. Raises Unknown."""
    if packet.version == 6 and not space.has_ipv6(device.name):
        walk.note(space, "route", f"{device.name} has no part in IPv6", "drop", packet)
        return
    passage = Passage(space, packet, device.name, frame=frame, packet_type=kind, mark=mark)
    stop = walk.hook("prerouting", passage)
    if stop:
        errors.rejected(walk, device, passage, stop)
        return
    why = martian(space, device, passage.ip)
    if why:
        walk.note(space, "route", why, "drop", passage.ip)
        return
    _route(walk, space, device, passage)


def martian(space: Space, device: Device, packet: Packet) -> str:
    """Return what is impossible about a packet's addresses; empty if nothing."""
    if device.name == LOOPBACK:
        return ""
    fib, source, destination = space.fib(packet.version), packet.source, packet.destination
    if fib.is_loopback(source) or fib.is_loopback(destination):
        allowed = packet.version == 4 and space.most("ipv4", device.name, "route_localnet")
        return "" if allowed else "martian: a loopback address on the wire"
    if packet.version == 6:
        return "martian: a group as source" if source >> 120 == 0xFF else ""
    if source >> 28 == 0xE or source == LIMITED_BROADCAST:
        return "martian: a group as source"
    if not source:
        return "" if packet.is_group else "martian: no source"
    return martian_source(space, device, source, destination)


def martian_source(space: Space, device: Device, source: int, destination: int) -> str:
    """Return why a source cannot come in by a device; empty if it can (`fib_validate_source`).

    Raises Unknown.
    """
    fib = space.fib(4)
    if fib.is_local(source) and not space.most("ipv4", device.name, "accept_local"):
        return f"martian: {text(4, source)} is an address of its own"
    mode = space.most("ipv4", device.name, "rp_filter")
    if mode:
        if space.policy and space.policy.asks_for(4, "iif", "mask"):
            raise Unknown("rp_filter where policy rules ask for a device or a mark")
        way = space.way(4, source, asked=Asked(destination))
        if way is None or (mode == 1 and way.device != device.name):
            return f"rp_filter: {text(4, source)} is not reached by {device.name}"
    return ""


def _route(walk: Walk, space: Space, device: Device, passage: Passage) -> None:
    packet, fib = passage.ip, space.fib(passage.ip.version)
    destination = packet.destination
    if packet.is_group:
        if _is_member(walk, space, device, packet):
            local.deliver(walk, space, device, passage, unicast=False)
        else:
            walk.note(space, "route", f"{device.name} is not in the group", "drop", packet)
        return
    if destination in fib.broadcasts or destination in fib.anycasts:
        local.deliver(walk, space, device, passage, unicast=destination in fib.anycasts)
    elif fib.is_local(destination, device.name):
        local.deliver(walk, space, device, passage, unicast=True)
    else:
        _onward(walk, space, device, passage)


def _is_member(walk: Walk, space: Space, device: Device, packet: Packet) -> bool:
    group = packet.destination
    if packet.version == 4:
        known = {LIMITED_BROADCAST, _ALL_SYSTEMS}
    else:
        known = {ALL_NODES} | {solicited_node(own.address) for own in space.fib(6).of_device(device.name)}
        if space.forwards(6, device.name):
            known.add(_ALL_ROUTERS)
    return group in known or (packet.version, group) in walk.world.groups(space.name)


def _onward(walk: Walk, space: Space, device: Device, passage: Passage) -> None:
    """Route a packet that is not for this namespace."""
    packet = passage.ip
    version = packet.version
    scoped = version == 6 and is_link_local(packet.destination)
    asked = Asked(packet.source, device.name, passage.mark)
    try:
        way = space.way(version, packet.destination, device.name if scoped else "", asked)
    except BarredError as rule:
        _barred(walk, device, passage, rule)
        return
    router = space.forwards(version, device.name)
    if way is None:
        walk.note(space, "route", f"no route to {text(version, packet.destination)}", "no route", packet)
        # An IPv6 host says so even where it does not forward (`ip6_pkt_discard`); IPv4 does not (`ip_error`).
        if version == 6:
            errors.send(walk, device, passage, replies.NO_ROUTE[version])
        elif router:
            raise Unknown("IPv4 routing says `no route` to each sender only so often")
        return
    if not router or scoped:
        walk.note(space, "route", f"{device.name} does not forward", "drop", packet)
        return
    walk.used.append(way.item)
    walk.note(space, "route", way.label, "forward", packet)
    _forward(walk, space, device, passage, way)


def _barred(walk: Walk, device: Device, passage: Passage, rule: BarredError) -> None:
    """Drop a packet that a policy rule bars; only some say so to its sender. Raises Unknown."""
    packet = passage.ip
    if rule.action == PROHIBIT and packet.version == 4 and passage.space.forwards(4, device.name):
        raise Unknown("IPv4 routing says `prohibited` to each sender only so often")
    walk.note(passage.space, "route", str(rule), "drop", packet)
    if rule.action == PROHIBIT and packet.version == 6:
        errors.send(walk, device, passage, replies.ADMIN_PROHIBITED[6])


def _forward(walk: Walk, space: Space, device: Device, passage: Passage, way: Way) -> None:
    packet = passage.ip
    version = packet.version
    if passage.packet_type != HOST:
        walk.note(space, "forward", "not addressed to this machine", "drop", packet)
        return
    if packet.ttl <= 1:
        walk.note(space, "forward", "the TTL is spent", "reject", packet)
        errors.send(walk, device, passage, replies.TIME_EXCEEDED[version])
        return
    if version == 6 and (not packet.source or is_link_local(packet.source)):
        walk.note(space, "forward", "its source is of this link only", "drop", packet)
        if packet.source:
            errors.send(walk, device, passage, replies.BEYOND_SCOPE[6])
        return
    out = space.devices[way.device]
    if packet.size > out.mtu and not packet.fragmented:
        walk.note(space, "forward", f"{out.name} takes {out.mtu} bytes", "reject", packet)
        errors.send(walk, device, passage, replies.TOO_BIG[version])
        return
    passage.packet = replace(packet, ttl=packet.ttl - 1)
    passage.oif = way.device
    stop = walk.hook("forward", passage)
    if stop:
        errors.rejected(walk, device, passage, stop)
        return
    _finish(walk, space, passage, way)


def send(walk: Walk, space: Space, packet: Packet, device: str = "", *, routed_as: int | None = None) -> None:
    """Send a packet of the namespace's own; ``device`` is asked for link-local destinations only.

    ``routed_as``: the source that its route is looked up for, where that is not its own; 0 is none.
    """
    asked = Asked(packet.source if routed_as is None else routed_as)
    way, why = _way_out(space, packet, device, asked)
    if way is None:
        walk.note(space, "route", why, "no route", packet)
        return
    walk.note(space, "send", way.label or way.device, "send", packet)
    passage = Passage(space, packet, oif=way.device)
    stop = walk.hook("output", passage)
    if stop:
        errors.rejected(walk, space.devices[LOOPBACK], passage, stop)
        return
    if passage.ip.destination != packet.destination or passage.rerouted:
        way, why = _way_out(space, passage.ip, device, Asked(passage.ip.source, mark=passage.mark))
        if way is None:
            walk.note(space, "route", f"{why}, after rules have changed it", "no route", passage.ip)
            return
    walk.used.append(way.item)
    _finish(walk, space, passage, way)


def _way_out(space: Space, packet: Packet, device: str, asked: Asked) -> tuple[Way | None, str]:
    """Return the way of a packet of the namespace's own, and why there is none."""
    version, destination = packet.version, packet.destination
    none = f"no route to {text(version, destination)}"
    if space.fib(version).is_local(destination, device):
        return Way(LOOPBACK, destination), ""
    scoped = packet.is_group or (version == 6 and is_link_local(destination))
    if packet.is_group:
        return Way(device, destination) if device else None, none
    try:
        return space.way(version, destination, device if scoped else "", asked), none
    except BarredError as rule:
        return None, str(rule)


def send_on(walk: Walk, space: Space, device: Device, packet: Packet, mac: str) -> None:
    """Send a packet out of a device to a MAC, whatever the routes say (`ndisc_send_skb`)."""
    passage = Passage(space, packet, oif=device.name)
    if walk.hook("output", passage) or walk.hook("postrouting", passage):
        return
    ethernet.transmit(walk, space, device, Frame(device.mac, mac, passage.ip))


def _finish(walk: Walk, space: Space, passage: Passage, way: Way) -> None:
    """Hand a packet to a device, with the MAC that it goes to."""
    passage.oif, passage.way = way.device, way
    if walk.hook("postrouting", passage):
        return
    packet, out = passage.ip, space.devices[way.device]
    if packet.size > out.mtu and not packet.fragmented:
        walk.note(space, "mtu", f"{out.name} takes {out.mtu} bytes", "drop", packet)
        return
    if out.name == LOOPBACK:
        walk.queue.append((space, out, Frame(out.mac, out.mac, packet)))
        return
    if packet.is_group:
        mac: str | None = group_mac(packet.version, packet.destination)
    elif packet.destination in space.fib(packet.version).broadcasts:
        mac = group_mac(4, LIMITED_BROADCAST)
    else:
        mac = neighbour.resolve(walk, space, out, packet, way.next_hop)
    if mac is None:
        hop = text(packet.version, way.next_hop)
        # The kernel's host-unreachable comes after three seconds of asking, when nobody listens any more.
        walk.note(space, "neighbour", f"nobody on {out.name} has {hop}", "unresolved", packet)
        return
    walk.note(space, "neighbour", f"{out.name} to {mac}", "send", packet)
    ethernet.transmit(walk, space, out, Frame(out.mac, mac, packet), passage.mark)
