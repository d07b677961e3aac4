"""Which two devices are the ends of one veth pair.

The kernel tells of the other end its index and a number that stands for its namespace, a number of the
asking namespace's own. Indices alone mostly tell; where they do not, the kernel is asked for the number.
"""

from __future__ import annotations

import os
import socket
import struct
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from vnetlab import names
from vnetlab.kernel.netlink import NLM_F_REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnetlab.kernel.read_messages import Found
    from vnetlab.kernel.spaces import Spaces

End = tuple[str, str]
"""A namespace and a device in it."""
_RTM_GETNSID = 90
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
    doubtful: dict[str, list[Found]] = {}
    for space, link in ends:
        alike = by_indices.get((link.peer, link.index), ())
        if len(alike) > 1:
            doubtful.setdefault(space, []).append(link)
        elif alike and _may_be(space, link, *alike[0]):
            found[space, link.name] = (alike[0][0], alike[0][1].name)
    if doubtful:
        candidates = _Candidates(
            by_indices, {names.port(space, link.name): (space, link) for space, link in ends}
        )
        for space, several in doubtful.items():
            _ask(spaces, space, several, candidates, found)
    return found


def _may_be(space: str, link: Found, there: str, other: Found) -> bool:
    """Tell whether indices and namespaces would do for the two ends of a pair."""
    fits = (other.index, other.peer) == (link.peer, link.index)
    return fits and (there == space) is (link.peer_space is None)


class _Candidates(NamedTuple):
    """Where the other end of a veth may be."""

    by_indices: dict[tuple[int, int], list[tuple[str, Found]]]
    meant: dict[str, tuple[str, Found]]
    """What the name of a port was made of: a good guess where each of many hosts has a port of one index."""

    def of(self, space: str, link: Found) -> Iterator[tuple[str, Found]]:
        """Yield them, the likeliest first, and that one maybe twice."""
        guess = self.meant.get(link.name)
        alike = self.by_indices.get((link.peer, link.index), [])
        for end in chain([guess] if guess else [], alike):
            if _may_be(space, link, *end):
                yield end


def _ask(
    spaces: Spaces, space: str, links: Iterable[Found], candidates: _Candidates, found: dict[End, End]
) -> None:
    """Ask in one namespace where the other ends are, of those that are not known from there.

    So hosts are asked, which come first and have many, and their VMs are not.
    """
    unknown = [link for link in links if (space, link.name) not in found]
    if not unknown:
        return
    with (
        spaces.inside(space),
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock,
    ):
        for link in unknown:
            for there, other in candidates.of(space, link):
                if link.peer_space is None or _number(spaces, sock, there) == link.peer_space:
                    found[space, link.name] = (there, other.name)
                    found[there, other.name] = (space, link.name)
                    break


def _number(spaces: Spaces, sock: socket.socket, name: str) -> int:
    """Return the number that stands for a namespace here; -1 for none."""
    descriptor = spaces.open(name)
    try:
        request = _REQUEST.pack(
            _REQUEST.size, _RTM_GETNSID, NLM_F_REQUEST, 1, 0, socket.AF_UNSPEC, 8, _NETNSA_FD, descriptor
        )
        sock.sendto(request, (0, 0))
        answer = sock.recv(4096)
    finally:
        os.close(descriptor)
    if len(answer) < _ANSWER.size:
        return -1
    *_, kind, number = _ANSWER.unpack_from(answer)
    return int(number) if kind == _NETNSA_NSID else -1
