"""Tap devices, through /dev/net/tun (kernel documentation networking/tuntap.rst)."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError
from vnetlab.kernel import writes

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_TUNSETOWNER = 0x400454CC
_TUNSETGROUP = 0x400454CE
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


@contextmanager
def created(name: str, owner: str = "", group: str = "") -> Iterator[None]:
    """Make a tap that stays when nobody has it open, as long as its namespace, once the block is over.

    The block gives it what it is known by: until then it goes with this process. User and group, by name or
    number, may attach to it without being root; without either nobody may. Raises KernelError.
    """
    user, members = user_number(owner), group_number(group)
    try:
        descriptor = attach(name)
        try:
            writes.begin(f"tap {name}")
            if user is not None:
                fcntl.ioctl(descriptor, _TUNSETOWNER, user)
            if members is not None:
                fcntl.ioctl(descriptor, _TUNSETGROUP, members)
            yield
            fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
            writes.done(f"tap {name}")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise KernelError(f"tap {name}: {DEVICE}: {error.strerror}") from error


def user_number(name: str) -> int | None:
    """Return the number of a user of this machine, None for no name; raises KernelError."""
    if not name or name.isdigit():
        return int(name) if name else None
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise KernelError(f"this machine has no user {name}") from error


def group_number(name: str) -> int | None:
    """Return the number of a group of this machine, None for no name; raises KernelError."""
    if not name or name.isdigit():
        return int(name) if name else None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise KernelError(f"this machine has no group {name}") from error
