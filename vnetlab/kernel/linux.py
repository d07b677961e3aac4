"""System calls that Python 3.11 does not offer. Standard library only: the holder runs on this.

Numbers are those of linux/sched.h, linux/mount.h and linux/prctl.h, equal on every architecture; so are
those of system calls since Linux 5.1 (asm-generic/unistd.h).
"""

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

_MNT_DETACH = 0x2
_PR_SET_PDEATHSIG = 1
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_CLOEXEC = 1  # FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
_FSCONFIG_CMD_CREATE = 6

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces (unshare(2)); raises OSError."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Move the calling thread into an existing namespace (setns(2)); raises OSError."""
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mount a file system (mount(2)); raises OSError with the target as its file name."""
    done = _libc.mount(source.encode(), os.fsencode(target), kind.encode(), flags, options.encode())
    _check(done, target)


def unmount(target: str) -> None:
    """Take a mount away, even one in use (umount2(2) with MNT_DETACH); raises OSError."""
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH), target)


def detached(kind: str) -> int:
    """Mount a new file system of a kind nowhere; return its root (fsmount(2)). Raises OSError.

    It goes when the descriptor is closed.
    """
    context = _check(_libc.syscall(_SYS_FSOPEN, kind.encode(), _CLOEXEC), kind)
    try:
        _check(_libc.syscall(_SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0), kind)
        return _check(_libc.syscall(_SYS_FSMOUNT, context, _CLOEXEC, 0), kind)
    finally:
        os.close(context)


def die_with_parent(signal: int) -> None:
    """Have the kernel send a signal to this process when its parent ends (prctl(2)).

    Changing credentials, as entering a user namespace does, forgets it: ask afterwards.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl")


def _check(result: int, subject: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), subject)
    return result
