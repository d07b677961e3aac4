"""Frames: into a device, through a bridge, out of a device.

A bridge knows where every MAC is (`World.towards`): whoever has one is taken to have spoken before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.predict import guest, ip, neighbour
from vnetlab.predict.errors import refusal
from vnetlab.predict.packet import BROADCAST_MAC, Arp, Frame
from vnetlab.predict.passage import BROADCAST, HOST, MULTICAST, OTHER, Passage, Unknown
from vnetlab.predict.walk import Arrival

if TYPE_CHECKING:
    from vnetlab.predict.hooks import Stop
    from vnetlab.predict.space import Device, Space
    from vnetlab.predict.walk import Walk

_VLAN_HEADER = 4
"""A device takes frames that are this much longer than its MTU allows (`is_skb_forwardable`)."""
_KEPT = "01:80:c2:00:00:0"
"""Groups that a bridge never forwards (IEEE 802.1Q, table 8-1)."""


def receive(walk: Walk, space: Space, device: Device, frame: Frame, mark: int = 0) -> None:
    """Take a frame that came in by a device, with the mark that it has by then. Raises Unknown."""
    if space.beyond:
        raise Unknown(space.beyond)
    if not device.up:
        _note_down(walk, space, device, frame)
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
        passage = Passage(space, frame.payload, device.name, "", frame, kind, "netdev", mark)
        stop = walk.device_hook("ingress", device.name, passage)
        if stop:
            _reject(walk, space, device, passage, stop)
            return
        frame, mark = passage.framed, passage.mark
    if device.master:
        _into_bridge(
            walk, space, device, Passage(space, frame.payload, device.name, "", frame, kind, "bridge", mark)
        )
    else:
        _up(walk, space, device, frame, kind, mark)


def _reject(walk: Walk, space: Space, device: Device, passage: Passage, stop: Stop) -> None:
    """Say no at a device, back to where a frame came from (`nft_reject_netdev.c`)."""
    packet, frame = passage.packet, passage.frame
    if stop.reject is None or isinstance(packet, Arp) or frame is None:
        return
    if frame.is_group or packet.quoted is not None:
        return
    answer = refusal(stop.reject, packet)
    if answer is None:
        raise Unknown(f"reject with {stop.reject.kind} {stop.reject.code} of {packet}")
    transmit(walk, space, device, Frame(frame.destination, frame.source, answer))


def _note_down(walk: Walk, space: Space, device: Device, frame: Frame) -> None:
    walk.note(space, "device", f"{device.name} is down", "drop", frame.payload)


def _packet_type(device: Device, frame: Frame) -> int:
    if frame.destination == device.mac:
        return HOST
    if frame.destination == BROADCAST_MAC:
        return BROADCAST
    return MULTICAST if frame.is_group else OTHER


def _too_long(walk: Walk, space: Space, device: Device, frame: Frame) -> bool:
    payload = frame.payload
    if isinstance(payload, Arp) or payload.fragmented or payload.size <= device.mtu + _VLAN_HEADER:
        return False
    walk.note(space, "mtu", f"{device.name} takes {device.mtu} bytes", "drop", payload)
    return True


def _up(walk: Walk, space: Space, device: Device, frame: Frame, kind: int, mark: int) -> None:
    """Hand a frame to the namespace's own protocols."""
    if kind == OTHER:
        walk.note(space, "device", f"{device.name}: for {frame.destination}", "drop", frame.payload)
    elif isinstance(frame.payload, Arp):
        neighbour.arp_input(walk, space, device, frame, frame.payload)
    else:
        ip.receive(walk, space, device, frame, frame.payload, kind, mark)


