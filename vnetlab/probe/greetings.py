"""Whom a station tells where it is, so that bridges learn it before packets fly. Pure.

What is said to everybody becomes as many frames as a link has ports: N machines that say so make N x N. So
one machine on each bridge of a link says it to everybody, and all others say it to these machines: on its way
to them it crosses every bridge that lies between any two machines. Where such a machine is not known after
all, its bridge floods, and everybody is told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.probe.frames import gratuitous

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnetlab.probe.flight import Point, Station
    from vnetlab.probe.places import Places, Plug
    from vnetlab.topology.model import Lan

FEW = 4
"""A link with less than so many points for each of its bridges is told by broadcast."""


def greeting(places: Places, stations: Iterable[Station]) -> tuple[Station, ...]:
    """Return stations whose points know whom they tell where they are."""
    found = tuple(stations)
    plugs = {(s.name, p): places.plug(s.name, p.labels[0]) for s in found for p in s.points if p.announces}
    first: defaultdict[Lan, dict[tuple[str, str], bytes]] = defaultdict(dict)
    for (_, point), plug in plugs.items():
        first[plug.lan].setdefault(plug.bridge, point.mac)
    points = Counter(plug.lan for plug in plugs.values())
    told = {lan: tuple(macs.values()) for lan, macs in first.items() if FEW * len(macs) <= points[lan]}

    def told_by(station: Station, point: Point) -> Point:
        plug: Plug | None = plugs.get((station.name, point))
        macs = told.get(plug.lan, ()) if plug else ()
        return point if point.mac in macs else replace(point, told=macs)

    return tuple(replace(s, points=tuple(told_by(s, point) for point in s.points)) for s in found)


def announcements(point: Point, *, widely: bool) -> Iterator[bytes]:
    """Yield the frames by which a point tells where it is: if it tells everybody, or if it tells some."""
    if widely is bool(point.told):
        return
    for address in point.addresses[:1]:
        for mac in point.told or (b"",):
            yield gratuitous(point.mac, address, mac)
