"""Starts the agents of this process (agent.py): by a process beside it that has imported what they need.

A fork of that one is there in milliseconds, where a Python that starts and imports needs tenths of a second.
It holds nothing of any lab: it knows modules, and has no namespaces but those that we are in. It ends with
us, however we end.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.kernel.holder import program
from vnetlab.kernel.transfer import Request, send_request

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMESPACES = ("net", "mnt", "user")


class _Standing(Struct, frozen=True):
    """What a child inherits of whoever starts it: a launcher is of use as long as that is the same."""

    process: int
    user: tuple[int, int]
    namespaces: tuple[int, ...]


class _Launcher(Struct, frozen=True):
    standing: _Standing
    connection: socket.socket
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End the process, if it is ours; agents that it forked go on."""
        self.connection.close()
        if self.standing.process == os.getpid():
            self.process.kill()
            self.process.wait()


_lock = threading.Lock()
_launcher: _Launcher | None = None
_retired: list[_Launcher] = []
"""Those of no more use, which end with the last of their agents."""


def prepare(modules: Sequence[str]) -> None:
    """Have these modules imported by the time that an agent is wanted; returns at once."""
    _request(Request(_search_path(), tuple(modules)))


def launch(
    connection: socket.socket, life: socket.socket, spaces: Sequence[int], lock: int, modules: Sequence[str]
) -> None:
    """Start an agent that serves ``connection``, and ends when nobody has the other end of ``life``.

    ``spaces`` are the descriptors of the lab's namespaces, none for a scratch one; ``lock`` is inherited, if
    there is one. Returns before the agent is there; where it cannot be started, both connections close.
    """
    kept = (lock,) if lock >= 0 else ()
    request = Request(_search_path(), tuple(modules), starts=True, spaces=len(spaces))
    _request(request, (connection.fileno(), life.fileno(), *spaces, *kept))


def end() -> None:
    """End the launcher, if there is one; the next agent starts another."""
    global _launcher
    with _lock:
        ending = [*_retired, *([_launcher] if _launcher else [])]
        _retired.clear()
        _launcher = None
        for each in ending:
            each.kill()


atexit.register(end)


def _request(request: Request, descriptors: Sequence[int] = ()) -> None:
    with _lock:
        try:
            send_request(_present().connection, request, descriptors)
        except OSError:  # somebody killed it
            send_request(_started().connection, request, descriptors)


def _present() -> _Launcher:
    if _launcher and _launcher.standing == _standing():
        return _launcher
    return _started()


def _started() -> _Launcher:
    global _launcher
    if _launcher:
        _launcher.connection.close()
        _retired.append(_launcher)
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            program("vnetlab.kernel.launcher_main", str(theirs.fileno())),
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            cwd="/",
            process_group=0,  # Ctrl-C at a terminal is for us, who end this one
        )
    _launcher = _Launcher(_standing(), ours, process)
    return _launcher


def _standing() -> _Standing:
    own = Path("/proc/thread-self/ns")
    namespaces = tuple((own / name).stat().st_ino for name in _NAMESPACES)
    return _Standing(os.getpid(), (os.geteuid(), os.getegid()), namespaces)


def _search_path() -> tuple[str, ...]:
    return tuple(os.path.abspath(entry) for entry in sys.path)  # noqa: PTH100 - it has no working directory
