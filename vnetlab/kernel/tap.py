"""Tap devices, through /dev/net/tun (kernel documentation networking/tuntap.rst)."""

from __future__ import annotations

import fcntl
import os
import struct

from vnetlab.errors import KernelError
from vnetlab.kernel import writes

DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_REQUEST = struct.Struct("=16sH22x")  # struct ifreq: name and flags


def attach(name: str) -> int:
    """Attach to a tap of the namespace that the thread is in, made if it is not there.

    Returns a descriptor: each read or write is one Ethernet frame. While it is open the device has carrier.
    Raises OSError; EBUSY where something is attached already.
    """
    descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, _REQUEST.pack(name.encode(), _IFF_TAP | _IFF_NO_PI))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def create_tap(name: str) -> None:
    """Make a tap that stays when nobody has it open, as long as its namespace. Raises KernelError."""
    try:
        descriptor = attach(name)
        try:
            writes.begin(f"tap {name}")
            fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
            writes.done(f"tap {name}")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise KernelError(f"tap {name}: {DEVICE}: {error.strerror}") from error
