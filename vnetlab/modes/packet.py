"""A packet on its journey through the topology, and where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from vnetlab.guarantees import Outcome
    from vnetlab.modes.world import Hop
    from vnetlab.topology.model import IPAddress


class Packet(Struct, frozen=True):
    """The fields of a packet that decide its way."""

    source: IPAddress
    destination: IPAddress
    protocol: str = ""
    port: int = 0
    """Destination port, where the protocol has one."""
    ttl: int = 64
    size: int = 0
    """Bytes of the whole packet; 0: smaller than any MTU."""
    answer: bool = False
    """It answers a flow that was let through."""
    restored: tuple[str, IPAddress] | None = None
    """Of an answer: the host that gives it its source back, and that source."""


class Fate(Struct, frozen=True):
    """Where a packet ended and how it looked there."""

    outcome: Outcome
    node: str
    """Who received, rejected or swallowed it."""
    packet: Packet
    arrived: Hop | None = None
    """The last frame, where it was delivered."""
    error: str = ""
    error_from: IPAddress | None = None
    translations: tuple[tuple[str, IPAddress], ...] = ()
    """Hosts that gave it an address of their own as source, in order, and the source it had before."""
    handed_by: str = ""
    """Host that handed it on to a VM, as a forward says."""
    asked: IPAddress | None = None
    """What it was addressed to before that."""
    crossed: tuple[str, ...] = ()
    """Hosts and routers that forwarded it, in order."""
    unresolved: bool = False
    """Nobody has the next hop's address; what happens then is a matter of timers."""


class Step(Struct, frozen=True):
    """What a host or router did with a packet: the packet as it leaves, and its next frame."""

    packet: Packet
    hop: Hop
    translated: bool = False
    handed: bool = False
