"""One question to rtnetlink: does this bridge port forward? (``IFLA_BRPORT_STATE`` of
linux/if_link.h)
"""

from __future__ import annotations

import os
import socket
from struct import pack, unpack_from
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

RTM_NEWLINK, RTM_GETLINK = 16, 18
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
NLA_TYPE = 0x3FFF
IFLA_LINKINFO, IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_STATE = 18, 5, 1
FORWARDING = 3
HEADER_BYTES, LINK_BYTES = 16, 16


def is_forwarding(device: str) -> bool:
    """Tell whether a bridge port of the current namespace forwards. Raises OSError: no such
    device.
    """
    request = pack("=BxHiII", socket.AF_UNSPEC, 0, socket.if_nametoindex(device), 0, 0)
    header = pack("=IHHII", HEADER_BYTES + len(request), RTM_GETLINK, NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.sendto(header + request, (0, 0))
        answer = sock.recv(65536)
    if unpack_from("=H", answer, 4)[0] == NLMSG_ERROR:
        code = -unpack_from("=i", answer, HEADER_BYTES)[0]
        raise OSError(code, os.strerror(code))
    found = [
        state
        for kind, info in _attributes(answer[HEADER_BYTES + LINK_BYTES :])
        if kind == IFLA_LINKINFO
        for kind, data in _attributes(info)
        if kind == IFLA_INFO_SLAVE_DATA
        for kind, state in _attributes(data)
        if kind == IFLA_BRPORT_STATE
    ]
    return bool(found) and found[0][0] == FORWARDING


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = unpack_from("=HH", data, at)
        if length < 4:
            return
        yield kind & NLA_TYPE, data[at + 4 : at + length]
        at += (length + 3) & ~3
