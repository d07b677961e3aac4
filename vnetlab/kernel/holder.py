"""The holder as others see it: start one, find one, end one.

A lab is its holder process (holder_main.py). Nothing about a lab is written to disk: labs are found
by the names of their control sockets in /proc/net/unix.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from vnetlab.errors import (
    Absent,
    FeatureUnavailable,
    KernelError,
    LabExists,
    LabLost,
    LabNotFound,
)
from vnetlab.kernel import control
from vnetlab.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

_END_DEADLINE = 10.0
_LISTENING = 0x10000  # __SO_ACCEPTCON of linux/net.h, as /proc/net/unix shows it
_PACKAGES = str(Path(__file__).resolve().parents[2])


def program(module: str, *arguments: str) -> list[str]:
    """Return the argv of a stdlib-only program of this package, started without site-packages."""
    # Appended, so that nothing beside the package can stand in for the standard library.
    boot = f"import sys; sys.path.append({_PACKAGES!r}); from {module} import main; main()"
    return [sys.executable, "-I", "-S", "-c", boot, *arguments]


class LabInfo(Struct, frozen=True, order=True):
    """A lab that is up (or coming up): its name, the PID of its holder, and whose it is."""

    name: str
    holder: int
    uid: int


def labs() -> tuple[LabInfo, ...]:
    """Return the labs of this user in this network namespace, by name; for root everyone's."""
    found = []
    for where, uid, name in _sockets():
        if os.geteuid() not in (0, uid):
            continue
        try:
            with control.connect_to(uid, where) as connection:
                pid, _ = control.peer(connection)
                if name.startswith("#"):
                    name = control.request(connection, b"name")[0].decode()
        except OSError:  # it ended meanwhile, or the address is not a lab's
            continue
        found.append(LabInfo(name, pid, uid))
    return tuple(sorted(found))


def _sockets() -> Iterator[tuple[bytes, int, str]]:
    for line in Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines()[1:]:
        fields = line.split(" ")
        parts = fields[-1].split("/", 2)
        if len(parts) != 3 or parts[0] != f"@{control.PREFIX}" or not parts[1].isdigit():
            continue
        if int(fields[3], 16) & _LISTENING:
            yield os.fsencode("\0" + fields[-1][1:]), int(parts[1]), parts[2]