def _into_bridge(walk: Walk, space: Space, port: Device, passage: Passage) -> None:
    frame = passage.frame
    assert frame is not None
    if frame.destination.startswith(_KEPT):
        walk.note(space, "bridge", f"{port.master} keeps {frame.destination}", "drop", frame.payload)
        return
    if frame.destination == space.devices[port.master].mac:
        passage.packet_type = HOST
    if walk.family_hook("bridge", "prerouting", passage):
        return
    frame = passage.framed
    bridge = space.devices[port.master]
    if bridge.kind != "bridge":
        raise Unknown(f"{port.name} is a part of {bridge.name}, which is no bridge")
    if not bridge.up:
        _note_down(walk, space, bridge, frame)
        return
    if frame.is_group:
        _spread(walk, space, port, space.ports[bridge.name], passage)
        _to_host(walk, space, bridge, passage)
    elif frame.destination in space.bridge_macs[bridge.name]:
        _to_host(walk, space, bridge, passage)
    else:
        _spread(walk, space, port, _ports_towards(walk, space, bridge, frame, port), passage)


def _ports_towards(
    walk: Walk, space: Space, bridge: Device, frame: Frame, port: Device | None = None
) -> tuple[Device, ...]:
    """Return the ports that a frame may leave by; ``port``: it came in there. Raises Unknown."""
    found = walk.world.towards(space, bridge.name, frame.destination)
    if len(found) > 1 and not (port and port.isolated and all(other.isolated for other in found)):
        raise Unknown(f"{frame.destination} is behind several ports of {bridge.name}")
    return found or space.ports[bridge.name]


def _to_host(walk: Walk, space: Space, bridge: Device, passage: Passage) -> None:
    if walk.family_hook("bridge", "input", passage):
        return
    receive(walk, space, bridge, passage.framed, passage.mark)


def _spread(walk: Walk, space: Space, port: Device, ports: tuple[Device, ...], passage: Passage) -> None:
    """Forward a frame from one port to others."""
    for other in ports:
        if other is port or other.name == port.name:
            continue
        if other.isolated and port.isolated:
            thing = f"{port.name} and {other.name} are isolated"
            walk.note(space, "bridge", thing, "drop", passage.packet)
            continue
        # Every way but the only one has its own copy.
        copy = passage.copied() if len(ports) > 1 else passage
        copy.oif = other.name
        if walk.family_hook("bridge", "forward", copy):
            continue
        _out_of_port(walk, space, other, copy)


def _out_of_port(walk: Walk, space: Space, port: Device, passage: Passage) -> None:
    # `br_forward_finish` tells the last hook nothing of where the frame came in.
    passage.iif = ""
    if walk.family_hook("bridge", "postrouting", passage):
        return
    frame = passage.framed
    if _too_long(walk, space, port, frame):
        return
    walk.note(space, "bridge", f"{port.master} to {port.name}", "forward", frame.payload)
    transmit(walk, space, port, frame, passage.mark, passage.packet_type)


def transmit(walk: Walk, space: Space, device: Device, frame: Frame, mark: int = 0, kind: int = HOST) -> None:
    """Send a frame out of a device, with its mark. Raises Unknown."""
    if space.beyond:
        raise Unknown(space.beyond)
    if not device.up:
        _note_down(walk, space, device, frame)
        return
    if space.hooks.has_device("egress", device.name):
        passage = Passage(space, frame.payload, "", device.name, frame, kind, "netdev", mark)
        if walk.device_hook("egress", device.name, passage):
            return
        frame, mark = passage.framed, passage.mark
    if device.kind == "bridge":
        _from_host(walk, space, device, frame, mark)
        return
    walk.used.append(device.left)
    _leave(walk, space, device, frame)


def _from_host(walk: Walk, space: Space, bridge: Device, frame: Frame, mark: int) -> None:
    """Send a frame of the host's own into its bridge."""
    ports = space.ports[bridge.name] if frame.is_group else _ports_towards(walk, space, bridge, frame)
    for port in ports:
        passage = Passage(space, frame.payload, "", port.name, frame, HOST, "bridge", mark)
        if walk.family_hook("bridge", "output", passage):
            continue
        _out_of_port(walk, space, port, passage)


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
