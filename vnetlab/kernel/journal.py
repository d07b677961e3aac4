"""What a lab keeps about itself on its tmpfs, and what it writes there before it changes.

==============  =======================================================================================
file            holds
==============  =======================================================================================
``.change``     a change that is being carried out, with all that undoes it; locked by who carries it out
``.about``      the lab's description, from its first change on (the holder keeps the first one)
``.hosts``      the lab's /etc/hosts
``.lock``       locked by the command that has the lab to itself; says which one that is (lock.py)
==============  =======================================================================================

A file takes its place by rename(2), so it is there as a whole or not at all. To remove ``.change`` is to
commit: a lab that has one, locked by nobody, was left between two States.
"""

from __future__ import annotations

import fcntl
import os
import pickle
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.kernel import control, writes

if TYPE_CHECKING:
    from vnetlab.kernel.read import Node
    from vnetlab.localise import OnMachine
    from vnetlab.state import State

CHANGE, HOSTS = ".change", ".hosts"


class Before(Struct, frozen=True):
    """A lab as it was, for who has to restore it."""

    state: State
    nodes: tuple[Node, ...]
    """All that the lab has before, after and in between."""
    description: bytes
    """Empty where the holder's own is the valid one."""
    hosts: str
    where: OnMachine | None = None
    """Set where a host is this very machine."""


class Journal:
    """The record of one change; its file is locked as long as this process lives."""

    def __init__(self, root: int, descriptor: int) -> None:
        self._root = root
        self._descriptor = descriptor

    @classmethod
    def begin(cls, root: int, before: Before) -> Journal:
        """Record a change before its first step; raises OSError."""
        descriptor = os.open(f"{CHANGE}.new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=root)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        _write(descriptor, pickle.dumps(before, pickle.HIGHEST_PROTOCOL))
        writes.begin("record the change")
        os.rename(f"{CHANGE}.new", CHANGE, src_dir_fd=root, dst_dir_fd=root)
        writes.done("record the change")
        return cls(root, descriptor)

    @classmethod
    def unfinished(cls, root: int) -> Journal | None:
        """Return the record of a change that nobody carries out any more; None where there is none.

        Waits for one that is being carried out. Raises OSError.
        """
        while True:
            try:
                descriptor = os.open(CHANGE, os.O_RDWR | os.O_CLOEXEC, dir_fd=root)
            except FileNotFoundError:
                return None
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return cls(root, descriptor)
            os.close(descriptor)  # finished while we waited

    def before(self) -> Before:
        """Return what was recorded."""
        size = os.fstat(self._descriptor).st_size
        found = pickle.loads(os.pread(self._descriptor, size, 0))  # noqa: S301 - our own, on a private tmpfs
        assert isinstance(found, Before)
        return found

    def finish(self) -> None:
        """End the change, done or undone; doing it again is no error. Raises OSError."""
        writes.begin("finish the change")
        remove(self._root, CHANGE)
        writes.done("finish the change")
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def description(root: int) -> bytes:
    """Return the description that a change wrote; empty where none did."""
    return read(root, control.ABOUT)


def describe(root: int, text: bytes) -> None:
    """Put a description in the place of the last one; an empty one gives the holder's back its validity."""
    writes.begin("describe the lab")
    if text:
        replace(root, control.ABOUT, text)
    else:
        remove(root, control.ABOUT)
    writes.done("describe the lab")


def read(root: int, name: str) -> bytes:
    """Return what a file holds; nothing where there is none. Raises OSError."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=root)
    except FileNotFoundError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def replace(root: int, name: str, content: bytes) -> None:
    """Put a file in the place of another one at once; raises OSError."""
    new = f"{name}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=root)
    try:
        _write(descriptor, content)
    finally:
        os.close(descriptor)
    os.rename(new, name, src_dir_fd=root, dst_dir_fd=root)


def remove(root: int, name: str) -> None:
    """Remove a file, if it is there; raises OSError."""
    try:
        os.unlink(name, dir_fd=root)
    except FileNotFoundError:
        pass


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
