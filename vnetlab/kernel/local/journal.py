"""A journal of what is about to be done to a namespace that outlives the lab: this very machine's.

Written before each step and synchronised (fsync(2)), one JSON object a line, one file for each lab. Whoever
undoes a lab works from the journal alone, last record first, and removes nothing else. A step may have been
recorded and not done, or what was made may have gone or been replaced since: so a record names the mark by
which the thing is known again, and whoever undoes it looks for the mark before it touches anything.

Journals are below /run, since what they speak of ends with the machine's uptime too. Where /run outlives a
reboot, as in a container, the first record says which one they are of: nothing of an earlier one is touched.

Rejected: one record for a whole change, since a crash in its midst leaves no telling how far it got; and
finding a lab's things by their names, since a name proves nothing about who made it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec
from msgspec import Struct

from vnetlab.errors import KernelError
from vnetlab.kernel import control, writes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

FOLDER = Path("/run/vnetlab")
ENDING = ".journal"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SO_NETNS_COOKIE = 71  # asm-generic/socket.h


class Record(Struct, frozen=True):
    """One thing that is about to be made or changed."""

    kind: str
    """``lab``, ``link``, ``table``, ``sysctl``, ``nic``; ``back`` for what the machine has back already."""
    name: str
    """Of the lab, device, setting, or table with its family; of what is back its kind and name."""
    mark: str
    """How it is known again: MAC and altname of a device, value that a setting was given."""
    before: str = ""
    """What a setting or NIC was; of a lab the facts that it was made with."""


class Journal:
    """The journal of one lab, open for writing; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open the journal, made where it is not there; raises KernelError."""
        self._path = path
        try:
            path.parent.mkdir(mode=0o755, exist_ok=True)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            _mend(path)
            _synchronise(path.parent)
        except OSError as error:
            raise KernelError(f"journal {path}: {error.strerror}") from error

    def write(self, record: Record) -> None:
        """Record a step; it is on the disk when this returns. Raises KernelError, and then do nothing."""
        line = msgspec.json.encode(record) + b"\n"
        try:
            writes.begin(f"record {record.kind} {record.name}")
            while line:
                line = line[os.write(self._descriptor, line) :]
            os.fsync(self._descriptor)
            writes.done(f"record {record.kind} {record.name}")
        except OSError as error:
            raise KernelError(f"journal {self._path}: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; what it says stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def path_of(lab: str) -> Path:
    """Return the journal of a lab in the namespace that the thread is in."""
    return FOLDER / f"{cookie():x}.{control.file_name(lab)}{ENDING}"


def head(lab: str, facts: str) -> Record:
    """Return the first record of a lab's journal."""
    return Record("lab", lab, _now(), facts)


def journals() -> tuple[Path, ...]:
    """Return the journals of this namespace, and those of uptimes that have ended; by name."""
    found = sorted(FOLDER.glob(f"*{ENDING}"))
    own = f"{cookie():x}." if found else ""
    return tuple(path for path in found if path.name.startswith(own) or is_over(records(path)))


def journals_of(lab: str) -> tuple[Path, ...]:
    """Return the journals of one lab of this user's: that of this uptime, and those of ended ones."""
    named = f"{control.file_name(lab)}{ENDING}"
    found = [path for path in sorted(FOLDER.glob(f"*{ENDING}")) if path.name.partition(".")[2] == named]
    own = path_of(lab) if found else None
    mine = (path for path in found if path.stat().st_uid == os.geteuid())
    return tuple(path for path in mine if path == own or is_over(records(path)))


def is_over(found: tuple[Record, ...]) -> bool:
    """Tell whether a journal is of an earlier uptime, of which the kernel keeps nothing."""
    return bool(found) and found[0].mark.partition(" ")[0] != _now().partition(" ")[0]


def records(path: Path) -> tuple[Record, ...]:
    """Return what a journal says, in the order in which it was written; nothing where there is none.

    A last line that was cut short is of a step that was never begun. Raises KernelError for one that cannot
    be read, or that somebody else wrote in.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KernelError(f"journal {path}: {error.strerror}") from error
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    return tuple(_record(path, number, line) for number, line in enumerate(lines, 1))


def latest(found: Iterable[Record]) -> tuple[Record, ...]:
    """Return what is still to be undone: of each thing the last record, and none of what went back since."""
    last: dict[str, Record] = {}
    for record in found:
        last.pop(record.name if record.kind == "back" else f"{record.kind} {record.name}", None)
        if record.kind != "back":
            last[f"{record.kind} {record.name}"] = record
    return tuple(last.values())


def forget(path: Path) -> None:
    """Remove a journal of which everything was undone; raises KernelError."""
    try:
        writes.begin("forget the journal")
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        _synchronise(path.parent)
        writes.done("forget the journal")
    except OSError as error:
        raise KernelError(f"journal {path}: {error.strerror}") from error


@contextlib.contextmanager
def alone(told: Callable[[str], None]) -> Iterator[None]:
    """Keep other labs from changing this machine meanwhile; raises KernelError.

    The lock is on the folder itself, which goes when no journal is left in it.
    """
    try:
        descriptor = _locked_folder(told)
    except OSError as error:
        raise KernelError(f"{FOLDER}: {error.strerror}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # there are journals in it
            FOLDER.rmdir()
        os.close(descriptor)


def _locked_folder(told: Callable[[str], None]) -> int:
    while True:
        FOLDER.mkdir(mode=0o755, exist_ok=True)
        descriptor = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            told("another lab is changing this machine, waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if FOLDER.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)  # whoever had it has removed it


def cookie() -> int:
    """Return the number that the kernel gave this namespace, never again in this uptime (socket(7))."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            return int.from_bytes(asking.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)
    except OSError:  # before Linux 5.14; this number may be given again, but hardly to one with vnetlab in it
        return Path("/proc/thread-self/ns/net").stat().st_ino


def _now() -> str:
    return f"{_BOOT.read_text().strip()} {cookie():x}"


def _record(path: Path, number: int, line: bytes) -> Record:
    try:
        found = json.loads(line)
        values = [found[name] for name in Record.__struct_fields__]
    except (ValueError, KeyError, TypeError) as error:
        raise KernelError(
            f"journal {path}: line {number} is none of vnetlab's; nothing was undone"
        ) from error
    return Record(*values)


def _mend(path: Path) -> None:
    """Cut off a last line that was not written whole, or the next record would be lost with it."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)


def _synchronise(folder: Path) -> None:
    """Have the folder's own entries on the disk: those of a new file are not by its fsync."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
