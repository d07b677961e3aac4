"""A large lab is made by two processes: what is there is the same, and an error of either is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vnetlab import plan
from vnetlab.compile import compile_topology
from vnetlab.errors import KernelError
from vnetlab.kernel import shared, writes
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.apply import apply
from vnetlab.kernel.read import nodes_of, read
from vnetlab.kernel.ready import wait_ready
from vnetlab.plan import Plan, SetSysctls
from vnetlab.state import Sysctl
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from vnetlab.kernel.holder import Holder
    from vnetlab.kernel.spaces import Spaces
    from vnetlab.state import State

pytestmark = pytest.mark.kernel

MACHINES = shared.WORTHWHILE
VMS = "\n".join(f"      vm{n}: {('vault', 'home')[n % 2]}" for n in range(MACHINES))
FILE = f"""
name: large
segments: {{lan: {{subnets: [192.0.2.0/24]}}}}
hosts:
  hv:
    nics: {{eth0: lan}}
    networks:
      vault: {{mode: isolated, subnets: [10.0.0.0/22, "fd00::/64"]}}
      home: {{mode: nat, subnets: [10.1.0.0/22]}}
    vms:
{VMS}
"""


class Silent:
    """An observer, for whom one process does everything."""

    def before(self, number: int, what: str) -> None: ...

    def after(self, number: int, what: str) -> None: ...


def made(spaces: Spaces, job: tuple[State, bool]) -> State:
    """Make the lab, by one process or two; return what is there then."""
    state, by_one = job
    writes.watch(Silent() if by_one else None)
    apply(spaces, plan.build(state))
    writes.watch(None)
    wait_ready(spaces, state)
    return read(spaces, nodes_of(state))


def lab_of(state: State, by_one: bool) -> State:
    with Agent(None, ()) as agent:
        return agent.call(made, (state, by_one))


def test_two_processes_make_what_one_makes() -> None:
    state = compile_topology(Topology.parse(FILE, "large.yaml"))
    assert lab_of(state, by_one=False) == lab_of(state, by_one=True)


@pytest.mark.parametrize("place", [MACHINES, MACHINES + 1])
def test_an_error_of_either_is_told(holder: Holder, place: int) -> None:
    state = compile_topology(Topology.parse(FILE, "large.yaml"))
    steps = list(plan.build(state).steps)
    name = state.namespaces[place].name
    first = next(i for i, s in enumerate(steps) if isinstance(s, SetSysctls) and s.namespace == name)
    steps[first] = SetSysctls(name, (Sysctl("net/ipv4/conf/all/no_such", "1"),))
    with Agent(holder, ()) as agent, pytest.raises(KernelError, match="no_such: the kernel has no such"):
        agent.call(apply, Plan(tuple(steps)))
