"""What moving a NIC asks of devices: their numbers, requests about them, and when one can send."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.errors import KernelError
from vnetlab.kernel import read_messages
from vnetlab.kernel.netlink import attributes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnetlab.kernel.netlink import Netlink

READY = 10.0
"""Seconds. A device sends from the moment on that the kernel has noticed its carrier (linkwatch)."""
_PAUSE = 0.002
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_IFLA_QDISC, _IFLA_OPERSTATE, _UP = 6, 16, 6


class _Request(Struct, frozen=True):
    """What a request is for, in errors."""

    text: str

    def describe(self) -> str:
        return self.text


def links(netlink: Netlink) -> list[read_messages.Found]:
    """Return the devices of the namespace; raises KernelError."""
    dump = netlink.dump(read_messages.dump(read_messages.GET_LINKS))
    return [read_messages.link(body) for _, body in dump]


def indices(netlink: Netlink) -> dict[str, int]:
    """Return the kernel's numbers of the devices by name; raises KernelError."""
    return {link.name: link.index for link in links(netlink)}


def send(netlink: Netlink, what: str, requests: Iterable[bytes]) -> None:
    """Send requests in their order; raises KernelError that begins with ``what``."""
    for request in requests:
        if netlink.add(request, _Request(what)):
            netlink.flush()
    netlink.flush()


def await_ready(netlink: Netlink, name: str) -> None:
    """Wait until a device can send: until then it drops what it is given (noop_qdisc). Raises KernelError."""
    deadline = time.monotonic() + READY
    while not _is_ready(netlink, name):
        if time.monotonic() > deadline:
            raise KernelError(f"{name} has no carrier after {READY:.0f} s")
        time.sleep(_PAUSE)


def _is_ready(netlink: Netlink, name: str) -> bool:
    ready = False
    for _, body in netlink.dump(read_messages.dump(read_messages.GET_LINKS)):
        found = attributes(body, _LINK.size)
        if bytes(found[3]).rstrip(b"\0") == name.encode():
            noop = bytes(found[_IFLA_QDISC]).rstrip(b"\0") == b"noop"
            ready = found[_IFLA_OPERSTATE][0] == _UP and not noop
    return ready
