"""The vocabulary between planner, wire and judge: what is sent from where, and what was seen where.

A Flight holds no expectation, so the wire cannot retry until it agrees. Addresses and MACs are
packed bytes in network order here, since tens of thousands of them cross a process border and the
kernel's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(IntEnum):
    """What a shot is made of."""

    ARP = 1
    """An ARP request (RFC 826)."""
    NS = 2
    """A neighbour solicitation (RFC 4861)."""
    ICMP = 3
    """An echo request of the family's ICMP."""
    TCP = 4
    """A SYN."""
    UDP = 5
    DHCP = 6
    """A BOOTP discover (RFC 2131), or a DHCPv6 solicit (RFC 8415)."""
    RA = 7
    """A router advertisement with a default route and a prefix of its own."""
    FIN = 9
    """A FIN without ACK, which no kernel sends and which opens no connection (RFC 9293, 3.10.7)."""
    CONTROL = 8
    """A frame of the ethertype for local experiments, which no protocol stack touches."""


class Role(StrEnum):
    """How a station sends and sees."""

    MACHINE = "machine"
    """A namespace with NICs: frames in and out of each NIC; its kernel gives the answers."""
    GUEST = "guest"
    """The machine behind a tap: the Scapy guest reads, answers and writes frames."""
    HOST = "host"
    """A hypervisor host: packets after its own filters, through raw IP sockets."""
    PORTS = "ports"
    """The far ends of NICs, for controls only."""


class Point(Struct, frozen=True):
    """A device of a station."""

    device: str
    """Kernel name in the station's namespace."""
    labels: tuple[str, ...]
    """Names in words of the topology: a NIC, or ``network:NAME``. The first is shown."""
    mac: bytes
    addresses: tuple[bytes, ...] = ()
    announces: bool = True
    """Bridges beyond it have to learn where it is."""
    told: tuple[bytes, ...] = ()
    """MACs of those that it tells so; empty: it tells everybody."""


class Exit(Struct, frozen=True):
    """A subnet or route of a guest."""

    prefix: bytes
    length: int
    nic: str
    mac: bytes = b""
    """Of the next hop; empty where the prefix is on the link."""


class Wide(NamedTuple):
    """Which datagrams to everybody on a link a station need not see: its verdicts ask for others."""

    below: int
    """Shots of lower numbers are such datagrams."""
    judged: tuple[int, ...]
    """Those of them that are judged here."""


class Station(Struct, frozen=True):
    """A place where sockets are opened."""

    name: str
    """The node's name; ``ports:NAMESPACE`` for the far ends of NICs."""
    space: str
    """The namespace that its sockets are opened in."""
    role: Role
    points: tuple[Point, ...]
    asked: tuple[bytes, ...] = ()
    """Addresses that shots resolve here; requests for any others are no business of the flight."""
    groups: tuple[tuple[str, bytes], ...] = ()
    """Devices and the multicast groups to join by each, to be told of them (hosts only)."""
    exits: tuple[Exit, ...] = ()
    """Where a guest may send to: its own subnets and routes."""
    neighbours: tuple[tuple[str, bytes, bytes], ...] = ()
    """NIC, address and MAC of a guest's neighbours, where it has several NICs to answer by."""
    wide: Wide | None = None
    """Where every node of a link speaks to all: what of it is of no concern here."""
    captures: bool = True
    """Frames are captured at its points; a host does without where nothing asks for them."""


class Shot(Struct, frozen=True):
    """One packet to send; its index in the flight is its number."""

    station: str
    kind: Kind
    version: int
    """4 or 6."""
    nic: str
    """Label of the point it leaves by; empty: the kernel chooses."""
    mac: bytes
    """Destination of the frame; empty: the kernel's own routing and neighbours."""
    source: bytes
    """Empty: the kernel chooses."""
    destination: bytes
    source_port: int = 0
    """Port, or identifier of an echo."""
    destination_port: int = 0
    ttl: int = 64
    size: int = 0
    """Whole IP packet in bytes, before it is cut into fragments; 0: as small as it comes."""
    fragments: bool = False
    wants_answer: bool = True


@dataclass(frozen=True, slots=True)
class Listener:
    """A port that has to be open at a station while the flight lasts."""

    station: str
    protocol: str
    """``tcp`` or ``udp``."""
    port: int
    answers: bool = field(default=True, compare=False)
    """Some flow asks for an answer there; else what arrives need not be read."""


