"""A lab built where there is none: features tried, a holder started, the State applied, all or nothing."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

from vnetlab import local, plan, probe, recovery
from vnetlab.description import describe, hosts_file
from vnetlab.errors import FeatureUnavailable
from vnetlab.kernel import detect
from vnetlab.kernel.agent import PRELOAD, Agent
from vnetlab.kernel.holder import Holder
from vnetlab.kernel.lock import alone

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.kernel.spaces import Spaces
    from vnetlab.state import State
    from vnetlab.topology.model import Topology


def build(
    name: str, topology: Topology, desired: Callable[[], State], *, keep: bool
) -> tuple[Holder, Agent | None]:
    """Build a lab; return its holder, and where it is to be probed, the agent for that.

    ``keep`` makes one that outlives this process. Raises FeatureUnavailable before anything is made,
    LabExists, and KernelError with everything undone.
    """
    # The process that tries the kernel's features imports what it needs while we compile.
    with detect.begin() or nullcontext() as scratch:
        state = desired()
        if absent := detect.missing(state, scratch):
            raise FeatureUnavailable(absent)
    stays = not (keep or topology.local)
    with ExitStack() as undo:
        holder = undo.enter_context(Holder.start(name))
        if topology.local:
            undo.callback(recovery.clear_alone, name)
        undo.callback(holder.end)
        with alone(holder, "vnetlab up") if keep else nullcontext(), ExitStack() as after:
            # Whoever enters a lab will probe it: once it is made, what a flight needs is imported.
            builder = after.enter_context(Agent(holder, (*PRELOAD, *probe.PRELOAD) if stays else PRELOAD))
            if topology.local:
                local.make(builder, topology, state, name)
            else:
                apply_all(builder, state, hosts_file(topology))
            if keep:
                holder.keep(describe(topology).encode())
            if stays:
                after.pop_all()
        undo.pop_all()
    return holder, builder if stays else None


def apply_all(agent: Agent, state: State, hosts: str) -> None:
    """Make everything of a State in a lab that has nothing yet, and wait until every address is usable."""
    # Imported here, while the agent imports the same: half the time of a small lab is imports.
    from vnetlab.kernel.apply import apply
    from vnetlab.kernel.ready import telling, wait_for

    agent.call(apply, plan.build(state))
    agent.call(wait_for, telling(state))
    agent.call(_write_hosts, hosts)


def _write_hosts(spaces: Spaces, text: str) -> None:
    spaces.write_hosts(text)
