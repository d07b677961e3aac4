"""Frames: into a device, through a bridge, out of a device.

A bridge knows where every MAC is (`World.towards`): whoever has one is taken to have spoken before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.predict import guest, ip, neighbour
from vnetlab.predict.packet import BROADCAST_MAC, Arp, Frame
from vnetlab.predict.passage import BROADCAST, HOST, MULTICAST, OTHER, Passage, Unknown
from vnetlab.predict.walk import Arrival

if TYPE_CHECKING:
    from vnetlab.predict.space import Device, Space
    from vnetlab.predict.walk import Walk

_VLAN_HEADER = 4
"""A device takes frames that are this much longer than its MTU allows (`is_skb_forwardable`)."""
_KEPT = "01:80:c2:00:00:0"
"""Groups that a bridge never forwards (IEEE 802.1Q, table 8-1)."""


def receive(walk: Walk, space: Space, device: Device, frame: Frame) -> None:
    """Take a frame that came in by a device. Raises Unknown."""
    _check(space)
    if _is_down(walk, space, device, frame):
        return
    if _too_long(walk, space, device, frame):
        return
    walk.used.append(device.entered)
    kind = _packet_type(device, frame)
    if device.kind != "loopback":
        addressed = kind != OTHER
        seen = Arrival(space.name, device.name, False, addressed, frame.source, frame.payload, len(walk.hops))
        walk.arrivals.append(seen)
    if space.hooks.has_device("ingress", device.name):
        passage = _passage(space, frame, kind, "netdev", iif=device.name)
        if walk.device_hook("ingress", device.name, passage):
            return
    if device.master:
        _into_bridge(walk, space, device, frame, kind)
    else:
        _up(walk, space, device, frame, kind)


def _check(space: Space) -> None:
    if space.beyond:
        raise Unknown(space.beyond)


def _is_down(walk: Walk, space: Space, device: Device, frame: Frame) -> bool:
    if not device.up:
        walk.note(space, "device", f"{device.name} is down", "drop", frame.payload)
    return not device.up


def _packet_type(device: Device, frame: Frame) -> int:
    if frame.destination == device.mac:
        return HOST
    if frame.destination == BROADCAST_MAC:
        return BROADCAST
    return MULTICAST if frame.is_group else OTHER


def _passage(space: Space, frame: Frame, kind: int, family: str, iif: str = "", oif: str = "") -> Passage:
    return Passage(space, frame.payload, iif, oif, frame, kind, family)


def _too_long(walk: Walk, space: Space, device: Device, frame: Frame) -> bool:
    payload = frame.payload
    if isinstance(payload, Arp) or payload.fragmented or payload.size <= device.mtu + _VLAN_HEADER:
        return False
    walk.note(space, "mtu", f"{device.name} takes {device.mtu} bytes", "drop", payload)
    return True


def _up(walk: Walk, space: Space, device: Device, frame: Frame, kind: int) -> None:
    """Hand a frame to the namespace's own protocols."""
    if kind == OTHER:
        walk.note(space, "device", f"{device.name}: for {frame.destination}", "drop", frame.payload)
    elif isinstance(frame.payload, Arp):
        neighbour.arp_input(walk, space, device, frame, frame.payload)
    else:
        ip.receive(walk, space, device, frame, frame.payload, kind)


def _into_bridge(walk: Walk, space: Space, port: Device, frame: Frame, kind: int) -> None:
    if frame.destination.startswith(_KEPT):
        walk.note(space, "bridge", f"{port.master} keeps {frame.destination}", "drop", frame.payload)
        return
    if walk.family_hook("bridge", "prerouting", _passage(space, frame, kind, "bridge", port.name)):
        return
    bridge = space.devices[port.master]
    if bridge.kind != "bridge":
        raise Unknown(f"{port.name} is a part of {bridge.name}, which is no bridge")
    if _is_down(walk, space, bridge, frame):
        return
    if frame.is_group:
        _spread(walk, space, port, space.ports[bridge.name], frame)
        _to_host(walk, space, bridge, port, frame)
        return
    if frame.destination in space.bridge_macs[bridge.name]:
        _to_host(walk, space, bridge, port, frame)
        return
    _spread(walk, space, port, _ports_towards(walk, space, bridge, frame), frame)


