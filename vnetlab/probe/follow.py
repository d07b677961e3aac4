"""One packet sent and followed: captures in every namespace on its way, and what nftables says of it there.

The wire sends it as it sends the packets of every flight. `follow` runs inside the lab; all that it opens is
of sockets, and ends with the process at the latest.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack
from struct import unpack_from
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vnetlab.kernel.trace import Hooks, Traced, Tracer
from vnetlab.probe.flight import Block, Flight, Kind, Log, Role, Sighting
from vnetlab.probe.frames import WANTED
from vnetlab.probe.posts import (
    DONTWAIT,
    ETH_P_ALL,
    HEADERS,
    PACKET_STATISTICS,
    SOL_PACKET,
    enlarge,
)
from vnetlab.probe.reading import Reader
from vnetlab.probe.trial import plan_flight
from vnetlab.probe.wire import Spaces, fly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.guarantees import Guarantee
    from vnetlab.topology.model import Topology

PRELOAD = ("vnetlab.probe.follow", "vnetlab.probe.templates", "vnetlab.kernel.read")
_OTHERHOST, _OUTGOING = 3, 4
"""PACKET_OTHERHOST and PACKET_OUTGOING (linux/if_packet.h)."""
_SO_TIMESTAMPNS = 35
_ANCILLARY = 64
_IPV4_HEADER, _IPV6_HEADER, _ICMP_HEADER = 20, 40, 8


class Order(Struct, frozen=True):
    """What is to be sent, and where to look for it."""

    flight: Flight
    nonce: int
    watched: tuple[str, ...]
    """Namespaces to capture in, all devices of each."""
    traced: tuple[tuple[str, Hooks], ...]
    """Namespaces with chains to follow it through."""


class Seen(Struct, frozen=True):
    """A frame of the flight at a device."""

    space: str
    device: str
    outgoing: bool
    addressed: bool
    """It was for this device, or for a group."""
    nanoseconds: int
    """The kernel's clock when it was seen (CLOCK_REALTIME)."""
    sighting: Sighting


class Followed(Struct, frozen=True):
    """Everything that was seen."""

    log: Log
    seen: tuple[Seen, ...]
    """In the order of the kernel's stamps."""
    traced: tuple[tuple[str, Traced], ...]
    """By namespace, each in its order."""
    lost: tuple[str, ...]
    """Namespaces where something was lost before it could be read."""


def single(topology: Topology, guarantee: Guarantee) -> Flight:
    """Return the flight of one packet and nothing else. Pure."""
    flight = plan_flight(topology, (guarantee,))
    stations = tuple(s for s in flight.stations if s.role is not Role.PORTS)
    names = tuple(station.name for station in stations)
    return replace(
        flight,
        shots=flight.shots[:1],
        stations=stations,
        blocks=(Block((0,), names),),
        controls=(),
        introductions=0,
    )


def tag_matches(flight: Flight, nonce: int) -> tuple[str, ...]:
    """Return nft expressions for the packet of a flight, its answer, and ICMP errors that quote it. Pure.

    The tag is where frames.py writes it; translation of addresses and ports leaves it alone.
    """
    shot = flight.shots[0]
    icmp = "icmp" if shot.version == 4 else "icmpv6"
    quoted = _ICMP_HEADER + (_IPV4_HEADER if shot.version == 4 else _IPV6_HEADER)
    if shot.kind is Kind.TCP:
        return (
            f"meta l4proto tcp {_word(4)} {nonce}",
            f"meta l4proto tcp {_word(8)} {(nonce + 1) & 0xFFFF_FFFF}",
            f"meta l4proto {icmp} {_word(quoted + 4)} {nonce}",
        )
    if shot.kind is Kind.UDP:
        # The second word of the tag tells the question from its answer, which may be quoted too.
        wanted = WANTED if shot.wants_answer else 0
        quote = f"{_word(quoted + 8)} {nonce} {_word(quoted + 12)} {wanted}"
        return (f"meta l4proto udp {_word(8)} {nonce}", f"meta l4proto {icmp} {quote}")
    asks = 8 if shot.version == 4 else 128
    quote = f"@th,{quoted * 8},8 {asks} {_word(quoted + 8)} {nonce}"
    return (f"meta l4proto {icmp} {_word(8)} {nonce}", f"meta l4proto {icmp} {quote}")


def _word(offset: int) -> str:
    """Return nft's expression for the 32 bits behind so many bytes of the transport header."""
    return f"@th,{offset * 8},32"


def follow(spaces: Spaces, order: Order) -> Followed:
    """Send and follow. Raises FeatureUnavailable and KernelError; what cannot be manned is in the log."""
    name = f"vnetlab-explain-{order.nonce:08x}"
    matches = tag_matches(order.flight, order.nonce)
    with ExitStack() as stack:
        reader = Reader(order.nonce, order.flight.shots, {})
        captures: list[_Capture] = []
        tracers: list[tuple[str, Tracer]] = []
        for space in order.watched:
            with spaces.inside(space):
                captures.append(_Capture(space, reader))
            stack.callback(captures[-1].close)
        for space, hooks in order.traced:
            with spaces.inside(space):
                tracers.append((space, Tracer(name, matches, hooks)))
            stack.callback(tracers[-1][1].close)
        log = fly(spaces, order.flight, order.nonce)
        seen = sorted((s for c in captures for s in c.read()), key=lambda s: s.nanoseconds)
        traced = tuple((space, event) for space, tracer in tracers for event in tracer.read())
        lost = {c.space for c in captures if c.lost()} | {space for space, t in tracers if t.lost}
        return Followed(log, tuple(seen), traced, tuple(sorted(lost)))


class _Capture:
    """All frames in and out of every device of one namespace, from the moment it is made."""

    def __init__(self, space: str, reader: Reader) -> None:
        self.space = space
        self._reader = reader
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        enlarge(self._socket)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def read(self) -> Iterator[Seen]:
        """Yield the frames that belong to the flight."""
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(HEADERS, _ANCILLARY, DONTWAIT)
            except BlockingIOError:
                return
            device, kind = address[0], address[2]
            sighting = self._reader.frame(data, 0, device, b"")
            if sighting is None or device == "lo":
                continue
            seconds, nanoseconds = unpack_from("@qq", ancillary[0][2]) if ancillary else (0, 0)
            stamp = seconds * 1_000_000_000 + nanoseconds
            yield Seen(self.space, device, kind == _OUTGOING, kind != _OTHERHOST, stamp, sighting)

    def lost(self) -> bool:
        """Tell whether frames found the buffer full."""
        raw = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return bool(unpack_from("@II", raw)[1])

    def close(self) -> None:
        self._socket.close()