class Control(Struct, frozen=True):
    """A shot that proves that a NIC can send, or receive, where the guarantees allow it nothing."""

    shot: int
    node: str
    nic: str
    sends: bool
    """True: proves that ``node`` sends; False: that it receives."""
    seen_at: str
    """Station that has to see it."""
    seen_nic: str
    """Label of the point that has to see it; empty: any."""


class Block(Struct, frozen=True):
    """Shots that are sent one after the other."""

    shots: tuple[int, ...]
    stations: tuple[str, ...]
    """Who resolves whom while it flies, and forgets it afterwards if another block follows."""


class Flight(Struct, frozen=True):
    """All that happens between opening the sockets and closing them."""

    stations: tuple[Station, ...]
    shots: Sequence[Shot]
    shot_of: tuple[int, ...]
    """For each guarantee, in their order, the number of its shot."""
    blocks: tuple[Block, ...]
    listeners: tuple[Listener, ...] = ()
    controls: tuple[Control, ...] = ()
    introductions: int = 0
    """So many shots at the end are questions that nobody judges: by them answerers know who asks."""
    watched: tuple[str, ...] = ()
    """Stations whose IPv6 routes are read after the flight, for what router advertisements did."""
    vacant: frozenset[bytes] = frozenset()
    """Addresses that nobody has and that kernels may ask for: one question is enough."""
    linger: float = 0.15
    """Seconds of quiet after which the flight is over."""


class What(IntEnum):
    """What a sighting is, in relation to its shot."""

    REQUEST = 1
    """The shot itself."""
    ANSWER = 2
    """Echo reply, SYN-ACK, UDP answer, ARP reply or neighbour advertisement."""
    RESET = 3
    """A TCP reset that acknowledges the shot."""
    ERROR = 4
    """An ICMP error that quotes the shot."""
    PASSED = 5
    """The shot at a device of a host, before the host's filters: no delivery."""


ELSEWHERE = "?"
"""Where a host receives what comes by a device that is none of its points."""


class Sighting(NamedTuple):
    """Something seen that belongs to a shot.

    A named tuple, since tens of thousands of them are made while packets wait.
    """

    shot: int
    station: int
    """Index into the flight's stations."""
    what: int
    """A What."""
    nic: str
    """First label of the point that it arrived at, or ELSEWHERE."""
    addressed: bool
    """The frame was for this NIC (or for a group), not just flooded past it."""
    source: bytes
    destination: bytes
    mac: bytes
    """Source of the frame; of an ARP or ND answer, the address that it tells. Empty: not seen
    there.
    """
    ttl: int
    source_port: int = 0
    destination_port: int = 0
    icmp: int = 0
    """Of an error: type * 256 + code."""
    quoted: bytes = b""
    """Of an error: the source address in the packet that it quotes."""
    quoted_port: int = 0


class SendError(Struct, frozen=True):
    """A shot that the sending kernel did not take."""

    shot: int
    errno: int
    text: str


class Drop(Struct, frozen=True):
    """A counter of lost packets that moved during the flight."""

    where: str
    counter: str
    amount: int
    by_device: bool = False
    """A device of the lab dropped them, rather than a machine or a probe too slow to carry them."""


class Failure(Struct, frozen=True):
    """A station that could not be opened, or whose capture ended early."""

    station: str
    text: str
    in_flight: bool = False
    """It was open when the flight began."""


class Taken(Struct, frozen=True):
    """A port that the probe could not open on its own."""

    listener: Listener
    in_use: bool
    """A program of the user's has it; over TCP that program is the listener then."""
    text: str


class Log(Struct, frozen=True):
    """What the wire saw; no more than that."""

    sightings: Sequence[Sighting]
    send_errors: tuple[SendError, ...] = ()
    drops: tuple[Drop, ...] = ()
    failures: tuple[Failure, ...] = ()
    taken: tuple[Taken, ...] = ()
    sources: tuple[tuple[int, bytes], ...] = ()
    """Source addresses that kernels chose, by shot."""
    adopted: tuple[tuple[int, str, str], ...] = ()
    """Shot, station and route, where a router advertisement changed a watched station's routes."""
    unsettled: bool = False
    """Packets of the flight were still arriving at the deadline."""