def _ports_towards(walk: Walk, space: Space, bridge: Device, frame: Frame) -> tuple[Device, ...]:
    found = walk.world.towards(space, bridge.name, frame.destination)
    if len(found) > 1:
        raise Unknown(f"{frame.destination} is behind several ports of {bridge.name}")
    return found or space.ports[bridge.name]


def _to_host(walk: Walk, space: Space, bridge: Device, port: Device, frame: Frame) -> None:
    kind = _packet_type(bridge, frame)
    passage = _passage(space, frame, kind, "bridge", port.name)
    if walk.family_hook("bridge", "input", passage):
        return
    receive(walk, space, bridge, frame)


def _spread(walk: Walk, space: Space, port: Device, ports: tuple[Device, ...], frame: Frame) -> None:
    """Forward a frame from one port to others."""
    for other in ports:
        if other is port or other.name == port.name:
            continue
        if other.isolated and port.isolated:
            thing = f"{port.name} and {other.name} are isolated"
            walk.note(space, "bridge", thing, "drop", frame.payload)
            continue
        passage = _passage(space, frame, HOST, "bridge", port.name, other.name)
        if walk.family_hook("bridge", "forward", passage):
            continue
        _out_of_port(walk, space, other, passage, frame)


def _out_of_port(walk: Walk, space: Space, port: Device, passage: Passage, frame: Frame) -> None:
    if walk.family_hook("bridge", "postrouting", passage) or _too_long(walk, space, port, frame):
        return
    walk.note(space, "bridge", f"{port.master} to {port.name}", "forward", frame.payload)
    transmit(walk, space, port, frame)


def transmit(walk: Walk, space: Space, device: Device, frame: Frame) -> None:
    """Send a frame out of a device. Raises Unknown."""
    _check(space)
    if _is_down(walk, space, device, frame):
        return
    if space.hooks.has_device("egress", device.name):
        passage = _passage(space, frame, HOST, "netdev", oif=device.name)
        if walk.device_hook("egress", device.name, passage):
            return
    if device.kind == "bridge":
        _from_host(walk, space, device, frame)
        return
    walk.used.append(device.left)
    _leave(walk, space, device, frame)


def _from_host(walk: Walk, space: Space, bridge: Device, frame: Frame) -> None:
    """Send a frame of the host's own into its bridge."""
    ports = space.ports[bridge.name] if frame.is_group else _ports_towards(walk, space, bridge, frame)
    for port in ports:
        passage = _passage(space, frame, HOST, "bridge", oif=port.name)
        if walk.family_hook("bridge", "output", passage):
            continue
        _out_of_port(walk, space, port, passage, frame)


def _leave(walk: Walk, space: Space, device: Device, frame: Frame) -> None:
    if device.kind == "veth":
        far, name = device.peer
        space_there = walk.world.spaces.get(far)
        there = space_there.devices.get(name) if space_there else None
        if space_there is None or there is None:
            raise Unknown(f"{device.name} leads to {far}: {name}, which the state does not have")
        walk.queue.append((space_there, there, frame))
    elif device.kind == "loopback":
        walk.queue.append((space, device, frame))
    elif device.kind == "tap":
        behind = walk.world.guests.get((space.name, device.name))
        if behind is None:
            walk.note(space, "device", f"nobody is behind {device.name}", "drop", frame.payload)
            return
        for tap, answer in guest.answers(walk, behind, frame):
            walk.queue.append((space, space.devices[tap], answer))
    else:
        raise Unknown(f"{device.name} leads out of the state")
