"""Changes under traffic: what is denied never passes, what is allowed and unchanged loses not one packet."""

from __future__ import annotations

import random
import socket
import struct
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from vnetlab import plan
from vnetlab.compile import compile_topology
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.apply import apply
from vnetlab.kernel.ready import wait_ready
from vnetlab.state import State
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnetlab.kernel.holder import Holder
    from vnetlab.kernel.spaces import Spaces
    from vnetlab.state import Namespace

pytestmark = pytest.mark.kernel
CHANGES = 200
PORT = 7000
MODES = ("isolated", "host-only", "nat", "routed")

FILE = """
name: streams
segments: {{lan: {{subnets: [192.0.2.0/24, "2001:db8:1::/64"]}}}}
machines:
  peer:
    segment: lan
    addresses: [192.0.2.7/24, "2001:db8:1::7/64"]
    routes: [{{to: 10.0.0.0/8, via: 192.0.2.1}}, {{to: "fd00::/16", via: "2001:db8:1::1"}}]
hosts:
  hv:
    nics: {{eth0: {{segment: lan, addresses: [192.0.2.1/24, "2001:db8:1::1/64"]}}}}
    networks:
      home:
        mode: nat
        uplink: eth0
        subnets: [10.1.0.0/24, "fd00:1::/64"]
        forwards: [{forwards}]
      den: {{mode: host-only, subnets: [10.2.0.0/24, "fd00:2::/64"]}}
      b: {{mode: {b}, subnets: [10.3.0.0/24, "fd00:3::/64"]}}
      c: {{mode: {c}, subnets: [10.4.0.0/24, "fd00:4::/64"]}}
    vms:
      web: {{networks: {{home: {{addresses: [10.1.0.2/24, "fd00:1::2/64"]}}}}}}
      cam: {{networks: {{home: {{addresses: [10.1.0.3/24, "fd00:1::3/64"]}}}}}}
      tool: {{networks: {{den: {{addresses: [10.2.0.2/24, "fd00:2::2/64"]}}}}}}
      b1: {{networks: {{b: {{addresses: [10.3.0.2/24, "fd00:3::2/64"]}}}}}}
      c1: {{networks: {{c: {{addresses: [10.4.0.2/24, "fd00:4::2/64"]}}}}}}
{more}
"""


def state_of(b: str, c: str, forwards: str = "", more: str = "") -> State:
    def mode(name: str) -> str:
        return f"{name}, uplink: eth0" if name in ("nat", "routed") else name

    text = FILE.format(b=mode(b), c=mode(c), forwards=forwards, more=more)
    return compile_topology(Topology.parse(text, "streams.yaml"))


def random_state(rng: random.Random) -> State:
    forwards = rng.choice(["", "{protocol: tcp, port: 8080, to: cam, to_port: 80}"])
    more = [f"      {vm}: {vm[0]}" for vm in ("b2", "b3", "c2") if rng.random() < 0.5]
    return state_of(rng.choice(MODES), rng.choice(MODES), forwards, "\n".join(more))


@dataclass(frozen=True)
class Stream:
    """Datagrams with numbers, from one node to an address of another."""

    source: str
    destination: str
    address: str


ALLOWED = (
    Stream("web", "peer", "192.0.2.7"),
    Stream("web", "peer", "2001:db8:1::7"),
    Stream("web", "cam", "10.1.0.3"),
    Stream("web", "cam", "fd00:1::3"),
    Stream("web", "hv", "192.0.2.1"),
    Stream("tool", "hv", "10.2.0.1"),
    Stream("hv", "peer", "192.0.2.7"),
)
"""Whatever the modes of the two other networks are."""
DENIED = (
    Stream("peer", "web", "10.1.0.2"),
    Stream("peer", "web", "fd00:1::2"),
    Stream("peer", "tool", "10.2.0.2"),
    Stream("tool", "peer", "192.0.2.7"),
    Stream("tool", "web", "10.1.0.2"),
    Stream("tool", "b1", "10.3.0.2"),
    Stream("b1", "web", "10.1.0.2"),
    Stream("b1", "web", "fd00:1::2"),
    Stream("b1", "tool", "10.2.0.2"),
    Stream("web", "b1", "10.3.0.2"),
    Stream("web", "tool", "10.2.0.2"),
    Stream("c1", "tool", "10.2.0.2"),
    Stream("b1", "hv", "10.1.0.1"),
    Stream("peer", "hv", "10.2.0.1"),
)


@dataclass
class Seen:
    """What became of a stream."""

    sent: int = 0
    sent_at: list[int] = field(default_factory=list)
    """By the clock that does not jump, in nanoseconds."""
    received: set[int] = field(default_factory=set)
    sources: set[tuple[str, int]] = field(default_factory=set)
    last: dict[str, int] = field(default_factory=dict)
    """When the kernel had the last datagram of each source address: nanoseconds of the real-time clock."""


