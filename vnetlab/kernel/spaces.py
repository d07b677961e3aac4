"""The network namespaces of a lab, seen from a process inside it (see agent.py).

Each is bind-mounted on the lab's private tmpfs under the name of its node. Nothing outside the lab
sees that tmpfs, and nothing has to be removed: the mounts go with the lab's mount namespace.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError, NodeNotFound
from vnetlab.kernel import control, linux, sysctl, writes

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN = "/proc/thread-self/ns/net"
_HOSTS = ".hosts"
_LONG_NAMES = ".names"


class Spaces:
    """The namespaces of the lab that this process is in, by name."""

    def __init__(self, root: int) -> None:
        """Take the descriptor of the tmpfs, and move into an empty network namespace.

        A process in a user namespace could not return to the network namespace it came from; from
        the empty one it can go anywhere and back. Raises OSError.
        """
        self.root = root
        """Descriptor of the tmpfs."""
        self._path = f"/proc/self/fd/{root}"
        self.settings = sysctl.Settings()
        self._machine = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        linux.unshare(linux.CLONE_NEWNET)

    def names(self) -> tuple[str, ...]:
        """Return the names of all namespaces, sorted."""
        files = [file.name for file in Path(self._path).iterdir() if self._is_mounted(file)]
        return tuple(sorted(self._long_name(f) if f.startswith("#") else f for f in files))

    def _is_mounted(self, file: Path) -> bool:
        """Tell a namespace from a file of another use, or one whose making or removal was cut short."""
        return file.name[0] != "." and file.stat().st_dev != os.fstat(self.root).st_dev

    def create(self, name: str) -> None:
        """Make an empty namespace; raises KernelError (also where the name is taken)."""
        file = control.file_name(name)
        target = f"{self._path}/{file}"
        before = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        what = f"create namespace {name}"
        try:
            os.close(os.open(target, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o400))
            if self._is_mounted(Path(target)):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            if file != name:
                self._remember(file, name)
            writes.begin(what)
            linux.unshare(linux.CLONE_NEWNET)
            linux.mount(_OWN, target, "", linux.MS_BIND)
            writes.done(what)
        except OSError as error:
            raise KernelError(f"namespace {name}: {error.strerror}") from error
        finally:
            linux.setns(before, linux.CLONE_NEWNET)
            os.close(before)

    def adopt(self, name: str) -> None:
        """Take the namespace that vnetlab was started in as one of the lab's; raises KernelError."""
        target = f"{self._path}/{control.file_name(name)}"
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC, 0o400))
            if control.file_name(name) != name:
                self._remember(control.file_name(name), name)
            linux.mount(f"/proc/self/fd/{self._machine}", target, "", linux.MS_BIND)
        except OSError as error:
            raise KernelError(f"the namespace of this machine as {name}: {error.strerror}") from error

    def remove(self, name: str) -> None:
        """Remove a namespace and end every process in it; raises KernelError, NodeNotFound.

        What is in it goes when the kernel has no more use for it, a moment later.
        """
        target = self.open(name)
        inode = os.fstat(target).st_ino
        os.close(target)
        if inode == os.fstat(self._machine).st_ino:
            raise KernelError(f"namespace {name} is this very machine's, which no lab may end")
        file = control.file_name(name)
        try:
            writes.begin(f"remove namespace {name}")
            while _end_processes(inode):
                pass
            linux.unmount(f"{self._path}/{file}")
            writes.done(f"remove namespace {name}")
            Path(self._path, file).unlink()
            if file != name:
                Path(self._path, _LONG_NAMES, file).unlink()
        except OSError as error:
            raise KernelError(f"namespace {name}: {error.strerror}") from error

    def open(self, name: str) -> int:
        """Return a new descriptor of a namespace; the caller closes it. Raises NodeNotFound."""
        try:
            return os.open(control.file_name(name), os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.root)
        except FileNotFoundError as error:
            raise NodeNotFound(f"the lab has no namespace {name}") from error

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Move the calling thread into a namespace, and back afterwards. Raises NodeNotFound."""
        target = self.open(name)
        before = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            linux.setns(target, linux.CLONE_NEWNET)
            os.close(target)
            self.settings.visit()
            yield
        finally:
            linux.setns(before, linux.CLONE_NEWNET)
            os.close(before)
            self.settings.leave()

    def write_hosts(self, text: str) -> None:
        """Show this text as /etc/hosts to everything that runs in the lab. Raises KernelError.

        On a machine without that file there is nothing to mount over, and names stay unknown.
        """
        file = Path(self._path, _HOSTS)
        mounted = file.exists()
        try:
            writes.begin("hosts")
            file.write_text(text)
            file.chmod(0o644)
            if not mounted and Path("/etc/hosts").exists():
                linux.mount(str(file), "/etc/hosts", "", linux.MS_BIND)
            writes.done("hosts")
        except OSError as error:
            raise KernelError(f"/etc/hosts of the lab: {error.strerror}") from error

    def _remember(self, file: str, name: str) -> None:
        folder = Path(self._path, _LONG_NAMES)
        folder.mkdir(exist_ok=True)
        (folder / file).write_bytes(os.fsencode(name))

    def _long_name(self, file: str) -> str:
        return os.fsdecode(Path(self._path, _LONG_NAMES, file).read_bytes())


def _end_processes(inode: int) -> bool:
    """Kill what is in a network namespace; tell whether anything was.

    /proc is that of the machine: it numbers processes as the machine does, but says in ``NSpid`` how each
    PID namespace down to our own does (proc_pid_status(5)).
    """
    found = False
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns/net").stat().st_ino != inode:
                continue
            status = (process / "status").read_text()
            if "\nState:\tZ" in status:
                continue
            number = int(status.partition("\nNSpid:")[2].splitlines()[0].split()[-1])
            os.kill(number, signal.SIGKILL)
            found = True
        except OSError:  # it ended meanwhile, or is not of the lab
            continue
    return found
