"""Runs functions inside a lab: a child process that has entered the lab's namespaces.

A process of its own, because entering a user namespace needs a single-threaded one and cannot be undone;
forked by a launcher rather than by the caller, who may have threads (pytest-xdist has).
"""

from __future__ import annotations

import pickle
import socket
import threading
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from vnetlab import garbage
from vnetlab.errors import KernelError, LabLost, VnetlabError
from vnetlab.kernel import launcher
from vnetlab.kernel.transfer import receive, send, unpack_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from vnetlab.kernel.holder import Holder

Argument = TypeVar("Argument")
Result = TypeVar("Result")

PRELOAD = ("vnetlab.kernel.apply", "vnetlab.kernel.ready")
CHANGING = ("vnetlab.kernel.change",)
"""What an agent imports that will change a lab, or only look what would be changed."""


def prepare(*modules: str) -> None:
    """Have what it takes to build a lab, and these modules, imported by the time that agents are wanted.

    Returns at once.
    """
    launcher.prepare(("vnetlab.kernel.detect", *PRELOAD, *modules))


class Agent:
    """A process inside a lab. The constructor returns at once; the process starts meanwhile.

    ``preload`` names modules that the process has imported before it serves. Without a holder the process
    makes scratch namespaces for itself, which end with it.
    """

    def __init__(self, holder: Holder | None, preload: tuple[str, ...] = PRELOAD) -> None:
        self._lab = f"lab {holder.name}" if holder else "the scratch lab"
        self._lock = threading.Lock()
        self._owes = False
        self._connection, theirs = socket.socketpair()
        self._life, its = socket.socketpair()
        entering: AbstractContextManager[tuple[int, ...]] = holder.spaces() if holder else nullcontext(())
        try:
            with theirs, its, entering as descriptors:
                launcher.launch(theirs, its, descriptors, holder.lock if holder else -1, preload)
        except BaseException:
            self._connection.close()
            self._life.close()
            raise

    def call(self, function: Callable[[Any, Argument], Result], argument: Argument) -> Result:
        """Run ``function(spaces, argument)`` in the lab and return what it returns.

        Function, argument and result travel by pickle, so the function must be importable by name.
        What it raises is raised here; the traceback of anything but a VnetlabError is the text of its
        cause. Raises LabLost where the lab or the process ended.
        """
        with self.running(function, argument) as result:
            return result()

    @contextmanager
    def running(
        self, function: Callable[[Any, Argument], Result], argument: Argument
    ) -> Iterator[Callable[[], Result]]:
        """Begin a call(); calling what the context yields ends it and returns the result.

        Where the block ends without that, so does the process: its answer would pass for the next call's.
        """
        with garbage.paused():
            message = pickle.dumps((function, argument), pickle.HIGHEST_PROTOCOL)
        with self._lock:
            self._exchange(message)
            self._owes = True
            try:
                yield self._answer
            finally:
                if self._owes:
                    self.close()

    @property
    def closed(self) -> bool:
        """Whether the process was ended."""
        return self._connection.fileno() < 0

    def _answer(self) -> Any:
        try:
            answer = receive(self._connection)
        except (OSError, EOFError) as error:
            raise LabLost(f"{self._lab} ended while it was in use") from error
        self._owes = False
        with garbage.paused():
            succeeded, result, text = pickle.loads(answer)  # noqa: S301 - from our own child
        if succeeded:
            return result
        if result is None:
            raise KernelError(f"inside {self._lab}: {text}")
        raised = unpack_error(result)
        if isinstance(raised, VnetlabError):
            raise raised
        raise raised from KernelError(f"inside {self._lab}: {text}")

    def close(self) -> None:
        """End the process, whatever it is doing; the lab goes on."""
        if self.closed:
            return
        with suppress(OSError):  # it ended by itself
            self._life.shutdown(socket.SHUT_WR)  # the outer process ends the inner one and reaps it,
            self._life.recv(1)  # and closes its end by its own
        self._life.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, message: bytes) -> None:
        try:
            send(self._connection, message)
        except OSError as error:
            raise LabLost(f"{self._lab} ended while it was in use") from error
