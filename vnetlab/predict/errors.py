"""ICMP errors and resets that a namespace sends about packets that it does not deliver.

When one is sent at all, and from which address: `icmp_send` and `icmp6_send` of the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.predict import ip, replies
from vnetlab.predict.packet import ICMP6, Packet, is_link_local
from vnetlab.predict.passage import HOST, Unknown

if TYPE_CHECKING:
    from vnetlab.predict.hooks import Stop
    from vnetlab.predict.passage import Passage
    from vnetlab.predict.rules import Reject
    from vnetlab.predict.space import Device, Space
    from vnetlab.predict.walk import Walk

_SOLICITED_KINDS = range(0x8500, 0x8A00)


def rejected(walk: Walk, device: Device, passage: Passage, stop: Stop, *, to_self: bool = False) -> None:
    """Say no as the rule that stopped a packet asks for. Raises Unknown."""
    reject = stop.reject
    if reject is None:
        return
    packet = passage.ip
    if reject.kind == "tcp":
        ip.send(walk, passage.space, replies.reset_of(packet), _device_towards(device, packet))
        return
    kind = replies.error_of(reject.kind, reject.code, packet.version)
    if kind is None:
        raise Unknown(f"reject with {reject.kind} {reject.code} of an IPv{packet.version} packet")
    send(walk, device, passage, kind, local=to_self)


def refusal(reject: Reject, packet: Packet) -> Packet | None:
    """Return the `reject` of a packet under the address that it was for; None where there is none."""
    if reject.kind == "tcp":
        return replies.reset_of(packet)
    kind = replies.error_of(reject.kind, reject.code, packet.version)
    return None if kind is None else replies.error(packet, packet.destination, kind)


def send(walk: Walk, device: Device, passage: Passage, kind: int, *, local: bool = False) -> None:
    """Send an ICMP error about a packet that came in by a device. ``local``: it was for this namespace."""
    space, packet = passage.space, passage.ip
    if passage.packet_type != HOST or not _may_be_told(space, packet):
        return
    source, routed_as = _source(space, device, packet, local=local)
    if source is None:
        return
    error = replies.error(packet, source, kind)
    ip.send(walk, space, error, _device_towards(device, packet), routed_as=routed_as)


def _may_be_told(space: Space, packet: Packet) -> bool:
    """Whether errors about the packet are allowed (RFC 1122, 3.2.2; RFC 4443, 2.4)."""
    if packet.quoted is not None or packet.is_group or not packet.source:
        return False
    if packet.protocol == ICMP6 and packet.kind in _SOLICITED_KINDS:
        return False
    fib = space.fib(packet.version)
    return packet.destination not in fib.broadcasts and not (
        packet.version == 4 and packet.source >> 28 == 0xE
    )


def _source(space: Space, device: Device, packet: Packet, *, local: bool) -> tuple[int | None, int | None]:
    """Return the source of an error, and the one that its route is looked up for; None: there is none."""
    fib = space.fib(packet.version)
    if local or (packet.version == 6 and fib.is_local(packet.destination, device.name)):
        return packet.destination, packet.destination
    if fib.is_local(packet.source, device.name):
        return packet.source, packet.source
    if packet.version == 6:
        # As the device that the packet came in by, so that traceroute shows the way (`icmp6_send`).
        own = fib.source_on(device.name, packet.source)
        return own, own
    way = space.way_unless_barred(4, packet.source)
    return fib.source_for(way, packet.source) if way else None, 0  # `icmp_route_lookup`


def _device_towards(device: Device, packet: Packet) -> str:
    """Return the device that a link-local source has to be answered by; else none in particular."""
    return device.name if packet.version == 6 and is_link_local(packet.source) else ""