class Holder:
    """A connection to the holder of one lab. Closing it ends a lab that was not kept.

    ``name``: the lab's; ``pid``: of the holder; ``uid``: whose lab it is.
    """

    def __init__(self, name: str, pid: int, uid: int, connection: socket.socket) -> None:
        self.name = name
        self.pid = pid
        self.uid = uid
        self.lock = -1
        """Descriptor of the lock on the lab while we have it (lock.py), for agents to inherit."""
        self._connection = connection
        self._process = -1
        try:
            self._process = os.pidfd_open(pid)
            control.request(connection, b"name")  # it lives, so the descriptor is the holder's
        except OSError as error:
            self.close()
            raise LabLost(f"lab {name} ended while it was being opened") from error

    @classmethod
    def start(cls, name: str) -> Self:
        """Start a lab without any namespace in it; it ends with this process until keep().

        Raises LabExists where a lab of that name is up, FeatureUnavailable where the kernel refuses
        the namespaces that a holder lives in.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = program("vnetlab.kernel.holder_main", str(theirs.fileno()), name)
            # In a session of its own: the terminal and its Ctrl-C are the starter's.
            outer = subprocess.Popen(
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True
            )
        try:
            pid = _wait_until_up(ours, name)
        except BaseException:
            ours.close()
            raise
        finally:
            outer.wait()
        ours.settimeout(control.TIMEOUT)
        return cls(name, pid, os.geteuid(), ours)

    @classmethod
    def find(cls, name: str | None = None) -> Self:
        """Connect to a lab that is up; without a name to the only one of this user.

        Raises LabNotFound, naming the labs that are up.
        """
        lab = _choose(name)
        try:
            connection = control.connect(lab.uid, lab.name)
        except OSError as error:
            raise LabNotFound(f"lab {lab.name} has just ended") from error
        return cls._opened(lab.name, lab.uid, connection)

    @classmethod
    def find_own(cls, name: str) -> Self:
        """Connect to a lab of this user; raises LabNotFound, also for one that is just being started."""
        try:
            connection = control.connect(os.geteuid(), name)
        except OSError as error:
            raise LabNotFound(f"no lab {name} is up") from error
        return cls._opened(name, os.geteuid(), connection)

    @classmethod
    def _opened(cls, name: str, uid: int, connection: socket.socket) -> Self:
        """Return the holder behind a connection; raises LabNotFound where it ends just then."""
        try:
            return cls(name, control.peer(connection)[0], uid, connection)
        except LabLost as error:
            if isinstance(error.__cause__, TimeoutError):  # it is there, and does not answer
                raise
            raise LabNotFound(f"lab {name} has just ended") from error

    def keep(self, description: bytes) -> None:
        """Let the lab outlive its starter, and store what it is; raises LabLost."""
        descriptor = os.memfd_create("vnetlab")
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(description)
            self._request(b"keep", (descriptor,))
        finally:
            os.close(descriptor)

    def description(self) -> bytes:
        """Return what keep() stored; empty while the lab is still coming up. Raises LabLost."""
        _, received = self._request(b"description")
        if not received:
            return b""
        with os.fdopen(received[0], "rb") as file:
            return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)

    @contextmanager
    def spaces(self) -> Iterator[tuple[int, ...]]:
        """Yield descriptors: tmpfs root, mount, PID and perhaps user namespace. Raises LabLost.

        They are closed afterwards: a mount namespace that somebody holds would outlive the lab.
        """
        _, received = self._request(b"spaces")
        try:
            yield tuple(received)
        finally:
            for descriptor in received:
                os.close(descriptor)

    def end(self) -> None:
        """End the lab: the holder, every process in it, its namespaces. Ending twice is no error.

        Raises KernelError if the holder is still there after ten seconds.
        """
        if self._process < 0:
            return
        try:
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
        except ProcessLookupError:
            pass
        poll = select.poll()
        poll.register(self._process, select.POLLIN)
        # The end of process 1 is reported after that of every other process of its PID namespace.
        gone = poll.poll(_END_DEADLINE * 1000)
        self.close()
        if not gone:
            raise KernelError(f"lab {self.name}: its holder, process {self.pid}, does not end")

    def close(self) -> None:
        """Close the connection; the lab goes on if it was kept."""
        self._connection.close()
        if self._process >= 0:
            os.close(self._process)
            self._process = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(self, what: bytes, descriptors: tuple[int, ...] = ()) -> tuple[bytes, list[int]]:
        try:
            return control.request(self._connection, what, descriptors)
        except OSError as error:
            raise LabLost(f"lab {self.name} has ended") from error


def _choose(name: str | None) -> LabInfo:
    up = labs()
    own = tuple(lab for lab in up if lab.uid == os.geteuid())
    if name is not None:
        found = [lab for lab in (*own, *up) if lab.name == name][:1]
    else:
        found = list(own) if len(own) == 1 else []
    if found:
        return found[0]
    names = ", ".join(visible(lab.name) for lab in up)
    if name is not None:
        raise LabNotFound(f"no lab {visible(name)} is up; " + (f"up: {names}" if up else "none is"))
    if not own:
        raise LabNotFound("no lab is up; `vnetlab up FILE` makes one")
    raise LabNotFound(f"several labs are up, name one of them: {names}")


def _wait_until_up(connection: socket.socket, name: str) -> int:
    pid, up = 0, False
    while not (pid and up):
        packet = connection.recv(4096)
        word, _, rest = packet.decode().partition(" ")
        if word == "pid":
            pid = int(rest)
        elif word == "up":
            up = True
        elif word == "exists":
            raise LabExists(f"lab {name} is up already; `vnetlab down {name}` removes it")
        elif word == "refused":
            number, _, step = rest.partition(" ")
            raise FeatureUnavailable((absent_namespace(step, int(number)),))
        else:
            raise KernelError(f"lab {name}: its holder ended while it was starting")
    return pid


def absent_namespace(step: str, number: int) -> Absent:
    """Say which namespace the kernel refused, with the remedy that fits the error number."""
    evidence = f"{step}: {os.strerror(number)}"
    restriction = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    if number in (errno.EPERM, errno.EACCES) and restriction.exists():
        remedy = "run as root, or `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
    elif number == errno.ENOSPC:
        remedy = "run as root, or raise `sysctl user.max_user_namespaces`"
    elif number in (errno.EPERM, errno.EACCES):
        remedy = "run as root, or allow user namespaces (`sysctl kernel.unprivileged_userns_clone=1`)"
    else:
        remedy = "use a kernel with user, mount, PID and network namespaces"
    return Absent("namespaces", evidence, remedy)
