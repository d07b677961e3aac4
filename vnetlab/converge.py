"""What differs between a lab that is up and what it shall be, and how it becomes that.

The one sequence for a lab that is there: read, compare, and, if there is anything to do, change. Whoever
calls has the lab to itself (kernel/lock.py).
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab import garbage
from vnetlab.claims import difference
from vnetlab.description import decode, describe, hosts_file
from vnetlab.errors import FeatureUnavailable, UserError, VnetlabError
from vnetlab.kernel.lock import alone
from vnetlab.localise import place

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.description import Description
    from vnetlab.kernel.agent import Agent
    from vnetlab.kernel.holder import Holder
    from vnetlab.kernel.read import Node
    from vnetlab.localise import OnMachine
    from vnetlab.plan import Plan
    from vnetlab.state import State
    from vnetlab.topology.model import Topology


class Comparison(Struct, frozen=True):
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
    from vnetlab.kernel.agent import CHANGING, Agent

    with Agent(holder, CHANGING) as agent:
        nodes = _nodes(decode(holder.description()), topology)
        return _compare(agent, nodes, desired, topology, holder.name)


def change_running(
    name: str,
    desired: State,
    topology: Topology,
    told: Callable[[str], None],
    permitted: Callable[[], None],
) -> tuple[Holder, Comparison] | None:
    """Make the lab of that name what it shall be; None where it is still coming up.

    ``permitted`` raises where it may not be changed now.
    Raises LabNotFound where none of that name is up, and as converge() does.
    """
    from vnetlab.kernel.holder import Holder

    with ExitStack() as undo:
        holder = undo.enter_context(Holder.find_own(name))
        with alone(holder, "vnetlab up", told):
            if not holder.description():
                return None
            permitted()
            found = converge(holder, desired, topology)
        undo.pop_all()
    return holder, found


def converge(holder: Holder, desired: State, topology: Topology) -> Comparison:
    """Make a lab that is up what it shall be, and return what differed.

    Raises FeatureUnavailable before anything is changed, and KernelError with everything undone.
    """
    from vnetlab.kernel import detect
    from vnetlab.kernel.agent import CHANGING, Agent
    from vnetlab.kernel.change import Change, carry_out

    try:
        with Agent(holder, CHANGING) as agent:
            was, about = decode(holder.description()), describe(topology)
            nodes = _nodes(was, topology)
            _refuse_another_machine(holder.name, was, about)
            found = _compare(agent, nodes, desired, topology, holder.name)
            if not found.plan.steps and was == about:
                return found
            if absent := detect.missing(desired):
                raise FeatureUnavailable(absent)
            hosts = hosts_file(topology)
            where, before = place(topology, holder.name), _place_before(was, holder.name)
            change = Change(
                found.present, found.desired, found.plan, nodes, about.encode(), hosts, where, before
            )
            agent.call(carry_out, change)
    except BaseException:
        _mend(holder)
        raise
    return found


def _mend(holder: Holder) -> None:
    """Wait until the lab is as it was, whoever was interrupted or killed; undo what nobody undid."""
    from vnetlab.kernel.agent import CHANGING, Agent
    from vnetlab.kernel.change import recover

    try:
        with Agent(holder, CHANGING) as agent:
            agent.call(recover, None)
    except VnetlabError:  # the lab is gone, or the first error has said what is the matter
        return


def _refuse_another_machine(name: str, was: Description, about: Description) -> None:
    """Raise UserError where a host begins or ends to be this very machine, or has another name."""
    before, after = ([n.name for n in each.nodes if n.backend == "local"] for each in (was, about))
    if before != after:
        said = [f"is {each[0]}" if each else "is no host" for each in (before, after)]
        raise UserError(
            f"lab {name} is up, and this very machine (`backend: local`) {said[0]} of it; in this file it "
            f"{said[1]}: `vnetlab down {name}`, then `vnetlab up`"
        )


def _place_before(was: Description, lab: str) -> OnMachine | None:
    return place(was.topology(), lab) if was.facts else None


def _compare(
    agent: Agent, nodes: tuple[Node, ...], desired: State, topology: Topology, lab: str
) -> Comparison:
    from vnetlab.kernel.read import read

    with agent.running(read, nodes) as reading:
        from vnetlab.plan import diff  # imported while the agent reads
        from vnetlab.plan.wording import in_words_of

        present = reading()
    where = place(topology, lab)
    if where is not None:
        from vnetlab.kernel.local.claimed import claims_of

        found = difference(present, desired, where, claims_of(lab))
        return Comparison(found.present, found.desired, found.plan, ())
    beyond = tuple(f"{n.name}: {what}" for n in present.namespaces for what in n.unplanned)
    with garbage.paused():
        wanted = in_words_of(present, desired)
        return Comparison(present, wanted, diff(present, wanted), beyond)


def _nodes(before: Description, topology: Topology) -> tuple[Node, ...]:
    """Return all nodes that the lab has before, after and in between."""
    from vnetlab.kernel.read import Node

    after = describe(topology).nodes
    kinds = {node.name: node.kind for node in (*after, *before.nodes)}
    return tuple(Node(name, kind) for name, kind in kinds.items())
