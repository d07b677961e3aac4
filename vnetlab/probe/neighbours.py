"""Lets a namespace forget whom it resolved, through rtnetlink.

All namespaces of a machine share one table per family, of 1,024 entries by default (``gc_thresh3``
in the kernel's ip-sysctl document). Its garbage collection spares entries of the last five
seconds, and an ARP request that finds the table full is not answered. A flight among fifty
machines makes two thousand.
"""

from __future__ import annotations

import socket
from struct import pack, unpack_from
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

RTM_DELNEIGH, RTM_GETNEIGH = 29, 30
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_DONE, NLMSG_ERROR = 3, 2
NDA_DST = 1
RESOLVED = 0x02 | 0x04 | 0x08 | 0x10
"""NUD_REACHABLE, STALE, DELAY, PROBE of linux/neighbour.h: neither permanent nor in the making."""
HEADER_BYTES, NEIGHBOUR_BYTES = 16, 12
BATCH = 200


class Neighbours:
    """The neighbour entries of the namespace it is made in."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

    def forget(self) -> None:
        """Remove every entry that was resolved; permanent ones stay. Raises OSError."""
        removals = [_removal(*entry) for entry in self._entries()]
        for start in range(0, len(removals), BATCH):
            self._socket.sendto(b"".join(removals[start : start + BATCH]), (0, 0))
        self._discard_errors()

    def _entries(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield family, device index and address of each entry that was resolved."""
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
                yield from _resolved(data[at + HEADER_BYTES : at + length])
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


def _resolved(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    family, device, state = unpack_from("=BxxxiH", message)
    if not state & RESOLVED:
        return
    at = NEIGHBOUR_BYTES
    while at + 4 <= len(message):
        length, kind = unpack_from("=HH", message, at)
        if kind == NDA_DST:
            yield family, device, message[at + 4 : at + length]
            return
        at += max((length + 3) & ~3, 4)


def _removal(family: int, device: int, address: bytes) -> bytes:
    body = pack("=BxxxiHBB", family, device, 0, 0, 0)
    body += pack("=HH", 4 + len(address), NDA_DST) + address
    return pack("=IHHII", HEADER_BYTES + len(body), RTM_DELNEIGH, NLM_F_REQUEST, 2, 0) + body
