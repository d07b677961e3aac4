"""Network namespaces held by descriptors, and moving between them. Standard library only."""

from __future__ import annotations

import ctypes
import os

_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def create() -> int:
    """Make a namespace, move into it, and return a descriptor that keeps it. Raises OSError."""
    _check(_libc.unshare(_NEWNET))
    return current()


def current() -> int:
    """Return a descriptor of the namespace that the thread is in."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter(space: int) -> None:
    """Move the thread into a namespace. Raises OSError."""
    _check(_libc.setns(space, _NEWNET))


def procfs() -> int:
    """Mount a procfs of our own nowhere, and return its root; raises OSError.

    The kernel compares a new namespace's entries with those of every other in the same procfs.
    """
    context = _libc.syscall(430, b"proc", 1)  # fsopen, fsconfig (create), fsmount
    _check(context)
    _check(_libc.syscall(431, context, 6, None, None, 0))
    root = _libc.syscall(432, context, 1, 0)
    _check(root)
    os.close(context)
    return int(root)
