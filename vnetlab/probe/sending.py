"""Sending: shots in bursts that no buffer overflows of, at a pace that no queue of the kernel's does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vnetlab.probe.bursts import bursts
from vnetlab.probe.flight import SendError
from vnetlab.probe.lanes import AT_ONCE, Lanes
from vnetlab.probe.volley import patched, volleys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from vnetlab.probe.columns import Numbers, Shots
    from vnetlab.probe.draining import Drain
    from vnetlab.probe.frames import Frames
    from vnetlab.probe.lanes import Lane
    from vnetlab.probe.posts import Post
    from vnetlab.probe.volley import Volley

CHUNK = 128
"""Shots of one sender, and to one receiver, between two rounds of reading: with the answers half of what the
smallest usual receive buffer holds. Where nobody answers, two such bursts fit, and one is read while the next
is sent.
"""


class Sender:
    """Sends the shots of a flight."""

    def __init__(
        self,
        shots: Shots,
        frames: Frames,
        macs: Mapping[tuple[str, str], bytes],
        posts: Mapping[str, Post],
        drain: Drain,
    ) -> None:
        """Take the MACs of NICs, who sends, and what reads every socket empty."""
        self.refused: list[SendError] = []
        self._shots = shots
        self._frames = frames
        self._macs = _macs(shots, macs)
        self._posts = posts
        self._drain = drain
        self._lanes = Lanes(posts, drain)

    def send(self, numbers: Sequence[int]) -> None:
        """Send shots, and read in between what comes of them."""
        for _ in self._bursts(numbers):
            self._drain.now()

    def send_unanswered(self, numbers: Sequence[int]) -> None:
        """Send shots that nobody answers; what comes of a burst is read while the next one is sent."""
        for _ in self._bursts(numbers):
            self._drain.beside()
        self._drain.finish()

    def _bursts(self, numbers: Sequence[int]) -> Iterator[None]:
        """Send shots, and let the caller read after each burst."""
        order = np.asarray(numbers, np.int64)
        for part in bursts(self._shots.rows[order], CHUNK):
            burst = order[part]
            whole = patched(self._shots.rows[burst])
            if whole.any():
                self._transmit(burst[whole])
            single = burst[~whole].tolist()
            self._lanes.share(self._send_each, single, len(single) * len(self._posts))
            yield

    def _send_each(self, lane: Lane, numbers: Sequence[int]) -> None:
        for number in numbers:
            shot = self._shots[number]
            post = self._posts.get(shot.station)
            if post is None:
                continue
            lane.make_room()  # its kernel may ask all of a segment for the next hop
            try:
                post.send(number, shot)
            except OSError as error:
                self._refuse(number, error)
            lane.make_room()

    def _transmit(self, numbers: Numbers) -> None:
        for volley in volleys(self._frames, numbers, self._shots.rows[numbers], self._macs):
            copies = len(self._posts) if volley.for_groups else 1
            self._lanes.share(partial(self._transmit_runs, volley), volley.runs, len(volley.shots) * copies)

    def _transmit_runs(self, volley: Volley, lane: Lane, runs: Sequence[tuple[int, int]]) -> None:
        shots, group = self._shots, volley.for_groups
        # each frame for a group becomes as many as there are stations, before the next is sent
        step = max(1, AT_ONCE // len(self._posts)) if group else AT_ONCE
        for begin, end in runs:
            row = shots.rows[volley.shots[begin]]
            post = self._posts.get(shots.stations[row["station"]])
            if post is None:
                continue
            for start in range(begin, end, step):
                stop = min(start + step, end)
                if group:
                    lane.make_room()
                for at, error in post.transmit(shots.nics[row["nic"]], volley.frames, start, stop):
                    self._refuse(int(volley.shots[at]), error)
                if group:
                    lane.make_room()
                else:
                    lane.pace(stop - start)

    def _refuse(self, number: int, error: OSError) -> None:
        self.refused.append(SendError(number, error.errno or 0, why(error)))

    def close(self) -> None:
        """End the threads that it sends by."""
        self._lanes.close()


def _macs(shots: Shots, macs: Mapping[tuple[str, str], bytes]) -> NDArray[np.uint8]:
    """Return the MAC of each NIC by the numbers that shots have for station and NIC."""
    found = np.zeros((len(shots.stations), len(shots.nics), 6), np.uint8)
    size = max(len(shots.nics), 1)
    for place in np.unique(shots.rows["station"].astype(np.int64) * size + shots.rows["nic"]).tolist():
        station, nic = divmod(place, size)
        mac = macs.get((shots.stations[station], shots.nics[nic]))
        if mac:
            found[station, nic] = np.frombuffer(mac, np.uint8)
    return found


def why(error: OSError) -> str:
    """Return an error of the system in words."""
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"
