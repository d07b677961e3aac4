"""Live flows of the network namespace that the thread is in, and their end (ctnetlink).

Numbers and layouts are those of linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol

from vnetlab.errors import KernelError
from vnetlab.kernel import writes
from vnetlab.kernel.netlink import HEADER, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, attributes
from vnetlab.plan.flows import Flow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vnetlab.topology.model import IPAddress

_NETFILTER = 12
_GET, _DELETE = 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_...
_ERROR, _DONE = 2, 3
_FAMILY = struct.Struct("=BBH")
_ATTRIBUTE = struct.Struct("=HH")
_NESTED = 0x8000
_ORIGINAL, _REPLY, _ID = 1, 2, 12
_IP, _PROTO = 1, 2
_V4_SOURCE, _V4_DESTINATION, _V6_SOURCE, _V6_DESTINATION = 1, 2, 3, 4
_PROTO_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_RECEIVE = 1 << 18
_GONE = 2  # ENOENT: it ended by itself
_ABSENT = (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL, errno.EPROTONOSUPPORT)


class Covering(Protocol):
    """Tells some flows from others."""

    def covers(self, flow: Flow) -> bool:
        """Tell whether a flow is one of them."""


def end_flows(concern: Covering, *, if_it_can: bool = False) -> int:
    """Forget every flow that is covered; returns how many.

    Raises KernelError; with ``if_it_can`` not where the kernel lists none (without nf_conntrack_netlink).
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER) as sock:
            found = [entry for flow, entry in _entries(sock) if concern.covers(flow)]
            for number, entry in enumerate(found, start=2):
                _delete(sock, entry, number)
    except OSError as error:
        if if_it_can and error.errno in _ABSENT:
            return 0
        raise KernelError(f"conntrack: {error.strerror}") from error
    return len(found)


def _entries(sock: socket.socket) -> Iterator[tuple[Flow, bytes]]:
    """Yield each flow, and what names it to the kernel."""
    length = HEADER.size + _FAMILY.size
    sock.sendto(HEADER.pack(length, _GET, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + bytes(4), (0, 0))
    while True:
        data, at = memoryview(sock.recv(_RECEIVE)), 0
        while at < len(data):
            size, kind, *_ = HEADER.unpack_from(data, at)
            if kind == _ERROR:
                _check(data[at + HEADER.size :])
            if kind in (_ERROR, _DONE):
                return
            body = data[at + HEADER.size : at + size]
            flow = _flow(attributes(body, _FAMILY.size))
            if flow:
                yield flow, _name(body)
            at += (size + 3) & ~3


def _flow(found: Mapping[int, memoryview]) -> Flow | None:
    there, back = attributes(found[_ORIGINAL], 0), attributes(found[_REPLY], 0)
    source, destination = _addresses(there[_IP])
    end, face = _addresses(back[_IP])
    proto, answer = attributes(there[_PROTO], 0), attributes(back[_PROTO], 0)
    if source is None or destination is None or end is None or face is None:
        return None
    return Flow(
        proto[_PROTO_NUMBER][0],
        source,
        destination,
        _port(proto, _SOURCE_PORT),
        _port(proto, _DESTINATION_PORT),
        end,
        _port(answer, _SOURCE_PORT),
        face,
    )


def _addresses(part: memoryview) -> tuple[IPAddress | None, IPAddress | None]:
    found = attributes(part, 0)
    source = found.get(_V4_SOURCE) or found.get(_V6_SOURCE)
    destination = found.get(_V4_DESTINATION) or found.get(_V6_DESTINATION)
    return _address(source), _address(destination)


def _address(data: memoryview | None) -> IPAddress | None:
    return ip_address(bytes(data)) if data else None


def _port(found: Mapping[int, memoryview], kind: int) -> int:
    return int.from_bytes(found[kind], "big") if kind in found else 0


def _name(body: memoryview) -> bytes:
    """Return the family, the original tuple and the number of an entry: what a request names it by."""
    found = attributes(body, _FAMILY.size)
    parts = [_packed(_ORIGINAL | _NESTED, found[_ORIGINAL])]
    parts += [_packed(_ID, found[_ID])] if _ID in found else []
    return bytes(body[: _FAMILY.size]) + b"".join(parts)


def _packed(kind: int, value: memoryview) -> bytes:
    padding = bytes(-len(value) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + bytes(value) + padding


def _delete(sock: socket.socket, entry: bytes, number: int) -> None:
    writes.begin("end a flow")
    header = HEADER.pack(HEADER.size + len(entry), _DELETE, NLM_F_REQUEST | NLM_F_ACK, number, 0)
    sock.sendto(header + entry, (0, 0))
    _check(memoryview(sock.recv(_RECEIVE))[HEADER.size :])
    writes.done("end a flow")


def _check(body: memoryview) -> None:
    number = -struct.unpack_from("=i", body)[0]
    if number not in (0, _GONE):
        raise OSError(number, os.strerror(number))


def forget() -> bool:
    """Remove every entry of the current namespace: one of an earlier flow decides about a later one.

    Returns False where the kernel has no such request.

    Raises OSError.
    """
    message = struct.pack("=IHHIIBBH", 20, _DELETE, NLM_F_REQUEST | NLM_F_ACK, 1, 0, socket.AF_UNSPEC, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as sock:
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
