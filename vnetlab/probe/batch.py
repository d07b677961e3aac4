"""Many packets in one system call: sendmmsg(2) and recvmmsg(2), through ctypes.

A call for each packet costs more than the kernel takes to carry it. Both calls let other threads of Python
run meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

_IOVEC = np.dtype([("base", "u8"), ("length", "u8")])
_MMSGHDR = np.dtype([
    ("name", "u8"), ("name_length", "u4"), ("pad1", "u4"), ("iov", "u8"), ("iov_length", "u8"),
    ("control", "u8"), ("control_length", "u8"), ("flags", "i4"), ("pad2", "u4"),
    ("length", "u4"), ("pad3", "u4"),
])  # fmt: skip
"""`struct mmsghdr` of socket.h on a 64-bit machine."""
MOST = 1024
"""Packets that one call takes (UIO_MAXIOV of linux/uio.h)."""
SLOT = 256
"""Bytes read of each packet: every header, and every header in a quote."""
_libc = ctypes.CDLL(None, use_errno=True)


def _headers(count: int, buffer: Bytes, size: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return message headers for so many packets, each of which has its own piece of the buffer."""
    vectors = np.zeros(count, _IOVEC)
    vectors["base"] = buffer.ctypes.data + np.arange(count, dtype=np.uint64) * np.uint64(size)
    vectors["length"] = size
    headers = np.zeros(count, _MMSGHDR)
    headers["iov"] = vectors.ctypes.data + np.arange(count, dtype=np.uint64) * np.uint64(_IOVEC.itemsize)
    headers["iov_length"] = 1
    return headers, vectors


class Batch:
    """Packets of equal length, ready to be sent, some by this socket and some by that."""

    def __init__(self, packets: Bytes) -> None:
        """Take a packet a row."""
        self.packets = np.ascontiguousarray(packets)
        self._headers, self._vectors = _headers(len(packets), self.packets, packets.shape[1])
        self._address = self._headers.ctypes.data

    def __len__(self) -> int:
        return len(self.packets)

    def send(self, descriptor: int, start: int, stop: int) -> list[tuple[int, OSError]]:
        """Send the packets from one number up to another; return those that are not taken, and why."""
        refused = []
        while start < stop:
            where = ctypes.c_void_p(self._address + start * _MMSGHDR.itemsize)
            done = _libc.sendmmsg(descriptor, where, min(stop - start, MOST), 0)
            if done >= 0:
                start += done
            elif (number := ctypes.get_errno()) != errno.EINTR:
                refused.append((start, OSError(number, os.strerror(number))))
                start += 1
        return refused


class Arena:
    """A buffer that packets of many sockets are read into, one behind the other."""

    def __init__(self, slots: int) -> None:
        self.data: Bytes = np.zeros((slots, SLOT), np.uint8)
        self._headers, self._vectors = _headers(slots, self.data, SLOT)
        self._slots = slots
        self.used = 0

    @property
    def room(self) -> int:
        """How many packets still fit."""
        return self._slots - self.used

    @property
    def lengths(self) -> NDArray[Any]:
        """Bytes read of each packet so far."""
        return self._headers["length"][: self.used]

    def receive(self, descriptor: int) -> int:
        """Read what waits in a socket, as far as there is room; return how many. Raises OSError."""
        start = self._headers.ctypes.data + self.used * _MMSGHDR.itemsize
        room = min(self.room, MOST)
        done = _libc.recvmmsg(descriptor, ctypes.c_void_p(start), room, socket.MSG_DONTWAIT, None)
        if done < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.EINTR):
                return 0
            raise OSError(number, os.strerror(number))
        self.used += done
        return int(done)

    def clear(self) -> None:
        """Take all packets for read."""
        self.used = 0
