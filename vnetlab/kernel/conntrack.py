"""Lets a namespace forget the connections that it tracks, through nfnetlink.

An entry of an earlier flow decides about a later one with the same ports, whatever the rules say by then.
"""

from __future__ import annotations

import errno
import socket
import struct

_NETLINK_NETFILTER = 12
_CT_DELETE = (1 << 8) | 2
"""IPCTNL_MSG_CT_DELETE of linux/netfilter/nfnetlink_conntrack.h; naming no entry, it removes all."""
_REQUEST_WITH_ACK = 0x1 | 0x4
_ABSENT = (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL, errno.EPROTONOSUPPORT)


def forget() -> bool:
    """Remove every entry of the current namespace; False where the kernel has no such request.

    Raises OSError.
    """
    message = struct.pack("=IHHIIBBH", 20, _CT_DELETE, _REQUEST_WITH_ACK, 1, 0, socket.AF_UNSPEC, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as sock:
            sock.bind((0, 0))
            sock.send(message)
            answer = sock.recv(4096)
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        raise
    code = -struct.unpack_from("=i", answer, 16)[0]
    if code in _ABSENT:
        return False
    if code:
        raise OSError(code, "flushing conntrack")
    return True
