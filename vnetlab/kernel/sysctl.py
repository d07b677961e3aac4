"""Settings below /proc/sys/net, of the network namespace that the thread is in.

In one procfs the entries of all namespaces are children of the same directory /proc/sys/net, with the same
names: the kernel finds a new namespace's after comparing those of every other (proc_sys_compare() in
fs/proc/proc_sysctl.c), 9 ms for each at 3,000. A procfs of our own, mounted nowhere and changed for a new one
every few namespaces, knows only a few: 0.4 ms.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError
from vnetlab.kernel import linux, writes

if TYPE_CHECKING:
    from vnetlab.state import Sysctl

# Keys that a kernel may lack without harm: bridge netfilter calls nothing where it is not loaded, and
# the limits of ICMP errors belong to the initial namespace only before Linux 6.11. Any other missing
# key is an error.
OPTIONAL = (
    "net/bridge/",
    "net/ipv4/icmp_msgs_per_sec",
    "net/ipv4/icmp_msgs_burst",
    "net/ipv4/conf/all/drop_",
    "net/ipv4/conf/default/drop_",
    "net/ipv6/conf/all/force_",
    "net/ipv6/conf/default/force_",
)


_SCOPES = ("/conf/all", "/conf/default")
_PAGE = 4096
VISITS = 50
"""How many visits share a procfs: a new one costs the time of a few hundred settings."""


class Settings:
    """Reads and writes settings; its procfs goes with it."""

    def __init__(self) -> None:
        self._root = -1
        self._visits = 0
        self._folders: dict[str, int] = {}
        """Of the namespace: most settings are of few folders, and half of an open is the way there."""

    def __del__(self) -> None:
        self._close()

    def visit(self) -> None:
        """Say that the thread is in a namespace anew."""
        self._visits += 1
        self.leave()

    def write(self, sysctls: tuple[Sysctl, ...]) -> None:
        """Write settings in their order; raises KernelError naming the key that the kernel refused."""
        for sysctl in sysctls:
            try:
                # Plain system calls: a lab writes tens of settings in each of its namespaces.
                descriptor = self._open(sysctl.key, os.O_WRONLY)
            except FileNotFoundError as error:
                if sysctl.key.startswith(OPTIONAL):
                    continue
                raise KernelError(f"sysctl {sysctl.key}: the kernel has no such setting") from error
            except OSError as error:
                raise KernelError(f"sysctl {sysctl.key}: {error.strerror}") from error
            try:
                writes.begin(sysctl.key)
                os.write(descriptor, sysctl.value.encode())
                writes.done(sysctl.key)
            except OSError as error:
                raise KernelError(f"sysctl {sysctl.key}={sysctl.value}: {error.strerror}") from error
            finally:
                os.close(descriptor)

    def read(self, key: str) -> str | None:
        """Return a setting, None where the kernel has no such; raises KernelError."""
        try:
            descriptor = self._open(key, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KernelError(f"sysctl {key}: {error.strerror}") from error
        try:
            return os.read(descriptor, _PAGE).decode().strip()
        except OSError as error:
            raise KernelError(f"sysctl {key}: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def _open(self, key: str, how: int) -> int:
        if self._root < 0 or self._visits > VISITS:
            self._close()
            self._root, self._visits = _procfs(), 1
        folder, name = _place(key)
        if not folder:
            return os.open(name, how | os.O_CLOEXEC, dir_fd=self._root)
        if folder not in self._folders:
            self._folders[folder] = os.open(folder, os.O_PATH | os.O_CLOEXEC, dir_fd=self._root)
        return os.open(name, how | os.O_CLOEXEC, dir_fd=self._folders[folder])

    def leave(self) -> None:
        """Say that the thread is elsewhere."""
        while self._folders:
            os.close(self._folders.popitem()[1])

    def _close(self) -> None:
        self.leave()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1


@lru_cache(maxsize=1024)
def _place(key: str) -> tuple[str, str]:
    """Return the folder to keep open, if it is one of those, and the file as seen from there."""
    folder, _, name = key.rpartition("/")
    return (f"sys/{folder}", name) if folder.endswith(_SCOPES) else ("", f"sys/{key}")


def write(sysctls: tuple[Sysctl, ...]) -> None:
    """Write a few settings of the namespace that the thread is in; raises KernelError as Settings.write."""
    Settings().write(sysctls)


def _procfs() -> int:
    """Return a procfs of our own, or the machine's: a container that masks parts of it gives no other."""
    try:
        return linux.detached("proc")
    except OSError:
        return os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
