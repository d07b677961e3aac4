"""A State that flows can be sent through: what reaches whom, what comes back, and why not."""

from __future__ import annotations

from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.guarantees import Protocol, Special
from vnetlab.predict import ethernet, ip, neighbour
from vnetlab.predict.journey import Journey
from vnetlab.predict.packet import (
    BROADCAST_MAC,
    ECHO_REQUEST,
    FIN,
    ICMP,
    ICMP6,
    ROUTER_ADVERTISEMENT,
    SOLICITATION,
    SYN,
    TCP,
    UDP,
    Arp,
    Frame,
    Packet,
    group_mac,
    solicited_node,
)
from vnetlab.predict.passage import Unknown
from vnetlab.predict.policy import Asked
from vnetlab.predict.walk import Walk
from vnetlab.predict.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vnetlab.guarantees import Flow
    from vnetlab.items import Item
    from vnetlab.predict.guest import Guest
    from vnetlab.predict.space import Device, Space
    from vnetlab.predict.world import Sockets
    from vnetlab.state import Namespace, State

_PROTOCOLS = {(Protocol.TCP, 4): TCP, (Protocol.TCP, 6): TCP, (Protocol.UDP, 4): UDP, (Protocol.UDP, 6): UDP}
_NO_MAC = "00:00:00:00:00:00"
_ND_HOP_LIMIT = 255


