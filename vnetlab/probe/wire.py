"""The wire: mans the stations, sends the shots, writes down what arrives. Knows nothing of what is
expected.

One thread does it all: it sends a few shots, then reads every socket empty, so that no buffer
overflows however many shots there are. `fly` runs inside the lab, in the process of a
`kernel.agent.Agent`.
"""

from __future__ import annotations

import resource
import secrets
import select
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vnetlab import garbage
from vnetlab.probe import counters
from vnetlab.probe.bursts import bursts
from vnetlab.probe.columns import Shots, Sightings
from vnetlab.probe.flight import (
    Block,
    Drop,
    Failure,
    Flight,
    Kind,
    Log,
    Role,
    SendError,
    Shot,
    Station,
    Taken,
)
from vnetlab.probe.frames import Frames
from vnetlab.probe.host import HostPost
from vnetlab.probe.inbox import Inbox
from vnetlab.probe.listeners import Ears
from vnetlab.probe.posts import MachinePost, Notes, PortsPost, Post
from vnetlab.probe.reading import Reader
from vnetlab.probe.tap import GuestPost
from vnetlab.probe.volley import patched, volleys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from vnetlab.probe.columns import Numbers

CHUNK = 200
"""Shots of one sender, or to one receiver, between two rounds of reading: half of what the smallest usual
receive buffer holds.
"""
AT_ONCE = 128
"""Frames between two looks at the backlog."""
FULL_BACKLOG = 300
"""Packets waiting in the kernel at which sending pauses; it drops from 1,000
(``netdev_max_backlog``).
"""
DEADLINE = 5.0
"""Seconds after the last shot at which the flight ends even if packets still arrive."""
BETWEEN_BLOCKS = 0.01
EVENTS = 256
CLOSING_THREADS = 16


class Spaces(Protocol):
    """What the wire needs of `kernel.spaces.Spaces`."""

    def inside(self, name: str) -> AbstractContextManager[None]:
        """Move into a namespace and back."""


def fly(spaces: Spaces, flight: Flight, nonce: int | None = None) -> Log:
    """Fly a flight and return its log. What cannot be opened is in the log, not raised.

    ``nonce`` (32 bits) is what its packets are known by; by default nobody else knows it.
    """
    _allow_descriptors()
    with garbage.paused():  # or a collection walks every sighting while packets wait
        wire = _Wire(spaces, flight, secrets.randbits(32) if nonce is None else nonce)
        try:
            return wire.fly()
        finally:
            wire.close()


