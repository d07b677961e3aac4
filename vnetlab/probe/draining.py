"""When sockets are read: in turn with the sending, or beside it in a thread of its own.

Sending and reading are system calls, which let another thread of Python run: two processors share the work.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


class Drain:
    """Reads every socket empty; never twice at once."""

    def __init__(self, read: Callable[[float], None], sweep: Callable[[], object]) -> None:
        """Take what reads every socket empty once something has come, or so many seconds have gone by.

        And what reads every socket once.
        """
        self._read = read
        self._sweep = sweep
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[object] | None = None

    def now(self) -> None:
        """Read everything that has come."""
        self.finish()
        self._read(0)

    def beside(self) -> None:
        """Begin to read what has come, once what was begun before is done.

        What comes meanwhile is left for the next time, or packets would be read one by one as they come.
        """
        self.finish()
        self._running = self._pool.submit(self._sweep)

    def finish(self) -> None:
        """Wait for the reading that was begun; raises what it raised."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def wait(self, seconds: float) -> None:
        """Let time go by, and read meanwhile."""
        if self._running is None:
            self._read(seconds)
        else:
            time.sleep(seconds)

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()
