"""A journal of what is about to be done to a namespace that outlives the lab: this very machine's.

Written before each step and synchronised (fsync(2)), one JSON object a line, one file for each lab. Whoever
undoes a lab works from the journal alone, last record first, and removes nothing else. A step may have been
recorded and not done, or what was made may have gone or been replaced since: so a record names the mark by
which the thing is known again, and whoever undoes it looks for the mark before it touches anything.

Rejected: one record for a whole change, since a power cut in its midst leaves no telling how far it got; and
finding a lab's things by their names, since a name proves nothing about who made it.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Self

from vnetlab.errors import KernelError

if TYPE_CHECKING:
    from pathlib import Path

ENDING = ".journal"


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that is about to be made or changed."""

    kind: str
    """``link``, ``table`` or ``sysctl``."""
    name: str
    """Of the device, of the table with its family, or of the setting."""
    mark: str
    """How it is known again: altname of a device, value that a setting was given."""
    before: str = ""
    """What a setting was; empty for a thing that was not there."""


class Journal:
    """The journal of one lab, open for writing; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open the journal, made where it is not there; raises KernelError."""
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            _mend(path)
            _synchronise(path.parent)
        except OSError as error:
            raise KernelError(f"journal {path}: {error.strerror}") from error

    def write(self, record: Record) -> None:
        """Record a step; it is on the disk when this returns. Raises KernelError, and then do nothing."""
        line = json.dumps(asdict(record)).encode() + b"\n"
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
            os.fsync(self._descriptor)
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


def forget(path: Path) -> None:
    """Remove a journal of which everything was undone; raises KernelError."""
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        _synchronise(path.parent)
    except OSError as error:
        raise KernelError(f"journal {path}: {error.strerror}") from error


def _record(path: Path, number: int, line: bytes) -> Record:
    try:
        found = json.loads(line)
        values = [found[field.name] for field in fields(Record)]
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
