"""Lets a namespace forget whom it resolved, through rtnetlink.

All namespaces of a machine share one table per family, of 1,024 entries by default (``gc_thresh3``
in the kernel's ip-sysctl document). Its garbage collection spares entries of the last five
seconds, and an ARP request that finds the table full is not answered. A flight among fifty
machines makes two thousand.

Who asks for an address that nobody has asks again after a second, and a second later (``retrans_time_ms``,
``mcast_solicit``). Those who began within some 30 ms do so in one tick of a coarse timer
(kernel/time/timer.c), and each question goes to every port: two dozen at once are more copies than a backlog
of the kernel's takes.
"""

from __future__ import annotations

import socket
from struct import pack, unpack_from
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

RTM_DELNEIGH, RTM_GETNEIGH = 29, 30
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_DONE, NLMSG_ERROR = 3, 2
NDA_DST = 1
RESOLVED = 0x02 | 0x04 | 0x08 | 0x10
"""NUD_REACHABLE, STALE, DELAY, PROBE of linux/neighbour.h: neither permanent nor in the making."""
INCOMPLETE = 0x01
"""NUD_INCOMPLETE: asked for, and not answered."""
FAILED = 0x20
"""NUD_FAILED: nobody answered."""
HEADER_BYTES, NEIGHBOUR_BYTES = 16, 12
BATCH = 200


class _Entry(NamedTuple):
    """A neighbour as a kernel has it."""

    family: int
    device: int
    """Index of the device."""
    state: int
    """NUD_*."""
    address: bytes


class Neighbours:
    """The neighbour entries of the namespace it is made in."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

    def forget(self, *, unanswered: bool = False) -> None:
        """Remove every entry that was resolved; permanent ones stay. Raises OSError.

        ``unanswered``: and those in the making, which asked a while ago and would make who wants to know now
        wait until they ask again.
        """
        gone = RESOLVED | INCOMPLETE | FAILED if unanswered else RESOLVED
        self._remove(lambda entry: bool(entry.state & gone))

    def give_up(self, addresses: Collection[bytes]) -> None:
        """Stop asking for these addresses, as long as nobody has answered. Raises OSError."""
        self._remove(lambda entry: entry.state == INCOMPLETE and entry.address in addresses)

    def _remove(self, chosen: Callable[[_Entry], bool]) -> None:
        removals = [_removal(entry) for entry in self._entries() if chosen(entry)]
        for start in range(0, len(removals), BATCH):
            self._socket.sendto(b"".join(removals[start : start + BATCH]), (0, 0))
        self._discard_errors()

    def _entries(self) -> Iterator[_Entry]:
        body = pack("=BxxxiHBB", socket.AF_UNSPEC, 0, 0, 0, 0)
        length = HEADER_BYTES + len(body)
        header = pack("=IHHII", length, RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
        self._socket.sendto(header + body, (0, 0))
        while True:
            data = self._socket.recv(65536)
            at = 0
            while at < len(data):
                length, kind = unpack_from("=IH", data, at)
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    return
                yield from _entry(data[at + HEADER_BYTES : at + length])
                at += (length + 3) & ~3

    def _discard_errors(self) -> None:
        """Pass over answers about entries that went by themselves meanwhile."""
        try:
            while True:
                self._socket.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _entry(message: bytes) -> Iterator[_Entry]:
    family, device, state = unpack_from("=BxxxiH", message)
    at = NEIGHBOUR_BYTES
    while at + 4 <= len(message):
        length, kind = unpack_from("=HH", message, at)
        if kind == NDA_DST:
            yield _Entry(family, device, state, message[at + 4 : at + length])
            return
        at += max((length + 3) & ~3, 4)


def _removal(entry: _Entry) -> bytes:
    body = pack("=BxxxiHBB", entry.family, entry.device, 0, 0, 0)
    body += pack("=HH", 4 + len(entry.address), NDA_DST) + entry.address
    return pack("=IHHII", HEADER_BYTES + len(body), RTM_DELNEIGH, NLM_F_REQUEST, 2, 0) + body
