"""One thing to ask of, or to do to, many: shared between two processes, for the kernel serves both at once.

Two processes and not two threads, since what is said to the kernel is made and read in Python.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
from typing import TYPE_CHECKING, TypeVar

from vnetlab.errors import KernelError
from vnetlab.kernel import linux
from vnetlab.kernel.transfer import pack_error, receive, send, unpack_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Answer = TypeVar("Answer")

WORTHWHILE = 200
"""Items from which on a second process pays for itself; it takes some ten milliseconds."""


def answers(function: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
    """Return what the function says of each item, in their order.

    Of many items a forked process asks about every second one: what the function does to this process is lost
    there, and its answer goes by pickle. Raises what it raises, and KernelError where that process ended
    without a word.
    """
    if len(items) < WORTHWHILE or len(os.sched_getaffinity(0)) < 2:
        return [function(item) for item in items]
    connection, its = socket.socketpair()
    with connection:
        with its:
            process = _started(function, items[1::2], its)
        try:
            found: list[Answer | None] = [None] * len(items)
            found[::2] = [function(item) for item in items[::2]]
            found[1::2] = _received(connection)
        finally:
            os.kill(process, signal.SIGKILL)  # it has said all by now, or nobody wants to hear it
            os.waitpid(process, 0)
    return found  # type: ignore[return-value]


def each(function: Callable[[Item], None], items: Sequence[Item]) -> None:
    """Do something to each item, every second one of many in a forked process; raises as answers() does.

    After an error some of the later ones are done and some are not.
    """
    answers(function, items)


def _started(function: Callable[[Item], Answer], items: Sequence[Item], connection: socket.socket) -> int:
    parent = os.getpid()
    process = os.fork()
    if process:
        return process
    try:
        linux.die_with_parent(signal.SIGKILL)
        if os.getppid() == parent:
            send(connection, _said(function, items))
    finally:
        os._exit(0)


def _said(function: Callable[[Item], Answer], items: Sequence[Item]) -> bytes:
    try:
        return pickle.dumps((True, [function(item) for item in items]), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # told where it is asked
        return pickle.dumps((False, pack_error(error)))


def _received(connection: socket.socket) -> list[Answer]:
    try:
        succeeded, said = pickle.loads(receive(connection))  # noqa: S301 - from our own child
    except (EOFError, OSError) as error:
        raise KernelError("a process that had half of the work ended without a word") from error
    if not succeeded:
        raise unpack_error(said)
    answered: list[Answer] = said
    return answered
