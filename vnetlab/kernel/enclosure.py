"""New namespaces for a lab or a scratch run, and the tmpfs in them. Standard library only.

The order is the kernel's: a user namespace first, which owns the others; then a fork, whose child
is process 1 of the new PID namespace; then, in that child, mounts.
"""

import os
from collections.abc import Callable

from vnetlab.kernel import linux

# Directories that machines have and that hide nothing useful when something is mounted over them. The
# tmpfs needs a directory that exists before it: making one would leave it behind after kill -9.
MOUNT_POINTS = (
    "/sys/kernel/debug",
    "/sys/kernel/config",
    "/sys/fs/fuse/connections",
    "/mnt",
    "/srv",
)


class RefusedError(Exception):
    """The kernel refused namespaces or mounts: which step, and its error number."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(step, number)
        self.step = step
        self.number = number


def separate() -> bool:
    """Unshare mount and PID namespaces, and a user namespace where they need one; tell whether so.

    The PID namespace takes effect for children only. Raises RefusedError.
    """
    wanted = linux.CLONE_NEWNS | linux.CLONE_NEWPID
    if os.geteuid() == 0:
        try:
            linux.unshare(wanted)
        except PermissionError:  # root of a container: without CAP_SYS_ADMIN, but perhaps allowed this
            pass
        else:
            return False
    uid, gid = os.geteuid(), os.getegid()
    _step("user namespace", linux.unshare, linux.CLONE_NEWUSER)
    # An unprivileged process may map its group only after giving up setgroups (user_namespaces(7)).
    _step("user namespace map", _write, "/proc/self/setgroups", "deny")
    _step("user namespace map", _write, "/proc/self/uid_map", f"0 {uid} 1")
    _step("user namespace map", _write, "/proc/self/gid_map", f"0 {gid} 1")
    _step("mount and PID namespace", linux.unshare, wanted)
    return True


def enter_user(descriptor: int) -> None:
    """Enter a lab's user namespace, as its root. Raises OSError.

    Root outside is nobody inside, where only the lab's owner is mapped: it becomes the owner.
    """
    linux.setns(descriptor, linux.CLONE_NEWUSER)
    if os.geteuid() != 0:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def mount_tmpfs() -> int:
    """Mount a tmpfs that nobody outside sees; return its root. Raises RefusedError."""
    _step("private mounts", linux.mount, "none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    refused = RefusedError("tmpfs: none of " + ", ".join(MOUNT_POINTS) + " exists", 2)
    for point in MOUNT_POINTS:
        try:
            linux.mount("vnetlab", point, "tmpfs", flags, "mode=0700")
        except OSError as error:
            if os.path.isdir(point):  # noqa: PTH112 - pathlib would double the start-up time
                refused = RefusedError(f"tmpfs on {point}", error.errno or 0)
        else:
            return os.open(point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    raise refused


def _step(step: str, function: Callable[..., None], *arguments: object) -> None:
    try:
        function(*arguments)
    except OSError as error:
        raise RefusedError(step, error.errno or 0) from error


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
