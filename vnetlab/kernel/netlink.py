"""An rtnetlink socket of the namespace that the thread is in: many messages a system call.

Knows the frame of netlink (netlink(7), linux/netlink.h) and nothing of links or routes; messages come
encoded from messages.py. Every request asks for an acknowledgement; its sequence number says which
step the kernel refused.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Protocol, Self

from vnetlab.errors import KernelError
from vnetlab.kernel import writes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_ACK_TLVS = 0x200
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NLMSGERR_ATTR_MSG = 1
HEADER = struct.Struct("=IHHII")
_SEQUENCE = struct.Struct("=I")
_ERROR = struct.Struct("=i")
_NUMBER = struct.Struct("=I")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
# All acknowledgements of a batch queue up before the first is read, each counted with its overhead:
# 100 of them stay well below the smallest receive buffer in use (net.core.rmem_default, 212992).
_BATCH = 100
_RECEIVE = 1 << 18
_REMEDIES = {
    errno.EXFULL: "a bridge takes 1,023 ports (BR_MAX_PORTS); `ip link show master BRIDGE` lists them: "
    "delete those that were attached by hand, or spread the machines over several networks",
}
"""What to do about errors whose name says nothing."""


class Subject(Protocol):
    """Whatever a request is for."""

    def describe(self) -> str:
        """Return it in one line; asked for only when the kernel refuses."""
        ...


class Netlink:
    """An rtnetlink socket; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._sequence = 0
        self._queue: list[bytearray] = []
        self._subjects: list[Subject] = []
        self._may_be_gone: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def add(self, message: bytes, subject: Subject, *, gone: bool = False) -> bool:
        """Queue a request; ``subject`` names it in errors. True: the batch is full, flush it.

        ``gone`` is for what removes something that the kernel may have removed meanwhile: that is no error.
        """
        if gone:
            self._may_be_gone.add(self._sequence + len(self._queue) + 1)
        self._queue.append(bytearray(message))
        self._subjects.append(subject)
        return len(self._queue) >= _BATCH or writes.watched()

    def flush(self) -> None:
        """Send what is queued; raises KernelError for the first request that the kernel refused."""
        if not self._queue:
            return
        first = self._sequence + 1
        for message in self._queue:
            self._sequence += 1
            _SEQUENCE.pack_into(message, 8, self._sequence)
        subjects, self._subjects = self._subjects, []
        queue, self._queue = self._queue, []
        what = subjects[0].describe() if writes.watched() else ""
        writes.begin(what, len(subjects))
        self._socket.sendto(b"".join(queue), (0, 0))
        self._acknowledged(subjects, first)
        writes.done(what)

    def _acknowledged(self, subjects: list[Subject], first: int) -> None:
        refused: list[tuple[int, str]] = []
        left = len(subjects)
        while left:
            for kind, flags, sequence, body in _messages(self._socket.recv(_RECEIVE)):
                if kind != _NLMSG_ERROR or sequence < first:
                    continue
                left -= 1
                number = -_ERROR.unpack_from(body)[0]
                if number == errno.ENOENT and sequence in self._may_be_gone:
                    continue
                if number:
                    why = f"{os.strerror(number)}{_explanation(flags, body)}"
                    why += f": {_REMEDIES[number]}" if number in _REMEDIES else ""
                    refused.append((sequence - first, why))
        if refused:
            at, why = min(refused)
            raise KernelError(f"{subjects[at].describe()}: {why}")

    def dump(self, message: bytes) -> Iterator[tuple[int, memoryview]]:
        """Send a dump request; yield type and body of each answer. Raises KernelError."""
        self._sequence += 1
        request = bytearray(message)
        _SEQUENCE.pack_into(request, 8, self._sequence)
        self._socket.sendto(request, (0, 0))
        while True:
            for kind, _, sequence, body in _messages(self._socket.recv(_RECEIVE)):
                if sequence != self._sequence:
                    continue
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    number = -_ERROR.unpack_from(body)[0]
                    raise KernelError(f"reading links or addresses: {os.strerror(number)}")
                yield kind, body


def _messages(data: bytes) -> Iterator[tuple[int, int, int, memoryview]]:
    view, at = memoryview(data), 0
    while at + HEADER.size <= len(view):
        length, kind, flags, sequence, _ = HEADER.unpack_from(view, at)
        yield kind, flags, sequence, view[at + HEADER.size : at + length]
        at += (length + 3) & ~3


def attributes(body: memoryview, at: int) -> dict[int, memoryview]:
    """Return the attributes behind a message's fixed part, which ends at ``at``, by their type."""
    found = {}
    header, unpack, last = _ATTRIBUTE.size, _ATTRIBUTE.unpack_from, len(body) - _ATTRIBUTE.size
    while at <= last:
        length, kind = unpack(body, at)
        found[kind & _TYPE_MASK] = body[at + header : at + length]
        at += (length + 3) & ~3 if length > header else header
    return found


def text_of(data: memoryview | None) -> str:
    """Return an attribute that is a string; empty for none."""
    return bytes(data or b"").rstrip(b"\0").decode()


def number_of(found: Mapping[int, memoryview], kind: int, default: int = 0) -> int:
    """Return an attribute of 32 bits."""
    data = found.get(kind)
    return int(_NUMBER.unpack_from(data)[0]) if data else default


def _explanation(flags: int, body: memoryview) -> str:
    """Return what the kernel says beyond the error number (extended acknowledgement)."""
    if not flags & _NLM_F_ACK_TLVS:
        return ""
    text = attributes(body, _ERROR.size + HEADER.size).get(_NLMSGERR_ATTR_MSG)
    return f" ({text_of(text)})" if text else ""