class _Running:
    def __init__(self, spaces: Spaces, number: int, stream: Stream) -> None:
        self.seen = Seen()
        self._target = (stream.address, PORT + number)
        family = socket.AF_INET6 if ":" in stream.address else socket.AF_INET
        with spaces.inside(stream.destination):
            self._in = socket.socket(family, socket.SOCK_DGRAM)
            self._in.setsockopt(socket.SOL_IP, 15, 1)  # IP_FREEBIND: the address may come and go
            self._in.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
            self._in.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", PORT + number))
        with spaces.inside(stream.source):
            self._out = socket.socket(family, socket.SOCK_DGRAM)
        self._in.setblocking(False)
        self._out.setblocking(False)

    def send(self) -> None:
        with suppress(OSError):  # an error of an earlier one, or no route: a denied flow may have none
            at = time.monotonic_ns()
            self._out.sendto(str(self.seen.sent + 1).encode(), self._target)
            self.seen.sent += 1
            self.seen.sent_at.append(at)

    def receive(self) -> None:
        with suppress(BlockingIOError):
            while True:
                data, notes, _, source = self._in.recvmsg(99, 99)
                self.seen.received.add(int(data))
                self.seen.sources.add(source[:2])
                seconds, nanoseconds = struct.unpack("qq", notes[0][2])
                self.seen.last[source[0]] = seconds * 10**9 + nanoseconds


def run_streams(spaces: Spaces, job: tuple[tuple[Stream, ...], str]) -> list[Seen]:
    """Send a datagram of each every two milliseconds, until a file is there."""
    streams, stop = job
    running = [_Running(spaces, number, stream) for number, stream in enumerate(streams)]
    Path(f"{stop}.running").touch()
    while not Path(stop).exists():
        for each in running:
            each.send()
        time.sleep(0.002)
        for each in running:
            each.receive()
    time.sleep(0.2)
    for each in running:
        each.receive()
    return [each.seen for each in running]


class Traffic:
    """Streams that run beside the test."""

    def __init__(self, holder: Holder, streams: tuple[Stream, ...], stop: Path) -> None:
        self._agent = Agent(holder)
        self._stop = stop
        self._found: list[Seen] = []
        self._thread = threading.Thread(target=self._run, args=(streams,))
        self._thread.start()
        while not Path(f"{stop}.running").exists():
            time.sleep(0.005)

    def _run(self, streams: tuple[Stream, ...]) -> None:
        self._found = self._agent.call(run_streams, (streams, str(self._stop)))

    def stop(self) -> list[Seen]:
        self._stop.touch()
        self._thread.join()
        self._agent.close()
        return self._found


@pytest.fixture
def agent(holder: Holder) -> Iterator[Agent]:
    with Agent(holder) as inside:
        yield inside


def test_no_violation_in_random_changes(holder: Holder, agent: Agent, tmp_path: Path) -> None:
    rng = random.Random(2026)
    present = state_of("nat", "isolated")
    agent.call(apply, plan.build(present))
    agent.call(wait_ready, present)
    traffic = Traffic(holder, (*ALLOWED, *DENIED), tmp_path / "stop")
    done = 0
    while done < CHANGES:
        desired = random_state(rng)
        change = plan.diff(present, desired)
        if change.steps:
            agent.call(apply, change)
            present, done = desired, done + 1
    found = traffic.stop()
    allowed, denied = found[: len(ALLOWED)], found[len(ALLOWED) :]
    lost = {s: seen.sent - len(seen.received) for s, seen in zip(ALLOWED, allowed, strict=True)}
    passed = {s: len(seen.received) for s, seen in zip(DENIED, denied, strict=True)}
    assert all(seen.sent > 500 for seen in allowed)
    assert {s: n for s, n in lost.items() if n} == {}
    assert {s: n for s, n in passed.items() if n} == {}
    assert [len(seen.sources) for seen in allowed] == [1] * len(ALLOWED)


@pytest.mark.parametrize("mode", ["host-only", "isolated", "routed"])
def test_a_change_of_mode_takes_effect_for_live_flows_at_once(
    holder: Holder, agent: Agent, tmp_path: Path, mode: str
) -> None:
    before, after = state_of("nat", "nat"), state_of(mode, "nat")
    agent.call(apply, plan.build(before))
    agent.call(wait_ready, before)
    peer = ("192.0.2.7", "2001:db8:1::7")
    streams = tuple(Stream(vm, "peer", address) for vm in ("b1", "c1") for address in peer)
    traffic = Traffic(holder, streams, tmp_path / "stop")
    time.sleep(0.2)
    agent.call(apply, plan.diff(before, after))
    changed = time.time_ns()
    time.sleep(0.2)
    found = traffic.stop()
    for seen, translated in zip(found[:2], ("192.0.2.1", "2001:db8:1::1"), strict=True):
        assert len(seen.received) > 20
        assert seen.last[translated] <= changed
        assert len(seen.last) == (2 if mode == "routed" else 1)
    for seen in found[2:]:
        assert len(seen.received) == seen.sent
        assert len(seen.sources) == 1


MACS = {"cam": "02:00:00:00:00:c1"}


