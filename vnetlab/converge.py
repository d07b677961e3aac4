"""What differs between a lab that is up and what it shall be, and how it becomes that.

The one sequence for a lab that is there: read, compare, and, if there is anything to do, change. Whoever
calls has the lab to itself (kernel/lock.py).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vnetlab.description import decode, describe, hosts_file
from vnetlab.errors import FeatureUnavailable, UserError, VnetlabError
from vnetlab.kernel.lock import alone
from vnetlab.localise import on_machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.description import Description
    from vnetlab.kernel.agent import Agent
    from vnetlab.kernel.holder import Holder
    from vnetlab.kernel.read import Node
    from vnetlab.plan import Plan
    from vnetlab.state import State
    from vnetlab.topology.model import Topology


@dataclass(frozen=True, slots=True)
class Comparison:
    """A lab as it is and as it shall be."""

    present: State
    desired: State
    """In the words of ``present``."""
    plan: Plan
    beyond: tuple[str, ...]
    """What is there and no change takes away, since a State has no word for it: `NODE: WHAT`."""

    @property
    def same(self) -> bool:
        """Whether nothing at all differs."""
        return not self.plan.steps and not self.beyond


def compare(holder: Holder, desired: State, topology: Topology) -> Comparison:
    """Return what differs in a lab that is up.

    Raises LabLost, KernelError, FeatureUnavailable.
    """
    from vnetlab.kernel.agent import Agent
    from vnetlab.kernel.change import PRELOAD

    with Agent(holder, PRELOAD) as agent:
        return _compare(agent, _nodes(decode(holder.description()), topology), desired, topology)


def change_running(
    name: str, desired: State, topology: Topology, told: Callable[[str], None]
) -> tuple[Holder, Comparison] | None:
    """Make the lab of that name what it shall be; None where it is still coming up.

    Raises LabNotFound where none of that name is up, and as converge() does.
    """
    return _alone_with(name, told, lambda holder: converge(holder, desired, topology))


def keep_running(
    name: str, desired: State, topology: Topology, told: Callable[[str], None]
) -> tuple[Holder, Comparison] | None:
    """Find the lab of that name as it shall be; None where it is still coming up.

    For labs on this very machine, which are not changed while they are up. Raises LabNotFound where none of
    that name is up, UserError where it is another one by now.
    """

    def unchanged(holder: Holder) -> Comparison:
        found = compare(holder, desired, topology)
        if not found.same:
            raise _unchangeable(name)
        return found

    return _alone_with(name, told, unchanged)


def _alone_with(
    name: str, told: Callable[[str], None], act: Callable[[Holder], Comparison]
) -> tuple[Holder, Comparison] | None:
    """Return a lab that is up and what was found in it, nobody else having it; None: still coming up."""
    from vnetlab.kernel.holder import Holder

    with ExitStack() as undo:
        holder = undo.enter_context(Holder.find_own(name))
        with alone(holder, "vnetlab up", told):
            if not holder.description():
                return None
            found = act(holder)
        undo.pop_all()
    return holder, found


def _unchangeable(name: str) -> UserError:
    return UserError(
        f"lab {name} is up and not what this file says, and a lab on this very machine (`backend: local`) is "
        f"not changed while it is up: `vnetlab down {name}`, then `vnetlab up`"
    )


def converge(holder: Holder, desired: State, topology: Topology) -> Comparison:
    """Make a lab that is up what it shall be, and return what differed.

    Raises FeatureUnavailable before anything is changed, and KernelError with everything undone.
    """
    from vnetlab.kernel import detect
    from vnetlab.kernel.agent import Agent
    from vnetlab.kernel.change import PRELOAD, Change, carry_out

    try:
        with Agent(holder, PRELOAD) as agent:
            was, about = decode(holder.description()), describe(topology)
            nodes = _nodes(was, topology)
            found = _compare(agent, nodes, desired, topology)
            if any(node.backend == "local" for node in was.nodes):
                raise _unchangeable(holder.name)
            if not found.plan.steps and was == about:
                return found
            if absent := detect.missing(desired):
                raise FeatureUnavailable(absent)
            hosts = hosts_file(topology)
            change = Change(found.present, found.desired, found.plan, nodes, about.encode(), hosts)
            agent.call(carry_out, change)
    except BaseException:
        _mend(holder)
        raise
    return found


def _mend(holder: Holder) -> None:
    """Wait until the lab is as it was, whoever was interrupted or killed; undo what nobody undid."""
    from vnetlab.kernel.agent import Agent
    from vnetlab.kernel.change import PRELOAD, recover

    try:
        with Agent(holder, PRELOAD) as agent:
            agent.call(recover, None)
    except VnetlabError:  # the lab is gone, or the first error has said what is the matter
        return


def _compare(agent: Agent, nodes: tuple[Node, ...], desired: State, topology: Topology) -> Comparison:
    from vnetlab.kernel.read import read
    from vnetlab.plan import diff
    from vnetlab.plan.wording import in_words_of

    present = agent.call(read, nodes)
    present, desired = on_machine(present, desired, topology)
    wanted = in_words_of(present, desired)
    beyond = tuple(f"{n.name}: {what}" for n in present.namespaces for what in n.beyond)
    return Comparison(present, wanted, diff(present, wanted), beyond)


def _nodes(before: Description, topology: Topology) -> tuple[Node, ...]:
    """Return all nodes that the lab has before, after and in between."""
    from vnetlab.kernel.read import Node

    after = describe(topology).nodes
    kinds = {node.name: node.kind for node in (*after, *before.nodes)}
    return tuple(Node(name, kind) for name, kind in kinds.items())
