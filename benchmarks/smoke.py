"""Counts that do not depend on the machine's speed, against pinned budgets (budgets.json).

System calls (strace -c, where it is installed) and rtnetlink requests of building a lab, and the packets that
NICs of VMs send and receive while it is probed. Each is counted in a small and a larger lab; the difference,
by machine or by ordered pair, is what grows. Waiting until a lab is ready asks as often as it has to, and is
left out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.shape import shape_for, topology_text
from vnetlab import plan
from vnetlab.compile import compile_topology
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.apply import apply
from vnetlab.kernel.holder import Holder
from vnetlab.kernel.netlink import Netlink
from vnetlab.lab import Lab
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.kernel.netlink import Subject
    from vnetlab.kernel.spaces import Spaces

BUDGETS = Path(__file__).with_name("budgets.json")
_SMALL, _LARGE = 10, 40
_PROBED = (5, 10)
_PACKETS_SENT, _PACKETS_RECEIVED = 9, 1  # fields of a line of /proc/net/dev, behind the name


@dataclass(frozen=True, slots=True)
class Count:
    """One number and the most that it may be."""

    name: str
    counted: float
    budget: float

    @property
    def within(self) -> bool:
        """Whether it keeps to its budget."""
        return self.counted <= self.budget


def check() -> int:
    """Count everything and print a line for each; return 1 where a budget is exceeded, else 0."""
    counts = counted()
    for each in counts:
        word = "ok" if each.within else "over budget"
        sys.stdout.write(f"{each.name}: {each.counted:.1f}, budget {each.budget:g}: {word}\n")
    if not shutil.which("strace"):
        sys.stdout.write("system calls: strace is not installed, not counted\n")
    return int(not all(each.within for each in counts))


def counted() -> tuple[Count, ...]:
    """Return every count beside its budget."""
    budgets: dict[str, float] = json.loads(BUDGETS.read_text())
    return tuple(Count(name, number, budgets[name]) for name, number in _numbers())


def _numbers() -> Iterator[tuple[str, float]]:
    small, large = _text(_SMALL), _text(_LARGE)
    grown = _LARGE - _SMALL
    yield "rtnetlink requests per machine", (_requests(large) - _requests(small)) / grown
    if shutil.which("strace"):
        _system_calls(small)  # where sources are newer than their byte code, the first one compiles them
        yield "system calls per machine", (_system_calls(large) - _system_calls(small)) / grown
    few, more = _PROBED
    pairs = more * (more - 1) - few * (few - 1)
    yield "packets per ordered pair", (_packets(_text(more)) - _packets(_text(few))) / pairs


def _text(machines: int) -> str:
    """Return a lab of one host, named after this process so that runs do not meet."""
    text = topology_text(shape_for(machines, hosts_per_site=1))
    return f"name: bench.{os.getpid()}\n" + text.partition("\n")[2]


def _requests(text: str) -> int:
    state = compile_topology(Topology.parse(text, "smoke.yaml"))
    with Holder.start(f"bench.smoke.{os.getpid()}") as holder, Agent(holder) as agent:
        return agent.call(count_requests, plan.build(state))


def count_requests(spaces: Spaces, steps: plan.Plan) -> int:
    """Carry out a plan, and return how many requests that took. For an agent."""
    count = 0
    add = Netlink.add

    def counted_add(self: Netlink, message: bytes, subject: Subject, *, gone: bool = False) -> bool:
        nonlocal count
        count += 1
        return add(self, message, subject, gone=gone)

    Netlink.add = counted_add  # type: ignore[method-assign]
    try:
        apply(spaces, steps)
    finally:
        Netlink.add = add  # type: ignore[method-assign]
    return count


def _system_calls(text: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        topology, summary = Path(folder, "smoke.yaml"), Path(folder, "calls")
        topology.write_text(text)
        strace = ["strace", "-f", "-qq", "-c", "-U", "calls,errors,name", "-o", str(summary)]
        subprocess.run([*strace, sys.executable, "-m", "benchmarks.smoke", str(topology)], check=True)
        lines = (line.split() for line in summary.read_text().splitlines())
        # Those that succeeded: a setting whose lock somebody else holds is written again and again, each time
        # an error that only the tracer sees (restart_syscall() in addrconf_fixup_forwarding() and its like).
        return next(int(f[0]) - sum(map(int, f[1:-1])) for f in lines if f and f[-1] == "total")


def _packets(text: str) -> int:
    with Lab(Topology.parse(text, "smoke.yaml")) as lab:
        before = _seen(lab)
        lab.probe()
        return _seen(lab) - before


def _seen(lab: Lab) -> int:
    shown = (
        node.run(["cat", "/proc/net/dev"], check=True).stdout.splitlines()
        for node in lab.nodes.values()
        if node.info.kind == "vm"
    )
    fields = (line.split(":")[1].split() for lines in shown for line in lines if "eth0:" in line)
    return sum(int(f[_PACKETS_SENT]) + int(f[_PACKETS_RECEIVED]) for f in fields)


def main() -> None:
    """Build the lab of a file and end it: what strace counts."""
    steps = plan.build(compile_topology(Topology.load(sys.argv[1])))
    with Holder.start(f"bench.smoke.{os.getpid()}") as holder, Agent(holder) as agent:
        agent.call(apply, steps)


if __name__ == "__main__":
    main()
