"""Conntrack of one namespace during one flow: entries, states, and addresses translated both ways.

The kernel's net/netfilter/nf_conntrack_core.c and nf_nat_core.c, for the packets that the model sends.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from vnetlab.predict.packet import (
    ECHO_REPLY,
    ICMP,
    ICMP6,
    SYN,
    TCP,
    UDP,
    Packet,
)

INVALID, ESTABLISHED, RELATED, NEW = 1, 2, 4, 8
_LEAST_ND, _MOST_ND = 0x8200, 0x8FFF
"""Multicast listener and neighbour discovery, which conntrack leaves alone (icmpv6 types 130 to 143)."""


class Tuple(Struct, frozen=True):
    """One direction of a flow."""

    version: int
    protocol: int
    source: int
    source_port: int
    destination: int
    destination_port: int

    @property
    def inverted(self) -> Tuple:
        """The other direction."""
        return Tuple(
            self.version,
            self.protocol,
            self.destination,
            self.destination_port,
            self.source,
            self.source_port,
        )


class Entry:
    """A flow that conntrack knows."""

    __slots__ = (
        "assured",
        "confirmed",
        "destination_done",
        "dnat",
        "drawn",
        "mark",
        "original",
        "replied",
        "reply",
        "snat",
        "source_done",
    )

    def __init__(self, original: Tuple) -> None:
        self.original = original
        self.reply = original.inverted
        self.snat = self.dnat = False
        self.mark = 0
        self.drawn: tuple[int, int] | None = None
        self.source_done = self.destination_done = False
        self.replied = self.confirmed = self.assured = False

    def translate_source(
        self, address: int | None, port: int | None, drawn: tuple[int, int] | None = None
    ) -> None:
        """Give the flow another source, as far as it is named; ``drawn``: a port of that range, by chance."""
        self.drawn = drawn
        before = self.reply
        self.reply = replace(
            before,
            destination=before.destination if address is None else address,
            destination_port=before.destination_port if port is None else port,
        )
        self.snat = self.snat or self.reply != before
        self.source_done = True

    def translate_destination(self, address: int | None, port: int | None) -> None:
        """Give the flow another destination, as far as it is named."""
        before = self.reply
        self.reply = replace(
            before,
            source=before.source if address is None else address,
            source_port=before.source_port if port is None else port,
        )
        self.dnat = self.dnat or self.reply != before
        self.destination_done = True


class Tracked(Struct, frozen=True):
    """What conntrack says of one packet."""

    state: int
    entry: Entry | None
    is_reply: bool = False


class Conntrack:
    """The table of one namespace."""

    def __init__(self) -> None:
        self._entries: dict[Tuple, tuple[Entry, bool]] = {}

    def track(self, packet: Packet) -> Tracked | None:
        """Return what conntrack says of a packet; None for one that it leaves alone."""
        if packet.protocol == ICMP6 and _LEAST_ND <= packet.kind <= _MOST_ND:
            return None
        if packet.quoted is not None:
            return self._related(packet, packet.quoted)
        key = tuple_of(packet)
        found = self._entries.get(key)
        if found is None:
            if not _may_begin(packet):
                return Tracked(INVALID, None)
            return Tracked(NEW, Entry(key))
        entry, is_reply = found
        if is_reply:
            entry.replied = True
        return Tracked(ESTABLISHED if is_reply or entry.replied else NEW, entry, is_reply)

    def _related(self, packet: Packet, quoted: Packet) -> Tracked:
        found = self._entries.get(tuple_of(quoted).inverted)
        if found is None:
            return Tracked(INVALID, None)
        entry, is_reply = found
        seen = entry.reply if is_reply else entry.original
        if packet.destination != seen.destination:
            return Tracked(INVALID, None)
        return Tracked(RELATED, entry, is_reply)

    def confirm(self, tracked: Tracked | None) -> None:
        """Keep the entry of a packet that got through (`nf_conntrack_confirm`)."""
        if tracked is None or tracked.entry is None or tracked.entry.confirmed or tracked.state != NEW:
            return
        entry = tracked.entry
        entry.confirmed = True
        self._entries.setdefault(entry.original, (entry, False))
        self._entries.setdefault(entry.reply, (entry, True))


def tuple_of(packet: Packet) -> Tuple:
    """Return the tuple of a packet; an echo has its identifier on both sides."""
    echo = packet.protocol in (ICMP, ICMP6)
    return Tuple(
        packet.version,
        packet.protocol,
        packet.source,
        packet.source_port,
        packet.destination,
        packet.source_port if echo else packet.destination_port,
    )


def _may_begin(packet: Packet) -> bool:
    if packet.protocol == TCP:
        return packet.kind == SYN
    if packet.protocol in (ICMP, ICMP6):
        return packet.kind != ECHO_REPLY[packet.version]
    return packet.protocol == UDP


def translated(packet: Packet, tracked: Tracked | None, *, source: bool) -> Packet:
    """Return a packet with the source, or the destination, that its flow's translation gives it."""
    if tracked is None or tracked.entry is None:
        return packet
    entry, is_reply = tracked.entry, tracked.is_reply
    if not (entry.snat if source is not is_reply else entry.dnat):
        return packet
    other = entry.original if is_reply else entry.reply
    target = other.inverted
    if packet.quoted is not None:
        return _translated_error(packet, packet.quoted, other, source=source)
    ports = packet.protocol in (TCP, UDP)
    if source:
        drawn = None if is_reply else entry.drawn
        return replace(packet, source=target.source, source_port=target.source_port, drawn=drawn)
    if ports:
        drawn = None if is_reply else packet.drawn
        port = target.destination_port
        return replace(packet, destination=target.destination, destination_port=port, drawn=drawn)
    return replace(packet, destination=target.destination, source_port=target.destination_port)


def _translated_error(packet: Packet, quoted: Packet, other: Tuple, *, source: bool) -> Packet:
    """Translate an ICMP error, and what it quotes the other way about (`nf_nat_icmp_reply_translation`)."""
    target = other.inverted
    if source:
        inner = replace(quoted, destination=other.destination)
        if quoted.protocol in (TCP, UDP):
            inner = replace(inner, destination_port=other.destination_port)
        return replace(packet, source=target.source, quoted=inner)
    inner = replace(quoted, source=other.source, source_port=other.source_port)
    return replace(packet, destination=target.destination, quoted=inner)
