"""Runs functions inside a lab: a child process that has entered the lab's namespaces.

A child, because entering a user namespace needs a single-threaded process and cannot be undone;
started afresh rather than forked, because the caller may have threads (pytest-xdist has).
"""

from __future__ import annotations

import pickle
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Self, TypeVar

from vnetlab import garbage
from vnetlab.errors import KernelError, LabLost, VnetlabError
from vnetlab.kernel import agent_main
from vnetlab.kernel.holder import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from vnetlab.kernel.holder import Holder

Argument = TypeVar("Argument")
Result = TypeVar("Result")

PRELOAD = ("vnetlab.kernel.apply", "vnetlab.kernel.ready")


class Agent:
    """A process inside a lab. The constructor returns at once; the process starts meanwhile.

    ``preload`` names modules that the process imports while it has nothing else to do. Without a holder
    the process makes scratch namespaces for itself, which end with it.
    """

    def __init__(self, holder: Holder | None, preload: tuple[str, ...] = PRELOAD) -> None:
        self._lab = f"lab {holder.name}" if holder else "the scratch lab"
        self._lock = threading.Lock()
        self._owes = False
        self._connection, theirs = socket.socketpair()
        entering: AbstractContextManager[tuple[int, ...]] = holder.spaces() if holder else nullcontext(())
        try:
            with theirs, entering as descriptors:
                passed = (theirs.fileno(), *descriptors)
                arguments = [str(descriptor) for descriptor in passed]
                inherited = (holder.lock,) if holder and holder.lock >= 0 else ()
                arguments.insert(1, "lab" if holder else "scratch")
                self._process = subprocess.Popen(
                    program("vnetlab.kernel.agent_main", *arguments),
                    pass_fds=(*passed, *inherited),
                    stdin=subprocess.DEVNULL,
                    process_group=0,  # Ctrl-C at a terminal is for the starter, which ends this one
                )
        except BaseException:
            self._connection.close()
            raise
        self._exchange(pickle.dumps((sys.path, preload)))

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
            answer = agent_main.receive(self._connection)
        except (OSError, EOFError) as error:
            raise LabLost(f"{self._lab} ended while it was in use") from error
        self._owes = False
        with garbage.paused():
            succeeded, result, text = pickle.loads(answer)  # noqa: S301 - from our own child
        if succeeded:
            return result
        if result is None:
            raise KernelError(f"inside {self._lab}: {text}")
        raised = agent_main.unpack_error(result)
        if isinstance(raised, VnetlabError):
            raise raised
        raise raised from KernelError(f"inside {self._lab}: {text}")

    def close(self) -> None:
        """End the process, whatever it is doing; the lab goes on."""
        if self.closed:
            return
        self._process.send_signal(signal.SIGTERM)  # it ends the inner process and reaps it
        self._process.wait()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, message: bytes) -> None:
        try:
            agent_main.send(self._connection, message)
        except OSError as error:
            raise LabLost(f"{self._lab} ended while it was in use") from error