def with_macs(state: State, macs: dict[str, str]) -> State:
    """Return a State in which the only device of these nodes has another MAC."""

    def changed(n: Namespace) -> Namespace:
        links = tuple(replace(link, mac=macs[n.name]) for link in n.links) if n.name in macs else n.links
        return replace(n, links=links)

    return State(tuple(changed(n) for n in state.namespaces))


def with_host_mac(state: State, altname: str) -> State:
    """Return a State in which a bridge of the host, and with it the host, has another MAC."""
    host = state.namespace("hv")
    links = tuple(
        replace(link, mac="02:00:00:00:00:aa") if link.altname == altname else link for link in host.links
    )
    assert links != host.links
    return State(tuple(replace(n, links=links) if n is host else n for n in state.namespaces))


def exchanged_macs(state: State) -> State:
    """Return a State in which two VMs of a network have each other's MAC: where a bridge knows them too."""
    macs = {name: state.namespace(name).links[0].mac for name in ("web", "cam")}
    return with_macs(state, {"web": macs["cam"], "cam": macs["web"]})


def exchanged_addresses(state: State) -> State:
    """Return a State in which two VMs of a network have each other's addresses."""
    other = {"b1": "b2", "b2": "b1"}

    def changed(n: Namespace) -> Namespace:
        return replace(n, addresses=state.namespace(other[n.name]).addresses) if n.name in other else n

    return State(tuple(changed(n) for n in state.namespaces))


TWO = """      b2: {networks: {b: {addresses: [10.3.0.3/24, "fd00:3::3/64"]}}}
      b3: {networks: {b: {addresses: [10.3.0.4/24, "fd00:3::4/64"]}}}"""
MOVES: dict[str, tuple[Callable[[State], State], tuple[Stream, ...]]] = {
    "a VM's MAC": (
        lambda s: with_macs(s, MACS),
        (
            Stream("web", "cam", "10.1.0.3"), Stream("web", "cam", "fd00:1::3"),
            Stream("hv", "cam", "10.1.0.3"), Stream("hv", "cam", "fd00:1::3"),
        ),
    ),
    "the host's MAC": (
        lambda s: with_host_mac(s, "hv.home"),
        (Stream("web", "peer", "192.0.2.7"), Stream("web", "peer", "2001:db8:1::7")),
    ),
    "MACs of two VMs": (
        exchanged_macs,
        (Stream("hv", "cam", "10.1.0.3"), Stream("hv", "web", "fd00:1::2")),
    ),
    "addresses of two VMs": (
        exchanged_addresses,
        (Stream("b3", "b1", "10.3.0.3"), Stream("b3", "b2", "fd00:3::2")),
    ),
}  # fmt: skip
"""What changes, and streams that are allowed before and after, or only after, to an address that moves."""


@pytest.mark.parametrize("what", MOVES)
def test_who_is_somewhere_else_is_found_there_at_once(
    holder: Holder, agent: Agent, tmp_path: Path, what: str
) -> None:
    """Without it a neighbour entry, once confirmed, is believed for fifteen seconds at least."""
    change, streams = MOVES[what]
    before = state_of("isolated", "nat", more=TWO)
    after = change(before)
    agent.call(apply, plan.build(before))
    agent.call(wait_ready, before)
    traffic = Traffic(holder, streams, tmp_path / "stop")
    time.sleep(0.5)
    agent.call(confirm_neighbours, tuple(n.name for n in before.namespaces if n.kind != "segment"))
    kept = agent.call(learned, "b3")
    agent.call(apply, plan.diff(before, after))
    changed = time.monotonic_ns()
    agent.call(wait_ready, after)
    time.sleep(1.0)
    found = traffic.stop()
    for stream, seen in zip(streams, found, strict=True):
        late = [number for number, at in enumerate(seen.sent_at, 1) if at > changed]
        assert len(late) > 50
        assert set(late) <= seen.received, stream
    if not any(stream.source == "b3" for stream in streams):
        assert agent.call(learned, "b3") == kept
    assert plan.diff(after, after).steps == ()


def confirm_neighbours(spaces: Spaces, nodes: tuple[str, ...]) -> None:
    """Have all that was learned be believed for long, as after answers of TCP."""
    for node in nodes:
        with spaces.inside(node):
            shown = subprocess.run(["ip", "neigh"], capture_output=True, text=True, check=True).stdout
            for line in shown.splitlines():
                if "lladdr" in line and "PERMANENT" not in line:
                    address, _, device, _, mac, *_ = line.split()
                    entry = ["ip", "neigh", "replace", address, "dev", device, "lladdr", mac]
                    subprocess.run([*entry, "nud", "reachable"], check=True)


def learned(spaces: Spaces, node: str) -> set[tuple[str, str]]:
    with spaces.inside(node):
        shown = subprocess.run(["ip", "neigh"], capture_output=True, text=True, check=True).stdout
    return {(line.split()[0], line.split()[4]) for line in shown.splitlines() if "lladdr" in line}