class Model:
    """A State, and what of the world it does not hold: guests behind taps, and open sockets."""

    def __init__(
        self,
        state: State,
        guests: Iterable[Guest] = (),
        sockets: Iterable[Sockets] = (),
        devices: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        """Index the State. ``devices`` names the device of a node's NIC where its name is another."""
        known = tuple(guests)
        self.world = World(state, known, sockets)
        self._guests: dict[str, list[Guest]] = {}
        for guest in known:
            self._guests.setdefault(guest.node, []).append(guest)
        self._devices = dict(devices or {})
        self._sent: dict[tuple[str, Flow, bool], Journey] = {}

    def changed(self, namespaces: Iterable[Namespace]) -> Model:
        """Return the model of a State in which some namespaces are others; what is as before is shared."""
        return self.within(self.world.changed(namespaces))

    def within(self, world: World) -> Model:
        """Return the model of another world with the same nodes."""
        other = copy(self)
        other.world, other._sent = world, {}
        return other

    def send(self, source: str, flow: Flow, *, exercising: bool = True) -> Journey:
        """Return what becomes of a flow that a node sends; raises KeyError for an unknown node.

        ``exercising``: and what it goes through, with the route that a crafted frame stands for, and with
        what kernels say to answers.
        """
        key = (source, flow, exercising)
        found = self._sent.get(key)
        if found is None:
            follow = self._exercised if exercising else self.follow
            found = self._sent[key] = follow(source, flow)
        return found

    def follow(self, source: str, flow: Flow) -> Journey:
        """Do as `send` without ``exercising``; nothing is remembered."""
        return self._journey(source, flow, self._walked(source, flow))

    def _exercised(self, source: str, flow: Flow) -> Journey:
        walk = self._walked(source, flow)
        self._used_route(walk)
        after = walk.aftermath()
        used = frozenset(item for item in walk.used if item is not None)
        return self._journey(source, flow, walk, used, after)

    def _walked(self, source: str, flow: Flow) -> Walk:
        walk = Walk(self.world)
        device = self._devices.get((source, flow.out_nic), flow.out_nic)
        if source in self._guests:
            self._from_guest(walk, source, device, flow)
        else:
            space = self.world.spaces[source]
            try:
                self._from_space(walk, space, device, flow)
            except Unknown as why:
                walk.doubt(space, str(why), _payload(flow, _NO_MAC, 0))
        walk.run()
        return walk

    def _journey(
        self,
        source: str,
        flow: Flow,
        walk: Walk,
        used: frozenset[Item] = frozenset(),
        after: frozenset[Item] | None = frozenset(),
    ) -> Journey:
        is_host = source in self.world.spaces and self.world.spaces[source].kind == "host"
        return Journey(
            source,
            is_host,
            flow,
            tuple(walk.hops),
            tuple(walk.arrivals),
            tuple(walk.doubts),
            walk.looped,
            used,
            after,
        )

    def _from_guest(self, walk: Walk, source: str, device: str, flow: Flow) -> None:
        guest = next((g for g in self._guests[source] if g.device == device), self._guests[source][0])
        payload = _payload(flow, guest.mac, 0)
        frame = Frame(guest.mac, flow.next_hop_mac or _group_mac(payload), payload)
        space = self.world.spaces[guest.host]
        if not frame.destination:
            raise KeyError(f"{source}: a guest's flow names the MAC that it goes to")
        walk.queue.append((space, space.devices[guest.device], frame))

    def _from_space(self, walk: Walk, space: Space, device: str, flow: Flow) -> None:
        packet = _payload(flow, _NO_MAC, 0)
        mac = flow.next_hop_mac or _group_mac(packet)
        if mac:
            name = device or space.fib(flow.family.version).device_sharing(int(flow.destination_address))
            self._crafted(walk, space, space.devices[name], flow, mac)
            return
        assert isinstance(packet, Packet)
        if flow.source_address is None:
            own = _own_source(space, packet, device)
            if own is None:
                walk.note(space, "route", "no route, or no address to send from", "no route", packet)
                return
            packet = replace(packet, source=own)
        ip.send(walk, space, packet, device)

    def _crafted(self, walk: Walk, space: Space, device: Device, flow: Flow, mac: str) -> None:
        """Send a frame as a packet socket does: by the device, past the namespace's own IP."""
        own = space.fib(flow.family.version).of_device(device.name)
        payload = _payload(flow, device.mac, own[0].address if own else 0)
        size = 0 if isinstance(payload, Arp) or payload.fragmented else payload.size
        if size > device.mtu:
            walk.note(space, "mtu", f"{device.name} takes {device.mtu} bytes", "drop", payload)
            return
        walk.note(space, "send", f"{device.name} to {mac}", "send", payload)
        walk.crafted = space, device, Frame(device.mac, mac, payload)
        ethernet.transmit(walk, *walk.crafted)

    def _used_route(self, walk: Walk) -> None:
        """Write down the sender's route where a crafted frame goes to the router that it names."""
        if walk.crafted is None:
            return
        space, device, frame = walk.crafted
        payload = frame.payload
        if isinstance(payload, Arp) or payload.is_group:
            return
        asking = Walk(self.world)  # nobody asks in truth: what the question would go through is not used
        with suppress(Unknown):
            way = space.way(payload.version, payload.destination, asked=Asked(payload.source))
            if way is None or way.item is None or way.device != device.name:
                return
            if neighbour.resolve(asking, space, device, payload, way.next_hop) == frame.destination:
                walk.used.append(way.item)


def _own_source(space: Space, packet: Packet, device: str) -> int | None:
    fib = space.fib(packet.version)
    if fib.is_local(packet.destination, device):
        return packet.destination
    way = space.way_unless_barred(packet.version, packet.destination, device)
    own = fib.source_for(way, packet.destination) if way else None
    if way and own is not None:
        space.certain(packet.version, packet.destination, device, way, own)
    return own


def _group_mac(payload: Packet | Arp) -> str:
    if isinstance(payload, Arp):
        return BROADCAST_MAC
    return group_mac(payload.version, payload.destination) if payload.is_group else ""


def _payload(flow: Flow, mac: str, fallback: int) -> Packet | Arp:
    """Return the first packet of a flow."""
    version, target = flow.family.version, int(flow.destination_address)
    source = int(flow.source_address) if flow.source_address is not None else fallback
    if flow.protocol is Protocol.RESOLUTION and version == 4:
        return Arp(1, mac, source, _NO_MAC, target)
    if flow.protocol is Protocol.RESOLUTION:
        group = solicited_node(target)
        return Packet(6, source, group, ICMP6, kind=SOLICITATION, ttl=_ND_HOP_LIMIT, target=target)
    icmp = ICMP if version == 4 else ICMP6
    protocol = _PROTOCOLS.get((flow.protocol, version), icmp)
    advertises = flow.special is Special.ADVERTISEMENT
    first = FIN if flow.special is Special.UNTRACKED else SYN
    kind = {TCP: first, UDP: 0}.get(protocol, ECHO_REQUEST[version])
    return Packet(
        version,
        source,
        target,
        protocol,
        flow.source_port,
        0 if protocol == icmp else flow.destination_port,
        ROUTER_ADVERTISEMENT if advertises else kind,
        _ND_HOP_LIMIT if advertises else flow.ttl,
        flow.size,
        flow.special is Special.FRAGMENTS,
        wants_answer=flow.answer,
    )
