"""The phases of vnetlab apart, inside one process: ``python -m benchmarks.phases FILE [pure|probe]``.

Load, compile, plan, predict; and unless ``pure``, apply by kind of step, each kind as a plan of its own,
ready, read, down. With ``probe`` every kind of flow in a flight of its own too. Prints a line of JSON: the
seconds of each phase.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vnetlab import plan
from vnetlab.compile import compile_topology
from vnetlab.examine import examine
from vnetlab.forecast import forecast
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.apply import apply
from vnetlab.kernel.holder import Holder
from vnetlab.kernel.read import nodes_of, read
from vnetlab.kernel.ready import wait_ready
from vnetlab.modes import guarantees_for
from vnetlab.probe import PRELOAD
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.guarantees import Flow, Guarantee
    from vnetlab.plan import Step
    from vnetlab.state import State


class Clock:
    """Seconds by phase, in the order in which they were first measured."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Take the time of the block."""
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def measure(file: str, mode: str) -> dict[str, float]:
    """Run every phase once; raises what vnetlab raises."""
    clock = Clock()
    with clock.phase("load"):
        topology = Topology.load(file)
    with clock.phase("compile"):
        state = compile_topology(topology)
    with clock.phase("plan"):
        steps = plan.build(state).steps
    with clock.phase("predict"):
        forecast(topology, every_pair=False)
    if mode == "pure":
        return clock.seconds
    with Holder.start(f"bench.phases.{os.getpid()}") as holder:
        with Agent(holder, PRELOAD) as agent:
            agent.call(apply, plan.Plan(()))  # comes back when the process has imported what it preloads
            _build(clock, agent, state, steps)
            if mode == "probe":
                _probe(clock, agent, topology, state)
        with clock.phase("down"):
            holder.end()
    return clock.seconds


def _build(clock: Clock, agent: Agent, state: State, steps: tuple[Step, ...]) -> None:
    for kind, group in _by_kind(steps).items():
        with clock.phase(f"apply: {kind}"):
            agent.call(apply, plan.Plan(tuple(group)))
    with clock.phase("ready"):
        agent.call(wait_ready, state)
    with clock.phase("read"):
        agent.call(read, nodes_of(state))


def _by_kind(steps: tuple[Step, ...]) -> dict[str, list[Step]]:
    """Return the steps by kind; kinds are in an order that keeps what a step needs before it."""
    kinds: dict[str, list[Step]] = {}
    for step in steps:
        name = type(step).__name__
        late = name in ("SetSysctls", "LoadTable") and "NameLink" in kinds
        kinds.setdefault(f"{name} of devices" if late else name, []).append(step)
    return kinds


def _probe(clock: Clock, agent: Agent, topology: Topology, state: State) -> None:
    groups: dict[str, list[Guarantee]] = {}
    for guarantee in guarantees_for(topology):
        groups.setdefault(_kind(guarantee.flow), []).append(guarantee)
    for kind, guarantees in groups.items():
        with clock.phase(f"probe: {kind} ({len(guarantees)})"):
            examine(agent, topology, state, tuple(guarantees))


def _kind(flow: Flow) -> str:
    special = f" {flow.special}" if str(flow.special) not in ("", "none") else ""
    return f"{flow.protocol}{special}"


def main() -> None:
    """Measure and print."""
    sys.stdout.write(json.dumps(measure(*sys.argv[1:3])) + "\n")


if __name__ == "__main__":
    main()
