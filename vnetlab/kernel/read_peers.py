"""Which two devices are the ends of one veth pair.

The kernel tells of the other end its index and a number that stands for its namespace, a number of the
asking namespace's own. Indices alone mostly tell; where they do not, the kernel is asked for the number.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnetlab.kernel.read_messages import Found
    from vnetlab.kernel.spaces import Spaces

End = tuple[str, str]
"""A namespace and a device in it."""
_RTM_GETNSID, _NLM_F_REQUEST = 90, 1
_NETNSA_NSID, _NETNSA_FD = 1, 3
_REQUEST = struct.Struct("=IHHIIBxxxHHI")
_ANSWER = struct.Struct("=IHHIIBxxxHHi")


def pairs(spaces: Spaces, links: Iterable[tuple[str, Found]]) -> dict[End, End]:
    """Return the other end of every veth whose other end is in the lab. Raises OSError."""
    ends = [(space, link) for space, link in links if link.kind == "veth"]
    by_indices: dict[tuple[int, int], list[tuple[str, Found]]] = {}
    for space, link in ends:
        by_indices.setdefault((link.index, link.peer), []).append((space, link))
    found: dict[End, End] = {}
    doubtful: dict[str, list[tuple[Found, list[tuple[str, Found]]]]] = {}
    for space, link in ends:
        candidates = [
            (there, other)
            for there, other in by_indices.get((link.peer, link.index), ())
            if (there == space) is (link.peer_space is None)
        ]
        if len(candidates) > 1:
            doubtful.setdefault(space, []).append((link, candidates))
        for there, other in candidates if len(candidates) == 1 else ():
            found[space, link.name] = (there, other.name)
    for space, several in doubtful.items():
        _ask(spaces, space, several, found)
    return found


def _ask(
    spaces: Spaces, space: str, several: list[tuple[Found, list[tuple[str, Found]]]], found: dict[End, End]
) -> None:
    """Ask in one namespace where the other ends are, of those that are not known from there.

    So hosts are asked, which come first and have many, and their VMs are not.
    """
    unknown = [(link, candidates) for link, candidates in several if (space, link.name) not in found]
    if not unknown:
        return
    with (
        spaces.inside(space),
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock,
    ):
        for link, candidates in unknown:
            for there, other in candidates:
                if _number(spaces, sock, there) == link.peer_space:
                    found[space, link.name] = (there, other.name)
                    found[there, other.name] = (space, link.name)
                    break


def _number(spaces: Spaces, sock: socket.socket, name: str) -> int:
    """Return the number that stands for a namespace here; -1 for none."""
    descriptor = spaces.open(name)
    try:
        request = _REQUEST.pack(
            _REQUEST.size, _RTM_GETNSID, _NLM_F_REQUEST, 1, 0, socket.AF_UNSPEC, 8, _NETNSA_FD, descriptor
        )
        sock.sendto(request, (0, 0))
        answer = sock.recv(4096)
    finally:
        os.close(descriptor)
    if len(answer) < _ANSWER.size:
        return -1
    *_, kind, number = _ANSWER.unpack_from(answer)
    return int(number) if kind == _NETNSA_NSID else -1