def _allow_descriptors() -> None:
    """Raise the soft limit of open files to the hard one: a machine needs three to five."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Wire:
    def __init__(self, spaces: Spaces, flight: Flight, nonce: int) -> None:
        self._spaces = spaces
        self._flight = flight
        self._closers: list[Callable[[], None]] = []
        self._shots = Shots.of(flight.shots)
        self._routed: defaultdict[str, list[Shot]] = defaultdict(list)
        for number in np.flatnonzero(self._shots.rows["mac_size"] == 0).tolist():
            shot = self._shots[number]
            self._routed[shot.station].append(shot)
        self._failures: list[Failure] = []
        self._taken: list[Taken] = []
        self._frames = Frames(nonce)
        macs = {
            (station.name, label): point.mac
            for station in flight.stations
            for point in station.points
            for label in point.labels
        }
        self._macs = _macs(self._shots, macs)
        self._unpaced = 0
        judged = self._shots[: len(self._shots) - flight.introductions]
        self._reader = Reader(nonce, judged, macs)
        self._notes = Notes(Inbox(self._reader, nonce, judged))
        self._posts: dict[str, Post] = {}
        self._epoll = select.epoll()
        self._calls: dict[int, tuple[str, Callable[[], None]]] = {}

    def fly(self) -> Log:
        """Open, announce, send, wait for quiet, count losses."""
        for index, station in enumerate(self._flight.stations):
            self._man(index, station)
        self._listen()
        for post in self._posts.values():
            with suppress(OSError):  # a NIC that is down; shots and captures say so themselves
                post.announce()
        self._drain()
        before = self._counters()
        for at, block in enumerate(self._flight.blocks):
            if at:
                self._settle(BETWEEN_BLOCKS)
                self._forget(self._flight.blocks[at - 1])
            self._send_all(block.shots)
        unsettled = self._settle(self._flight.linger)
        adopted = self._adopted()
        notes = self._notes
        return Log(
            sightings=Sightings(*notes.inbox.sightings()),
            send_errors=tuple(notes.send_errors),
            drops=tuple(self._drops(before)),
            failures=tuple(self._failures),
            taken=tuple(self._taken),
            sources=tuple(notes.sources),
            adopted=tuple(adopted),
            unsettled=unsettled,
        )

    def close(self) -> None:
        """Close everything, many at once: a packet socket's close waits for the kernel's RCU."""
        self._epoll.close()
        with ThreadPoolExecutor(CLOSING_THREADS) as pool:
            for closing in [pool.submit(close) for close in self._closers]:
                closing.result()

    def _man(self, index: int, station: Station) -> None:
        frames, reader, notes = self._frames, self._reader, self._notes
        routed = self._routed[station.name]
        try:
            with self._spaces.inside(station.space):
                post: Post
                if station.role is Role.MACHINE:
                    post = MachinePost(station, index, frames, notes, routed)
                elif station.role is Role.HOST:
                    post = HostPost(station, index, frames, reader, notes, routed)
                elif station.role is Role.GUEST:
                    post = GuestPost(station, index, frames, reader, notes, self._flight.listeners)
                else:
                    post = PortsPost(station, index, frames, reader, notes)
        except OSError as error:
            self._failures.append(Failure(station.name, _why(error)))
            return
        self._closers.append(post.close)
        self._posts[station.name] = post
        self._watch(station.name, post.readers())

    def _watch(self, station: str, readers: Iterable[tuple[int, Callable[[], None]]]) -> None:
        for descriptor, read in readers:
            self._epoll.register(descriptor, select.EPOLLIN)
            self._calls[descriptor] = station, read

    def _listen(self) -> None:
        roles = {station.name: station for station in self._flight.stations}
        for listener in self._flight.listeners:
            station = roles[listener.station]
            if station.role is Role.GUEST or station.name not in self._posts:
                continue
            try:
                with self._spaces.inside(station.space):
                    ears = Ears(listener, self._frames.nonce)
            except OSError as error:
                self._taken.append(Taken(listener, in_use=False, text=_why(error)))
                continue
            self._closers.append(ears.close)
            self._watch(listener.station, ears.readers())
            if ears.occupied:
                text = "another program has it open"
                self._taken.append(Taken(listener, in_use=True, text=text))

    def _send_all(self, numbers: Sequence[int]) -> None:
        order = np.asarray(numbers, np.int64)
        for part in bursts(self._shots.rows[order], CHUNK):
            burst = order[part]
            whole = patched(self._shots.rows[burst])
            if whole.any():
                self._transmit(burst[whole])
            for number in burst[~whole].tolist():
                self._send(number, self._shots[number])
            self._drain()

    def _send(self, number: int, shot: Shot) -> None:
        post = self._posts.get(shot.station)
        if post is None:
            return
        try:
            post.send(number, shot)
        except OSError as error:
            self._refused(number, error)
        self._pace(AT_ONCE, flood=True)  # its kernel may ask all of a segment for the next hop

    def _transmit(self, numbers: Numbers) -> None:
        shots = self._shots
        for volley in volleys(self._frames, numbers, shots.rows[numbers], self._macs):
            # each frame for a group becomes as many as there are stations, before the next is sent
            group = volley.frames.packets[0, 0] & 1
            step = max(1, AT_ONCE // len(self._flight.stations)) if group else AT_ONCE
            for begin, end in volley.runs:
                row = shots.rows[volley.shots[begin]]
                post = self._posts.get(shots.stations[row["station"]])
                if post is None:
                    continue
                for start in range(begin, end, step):
                    stop = min(start + step, end)
                    for at, error in post.transmit(shots.nics[row["nic"]], volley.frames, start, stop):
                        self._refused(int(volley.shots[at]), error)
                    self._pace(AT_ONCE if group else stop - start, flood=bool(group))

    def _refused(self, number: int, error: OSError) -> None:
        self._notes.send_errors.append(SendError(number, error.errno or 0, _why(error)))

    def _pace(self, sent: int, *, flood: bool = False) -> None:
        """Wait, now and then, until the kernel has carried most of what was sent."""
        self._unpaced += sent
        if self._unpaced < AT_ONCE:
            return
        self._unpaced = 0
        most = max(0, FULL_BACKLOG - len(self._flight.stations)) if flood else FULL_BACKLOG
        while counters.backlog() > most:
            self._drain(0.001)

    def _forget(self, block: Block) -> None:
        for name in block.stations:
            if name in self._posts:
                self._posts[name].forget()

    def _drain(self, timeout: float = 0) -> None:
        """Read every socket empty."""
        while events := self._epoll.poll(timeout, EVENTS):
            timeout = 0
            for descriptor, _ in events:
                station, read = self._calls[descriptor]
                try:
                    read()
                except OSError as error:
                    self._epoll.unregister(descriptor)
                    self._failures.append(Failure(station, _why(error), in_flight=True))

    def _settle(self, quiet: float) -> bool:
        """Read until nothing has come for ``quiet`` seconds; tell if the deadline came first."""
        end = time.monotonic() + DEADLINE
        still = time.monotonic() + quiet
        while (now := time.monotonic()) < still:
            if now > end:
                return True
            before = self._notes.inbox.count
            self._drain(still - now)
            if self._notes.inbox.count != before:
                still = time.monotonic() + quiet
        return False

    def _counters(self) -> counters.Counters:
        found = counters.softnet() | counters.neighbour_tables()
        for station in self._flight.stations:
            post = self._posts.get(station.name)
            if post is None:
                continue
            post.lost()  # asking sets it back to nothing
            with self._spaces.inside(station.space):
                found |= counters.devices(station.name, [p.device for p in station.points])
                if station.role is Role.HOST:
                    found |= counters.conntrack(station.name)
        return found

    def _drops(self, before: counters.Counters) -> Iterator[Drop]:
        for name, post in self._posts.items():
            if lost := post.lost():
                yield Drop(name, "packets that the probe was too slow to read", lost)
        yield from counters.moved(before, self._counters())

    def _adopted(self) -> Iterator[tuple[int, str, str]]:
        """Find routes that come from the flight's router advertisements."""
        signs = [
            (number, self._frames.prefix(number).hex(), self._frames.router(number, shot).hex())
            for number in np.flatnonzero(self._shots.rows["kind"] == Kind.RA).tolist()
            for shot in (self._shots[number],)
        ]
        for name in self._flight.watched:
            if name not in self._posts:
                continue
            with self._spaces.inside(name):
                routes = counters.routes6()
            for number, prefix, router in signs:
                for route in routes:
                    if prefix in route or router in route:
                        yield number, name, route


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


def _why(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"
