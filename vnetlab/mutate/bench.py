"""A scratch lab in which one fault after the other is made, probed and undone.

Its namespaces belong to one child process and end with it, whatever ends that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from msgspec.structs import replace

from vnetlab import plan
from vnetlab.compile import compile_topology
from vnetlab.errors import FeatureUnavailable, KernelError
from vnetlab.kernel import conntrack, detect
from vnetlab.kernel.agent import PRELOAD, Agent
from vnetlab.kernel.apply import apply
from vnetlab.kernel.read import Node, read
from vnetlab.kernel.ready import wait_ready
from vnetlab.probe.judge import judge
from vnetlab.probe.neighbours import Neighbours
from vnetlab.probe.trial import plan_flight
from vnetlab.probe.wire import fly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vnetlab.guarantees import Guarantee, Verdict
    from vnetlab.kernel.spaces import Spaces
    from vnetlab.plan import Plan
    from vnetlab.state import Namespace, State
    from vnetlab.topology.model import Topology


class Bench:
    """The lab, and what it was like before anything was done to it."""

    def __init__(self, topology: Topology) -> None:
        """Build the lab. Raises FeatureUnavailable before anything is made, KernelError."""
        self._topology = topology
        self._whole = compile_topology(topology)
        self._nodes = tuple(Node(n.name, n.kind) for n in self._whole.namespaces if n.kind != "segment")
        with Agent(None, detect.PRELOAD) as scratch:
            if absent := detect.missing(self._whole, scratch):
                raise FeatureUnavailable(absent)
        self._before = self._build()

    def _build(self) -> State:
        self._agent = Agent(None, PRELOAD)
        try:
            self._agent.call(apply, plan.build(self._whole))
            self._agent.call(wait_ready, self._whole)
            return self._agent.call(read, self._nodes)
        except BaseException:
            self._agent.close()
            raise

    def renew(self) -> None:
        """Build the lab anew: packets leave what no plan undoes, such as routes from advertisements."""
        self._agent.close()
        self._build()

    @property
    def state(self) -> State:
        """The State without faults."""
        return self._whole

    def change(self, before: State, after: State) -> None:
        """Take the lab from one State to another, in one go; raises KernelError."""
        self._agent.call(_change, (plan.diff(before, after), tuple(n.name for n in after.namespaces)))

    def fly(self, guarantees: Sequence[Guarantee]) -> Sequence[Verdict]:
        """Judge guarantees by packets in the lab as it is."""
        flight = plan_flight(self._topology, guarantees)
        return judge(guarantees, flight, self._agent.call(fly, flight))

    def check(self, last: str) -> None:
        """Read the lab back; raises KernelError where it is not what it was, naming the last fault."""
        now = self._agent.call(read, self._nodes)
        for before, after in zip(self._before.namespaces, now.namespaces, strict=True):
            if _ordered(before) != _ordered(after):
                raise KernelError(f"{after.name} is not as it was before {last}: {_differing(before, after)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._agent.close()


def _ordered(namespace: Namespace) -> Namespace:
    """Return a namespace with everything by name: what was gone comes back as the last of its kind."""
    tables = (replace(t, chains=tuple(sorted(t.chains, key=lambda c: c.name))) for t in namespace.tables)
    return replace(
        namespace,
        addresses=tuple(sorted(namespace.addresses, key=str)),
        neighbours=tuple(sorted(namespace.neighbours, key=str)),
        routes=tuple(sorted(namespace.routes, key=str)),
        sysctls=tuple(sorted(namespace.sysctls, key=str)),
        tables=tuple(sorted(tables, key=lambda t: (t.family, t.name))),
    )


def _differing(before: Namespace, after: Namespace) -> str:
    parts = []
    for name in ("links", "addresses", "neighbours", "routes", "sysctls", "tables", "unplanned"):
        old, new = getattr(_ordered(before), name), getattr(_ordered(after), name)
        parts += [f"{str(each)[:200]} is gone" for each in old if each not in new]
        parts += [f"{str(each)[:200]} is new" for each in new if each not in old]
    return "; ".join(parts) or "the order of its devices"


def _change(spaces: Spaces, job: tuple[Plan, tuple[str, ...]]) -> None:
    """Carry out a plan; then let kernels forget what they learned under the rules of before."""
    steps, names = job
    apply(spaces, steps)
    for name in names:
        with spaces.inside(name):
            conntrack.forget()
            neighbours = Neighbours()
            try:
                neighbours.forget()
            finally:
                neighbours.close()
