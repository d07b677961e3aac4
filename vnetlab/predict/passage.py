"""A packet's visit to the hooks of one namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vnetlab.predict.packet import Packet

if TYPE_CHECKING:
    from vnetlab.items import Item
    from vnetlab.predict.conntrack import Tracked
    from vnetlab.predict.fib import Way
    from vnetlab.predict.packet import Arp, Frame
    from vnetlab.predict.space import Space

HOST, BROADCAST, MULTICAST, OTHER = 0, 1, 2, 3
"""Whom a frame is for, seen from the receiving device (`PACKET_HOST`... in linux/if_packet.h)."""


class Unknown(Exception):
    """The model cannot tell how the kernel would go on; says why."""


class Passage(Struct, eq=False):
    """A packet at a hook. ``packet`` changes where rules translate it."""

    space: Space
    packet: Packet | Arp
    iif: str = ""
    oif: str = ""
    frame: Frame | None = None
    packet_type: int = HOST
    family: str = "inet"
    mark: int = 0
    tracked: Tracked | None = None
    untracked: bool = False
    hook: str = ""
    way: Way | None = None
    """Where it was routed, once it was."""
    rerouted: bool = False
    """A chain of type `route` has marked it otherwise, and it is routed anew."""
    used: list[Item | None] = []
    """Where the rules that it fits are written down; hooks put the walk's own list here."""

    @property
    def ip(self) -> Packet:
        """The IP packet at a hook that only IP packets come to."""
        assert isinstance(self.packet, Packet)
        return self.packet

    @property
    def framed(self) -> Frame:
        """The frame, with the packet as rules left it."""
        frame = self.frame
        assert frame is not None
        return frame if frame.payload is self.packet else replace(frame, payload=self.packet)

    def copied(self) -> Passage:
        """Return the same packet on another of the ways that a bridge sends it."""
        return Passage(
            self.space,
            self.packet,
            self.iif,
            self.oif,
            self.frame,
            self.packet_type,
            self.family,
            self.mark,
        )
