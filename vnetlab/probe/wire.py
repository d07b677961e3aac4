"""The wire: mans the stations, sends the shots, writes down what arrives. Knows nothing of what is
expected.

It sends a few shots, then reads every socket empty, so that no buffer overflows however many shots there are;
where nobody answers, another thread reads while it sends the next few. `fly` runs inside the lab, in the
process of a `kernel.agent.Agent`.
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
from vnetlab.probe.columns import Shots, Sightings
from vnetlab.probe.draining import Drain
from vnetlab.probe.flight import (
    Block,
    Drop,
    Failure,
    Flight,
    Kind,
    Log,
    Role,
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
from vnetlab.probe.sending import Sender, why
from vnetlab.probe.tap import GuestPost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager


DEADLINE = 5.0
"""Seconds after the last shot at which the flight ends even if packets still arrive."""
BETWEEN_BLOCKS = 0.001
"""Seconds of quiet before the nodes of a block forget each other; who is late asks again."""
CLOSING_THREADS = 64


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
        judged = self._shots[: len(self._shots) - flight.introductions]
        self._reader = Reader(nonce, judged, macs)
        self._notes = Notes(Inbox(self._reader, nonce, judged))
        self._posts: dict[str, Post] = {}
        self._reading = Drain(self._drain, self._sweep)
        self._sender = Sender(self._shots, self._frames, macs, self._posts, self._reading)
        self._epoll = select.epoll()
        self._calls: dict[int, tuple[str, Callable[[], None]]] = {}

    def fly(self) -> Log:
        """Open, announce, send, wait for quiet, count losses."""
        for index, station in enumerate(self._flight.stations):
            self._man(index, station)
        self._listen()
        for widely in (True, False):
            for post in self._posts.values():
                with suppress(OSError):  # a NIC that is down; shots and captures say so themselves
                    post.announce(widely=widely)
        self._drain()
        # Whom a kernel knows from before it does not ask for, and no rule would count the answer.
        self._forget({name for block in self._flight.blocks for name in block.stations}, unanswered=True)
        before = self._counters()
        for at, block in enumerate(self._flight.blocks):
            if at:
                self._forget(self._flight.blocks[at - 1].stations)
            if block.stations:
                self._sender.send(block.shots)
            else:
                self._sender.send_unanswered(block.shots)
            self._settle(BETWEEN_BLOCKS)
            self._give_up(block)
        unsettled = self._settle(self._flight.linger)
        adopted = self._adopted()
        notes = self._notes
        return Log(
            sightings=Sightings(*notes.inbox.sightings()),
            send_errors=tuple(self._sender.refused),
            drops=tuple(self._drops(before)),
            failures=tuple(self._failures),
            taken=tuple(self._taken),
            sources=tuple(notes.sources),
            adopted=tuple(adopted),
            unsettled=unsettled,
        )

    def close(self) -> None:
        """Close everything, many at once: a packet socket's close waits for the kernel's RCU."""
        self._sender.close()
        self._reading.close()
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
            self._failures.append(Failure(station.name, why(error)))
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
                self._taken.append(Taken(listener, in_use=False, text=why(error)))
                continue
            self._closers.append(ears.close)
            self._watch(listener.station, ears.readers())
            if ears.occupied:
                text = "another program has it open"
                self._taken.append(Taken(listener, in_use=True, text=text))

    def _forget(self, stations: Iterable[str], *, unanswered: bool = False) -> None:
        for name in stations:
            if name in self._posts:
                self._posts[name].forget(unanswered=unanswered)

    def _give_up(self, block: Block) -> None:
        for name in block.stations if self._flight.vacant else ():
            if name in self._posts:
                self._posts[name].give_up(self._flight.vacant)

    def _drain(self, timeout: float = 0) -> None:
        """Read every socket empty."""
        while self._sweep(timeout):
            timeout = 0

    def _sweep(self, timeout: float = 0) -> bool:
        """Read every socket once that has something; tell whether any had."""
        events = self._epoll.poll(timeout, max(len(self._calls), 1))
        for descriptor, _ in events:
            station, read = self._calls[descriptor]
            try:
                read()
            except OSError as error:
                self._epoll.unregister(descriptor)
                self._failures.append(Failure(station, why(error), in_flight=True))
        return bool(events)

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
