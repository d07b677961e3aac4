"""Lanes: work of a flight that two processors do at once, each in a thread that stays on it.

What a thread sends waits in the backlog of the processor that it runs on, and is dropped there beyond 1,000
packets (``netdev_max_backlog``). So a thread that stays can tell by that one backlog how far it may go. On a
machine with one processor, and for a few frames, everything is done where it is asked for.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from vnetlab.probe import counters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Sized

    from vnetlab.probe.draining import Drain

Part = TypeVar("Part")

AT_ONCE = 128
"""Frames between two looks at the backlog."""
FULL_BACKLOG = 300
"""Packets waiting in the kernel at which sending pauses."""
WORTHWHILE = 1_000
"""Frames, a broadcast counting once for each station, from which on a second thread pays for itself."""
_PAUSE = 0.0005


class Lane:
    """Sends on one processor, or wherever it is called, at the pace at which the kernel carries."""

    def __init__(self, stations: Sized, wait: Callable[[], None], processor: int | None = None) -> None:
        """Take those who hear a broadcast, and how to let time go by."""
        self._stations = stations
        self._wait = wait
        self._processor = processor
        self._unpaced = 0

    def pace(self, sent: int) -> None:
        """Wait, now and then, until the kernel has carried most of what was sent."""
        self._unpaced += sent
        if self._unpaced >= AT_ONCE:
            self._wait_for(FULL_BACKLOG)

    def make_room(self) -> None:
        """Wait until a frame may be sent that becomes as many as there are stations; before it, and after."""
        self._wait_for(max(0, FULL_BACKLOG - len(self._stations)))

    def _wait_for(self, most: int) -> None:
        self._unpaced = 0
        while counters.backlog(self._processor) > most:
            self._wait()


class Lanes:
    """The lanes of a flight: one where it is asked, and two of which each has a processor."""

    def __init__(self, stations: Sized, drain: Drain) -> None:
        """Take the stations, and what is to be read while the only thread waits."""
        self._here = Lane(stations, lambda: drain.wait(2 * _PAUSE))
        processors = sorted(os.sched_getaffinity(0))[:2]
        self._pools = [ThreadPoolExecutor(1, initializer=_stay, initargs=(each,)) for each in processors]
        self._lanes = [Lane(stations, lambda: time.sleep(_PAUSE), each) for each in processors]

    def share(self, send: Callable[[Lane, Sequence[Part]], None], parts: Sequence[Part], frames: int) -> None:
        """Send parts, every second one by another lane if so many frames are worth it; raises what it raises.

        The order stays within a lane only.
        """
        if frames < WORTHWHILE or len(parts) < 2 or len(self._lanes) < 2:
            send(self._here, parts)
            return
        begun = [
            pool.submit(send, lane, parts[at::2])
            for at, (pool, lane) in enumerate(zip(self._pools, self._lanes, strict=True))
        ]
        for each in begun:
            each.result()

    def close(self) -> None:
        """End the threads."""
        for pool in self._pools:
            pool.shutdown()


def _stay(processor: int) -> None:
    os.sched_setaffinity(0, {processor})  # of this thread only (sched_setaffinity(2))
