"""What can be observed of a packet on its way: a frame at a device, and what a chain said of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.predict.packet import TCP, UDP, Packet, Role, text

if TYPE_CHECKING:
    from vnetlab.predict.packet import Arp

_NAMES = {1: "icmp", TCP: "tcp", UDP: "udp", 58: "icmpv6"}


class What(StrEnum):
    """Kinds of event."""

    FRAME = "frame"
    """It came in by a device, before anything there judged it."""
    CHAIN = "chain"
    """A chain accepted or dropped it."""


class Header(Struct, frozen=True):
    """The fields of a packet that something on the way may change."""

    source: str
    destination: str
    source_port: int
    """Of an echo: its identifier. Of an ICMP error: 0."""
    destination_port: int
    ttl: int

    def __str__(self) -> str:
        return f"{self.between}, ttl {self.ttl}"

    @property
    def between(self) -> str:
        """Both ends, without the TTL."""
        ends = (self.source, self.source_port), (self.destination, self.destination_port)
        if not self.destination_port:
            source = "no address" if self.source in ("0.0.0.0", "::") else self.source  # noqa: S104
            return f"{source} > {self.destination}"
        return " > ".join(f"[{a}]:{p}" if ":" in a else f"{a}:{p}" for a, p in ends)


class Event(Struct, frozen=True):
    """One observable thing; equal where prediction and observation say the same."""

    what: What
    node: str
    """Namespace, or the node behind a tap."""
    thing: str
    """The device, or the chain and rule."""
    verdict: str
    """Of a chain: ``accept`` or ``drop``; of a frame empty."""
    role: str
    """``request``, ``answer``, ``reset`` or ``error``."""
    header: Header


def header_of(packet: Packet) -> Header:
    """Return the header of a packet of the model."""
    error = packet.role is Role.ERROR
    return Header(
        text(packet.version, packet.source),
        text(packet.version, packet.destination),
        0 if error else packet.source_port,
        0 if error else packet.destination_port,
        packet.ttl,
    )


def is_of_flow(payload: Packet | Arp) -> bool:
    """Tell the flow's own packets from ARP, and from errors about an answer, which nothing can tell apart."""
    if not isinstance(payload, Packet):
        return False
    return payload.quoted is None or payload.quoted.role is Role.REQUEST
