"""Controls: what shows that a sender sends and a receiver sees, where the guarantees allow them
nothing.

A denied flow proves something only if its sender and its receiver work. Mostly other flows of the
flight show that. A NIC that may talk to nobody is shown to work from the port that it is plugged
into.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.guarantees import Guarantee, Outcome
from vnetlab.probe.exits import packed_mac
from vnetlab.probe.flight import Control, Kind, Point, Role, Shot, Station
from vnetlab.probe.places import LOOPBACK, PORTS, Places

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnetlab.topology.model import Nic

REACHED = (Outcome.DELIVERED, Outcome.REFUSED)
LINK_LOCAL_GROUP = bytes.fromhex("0180c200000e")
"""A bridge keeps frames for this group to itself (IEEE 802.1Q table 8-1), so the control floods
nowhere.
"""
CONTROL_PORT = 9
"""The discard port (RFC 863): what arrives there asks for no answer."""

_LOOPBACKS = {4: bytes([127, 0, 0, 1]), 6: bytes(15) + b"\x01"}


def sender_of(guarantee: Guarantee) -> tuple[str, str]:
    """Return the node, and its NIC if the flow names one, that has to be shown to send."""
    return guarantee.source, guarantee.flow.out_nic


def receiver_of(places: Places, guarantee: Guarantee) -> tuple[str, str]:
    """Return the node, and its NIC where that is known, that has to be shown to receive."""
    node = guarantee.destination
    if guarantee.seen and guarantee.seen.nic:
        return node, guarantee.seen.nic
    return node, places.nic_holding(node, guarantee.flow.destination_address.packed)


def add_controls(
    places: Places, guarantees: Iterable[Guarantee], shots: list[Shot], before: int
) -> tuple[Control, ...]:
    """Append the control shots that the guarantees need to ``shots``; return the controls.

    The flight has so many other shots ``before`` them.
    """
    able: set[tuple[str, str, bool]] = set()
    needed: dict[tuple[str, str, bool], None] = {}
    for guarantee in guarantees:
        reached = guarantee.expected in REACHED
        ends = ((*sender_of(guarantee), True), (*receiver_of(places, guarantee), False))
        for node, named, sends in ends:
            nic = "" if places.is_host(node) else named
            if reached:
                able |= {(node, nic, sends), (node, "", sends)}
            else:
                needed[node, nic, sends] = None
    controls: list[Control] = []
    for node, nic, sends in needed:
        if (node, nic, sends) not in able:
            controls += _controls(places, node, nic, sends, shots)
            able |= {(node, nic, sends)}
    return tuple(replace(control, shot=control.shot + before) for control in controls)


def _controls(places: Places, node: str, nic: str, sends: bool, shots: list[Shot]) -> Iterable[Control]:
    if places.is_host(node):
        yield from _loopback(node, sends, shots)
        return
    for own in places.nics(node):
        if nic in ("", own.name):
            yield _port_control(places, node, own, sends, shots)


def _loopback(node: str, sends: bool, shots: list[Shot]) -> Iterable[Control]:
    """Show that a host's raw sockets work by a packet to itself."""
    for version, address in _LOOPBACKS.items():
        shots.append(Shot(node, Kind.UDP, version, "", b"", address, address, 9, CONTROL_PORT))
        yield Control(len(shots) - 1, node, "", sends, seen_at=node, seen_nic=LOOPBACK)


def _port_control(places: Places, node: str, nic: Nic, sends: bool, shots: list[Shot]) -> Control:
    space, device = places.far_end(node, nic)
    ports = PORTS + space
    if sends:
        shots.append(Shot(node, Kind.CONTROL, 4, nic.name, LINK_LOCAL_GROUP, b"", b""))
        return Control(len(shots) - 1, node, nic.name, sends, seen_at=ports, seen_nic=device)
    shots.append(Shot(ports, Kind.CONTROL, 4, device, packed_mac(nic.mac), b"", b""))
    return Control(len(shots) - 1, node, nic.name, sends, seen_at=node, seen_nic=nic.name)


def port_stations(
    places: Places, controls: Iterable[Control], shots: list[Shot], before: int
) -> tuple[Station, ...]:
    """Return the stations at the far ends of NICs that the controls use."""
    devices: dict[str, dict[str, Point]] = {}
    for control in controls:
        far = control.seen_at if control.sends else shots[control.shot - before].station
        if not far.startswith(PORTS):
            continue
        nic = next(n for n in places.nics(control.node) if n.name == control.nic)
        _, device = places.far_end(control.node, nic)
        point = Point(device, (device,), packed_mac("02:00:00:00:00:01"), (), False)
        devices.setdefault(far, {})[device] = point
    return tuple(
        Station(far, far.removeprefix(PORTS), Role.PORTS, tuple(points.values()))
        for far, points in devices.items()
    )
