"""The one sequence: load, compile, check, build, wait, probe, end. The faces only call it.

::

    with Lab("topologies/nat.yaml") as lab:
        lab["web"].run(["ip", "route"])
        lab.expect("web", "remote", protocol="tcp", port=443)
        verdicts = lab.probe()

A lab in a ``with`` ends with its block, and with the process, even one that is killed.
``up()`` makes one that outlives the process, which ``Lab.attach`` finds again.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vnetlab import local, recovery
from vnetlab.checks import checked_choice, checked_expect, checked_name, unknown_node
from vnetlab.description import Description, decode, describe
from vnetlab.errors import LabExists, LabNotFound, NodeNotFound, UserError
from vnetlab.guarantees import FLOW_KINDS, Verdict, VerdictKind
from vnetlab.kernel.lock import alone, nobody_is_told
from vnetlab.node import Node
from vnetlab.probe import PRELOAD
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from os import PathLike
    from types import TracebackType

    from vnetlab.converge import Comparison
    from vnetlab.examine import Findings
    from vnetlab.explain.explanation import Explanation
    from vnetlab.explain.question import Words
    from vnetlab.guarantees import Guarantee
    from vnetlab.kernel.agent import Agent
    from vnetlab.kernel.holder import Holder
    from vnetlab.plan import Plan
    from vnetlab.state import State

_COMING_UP = 0.02
"""Seconds between two looks at a lab that another process is making."""


class Lab:
    """A lab: a topology, and the kernel objects that it is made of while it is up."""

    def __init__(
        self,
        topology: Topology | str | PathLike[str],
        name: str | None = None,
        *,
        state: State | None = None,
    ) -> None:
        """Load the topology; nothing is made yet.

        ``state`` takes the place of the compiled one. Raises TopologyError, and UserError for a
        name that no lab can have.
        """
        self.topology = topology if isinstance(topology, Topology) else Topology.load(Path(topology))
        self.name = checked_name(self.topology.name if name is None else name)
        self.topology = local.seen(self.topology, self.name)
        self._state = state
        self._holder: Holder | None = None
        self._agent: Agent | None = None
        self._attached = False

    @classmethod
    def attach(cls, name: str | None = None) -> Lab:
        """Return a lab that is up; leaving a ``with`` of it does not take it down.

        Raises LabNotFound, also where the name is left out and several labs are up.
        """
        from vnetlab.kernel.holder import Holder

        with ExitStack() as undo:
            holder = undo.enter_context(Holder.find(name))
            lab = cls(decode(holder.description()).topology(), holder.name)
            undo.pop_all()
        lab._holder, lab._attached = holder, True
        return lab

    def __enter__(self) -> Lab:
        if not self._attached:
            self._build()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._attached:
            self.close()
        else:
            self.down()

    def up(self, told: Callable[[str], None] | None = None, *, force: bool = False) -> Comparison | None:
        """Build the lab so that it outlives this process, or make one that is up what this topology says.

        Returns when every address is usable: what differed, or None where no lab of that name was up.
        ``told`` is told whom we wait for, as one command at a time changes a lab. Raises FeatureUnavailable
        before anything is made or changed, and KernelError with everything undone; on this very machine
        Interference, but with ``force``, where rules of its own would break promises.
        """
        if self._holder is not None:
            raise UserError(f"this lab is up already, as {self.name}")
        while True:
            try:
                found = self._converge(told or nobody_is_told, force=force)
            except LabNotFound:
                with suppress(LabExists):  # somebody else was faster
                    self._build(told or nobody_is_told, keep=True, force=force)
                    return None
            else:
                if found is not None:
                    return found
            time.sleep(_COMING_UP)

    def compare(self, told: Callable[[str], None] | None = None) -> Comparison:
        """Return what differs between the lab of that name that is up and what this topology says.

        Changes nothing. Raises LabNotFound.
        """
        from vnetlab import converge
        from vnetlab.kernel.holder import Holder

        with Holder.find_own(self.name) as holder, alone(holder, "vnetlab plan", told or nobody_is_told):
            return converge.compare(holder, self._desired(), self.topology)

    def drift(self) -> Comparison:
        """Return what differs between this lab, which is up, and what its topology says."""
        from vnetlab import converge

        return converge.compare(self._running(), self._desired(), self.topology)

    def _converge(self, told: Callable[[str], None], *, force: bool) -> Comparison | None:
        """Make a lab that is up what it shall be; None where it is still coming up."""
        from vnetlab import converge

        allowed = partial(local.allowed, self.topology, self.name, told, force=force)
        changed = converge.change_running(self.name, self._desired(), self.topology, told, allowed)
        if changed is not None:
            self._holder, self._attached = changed[0], True
        return changed and changed[1]

    @contextmanager
    def alone(self, command: str, told: Callable[[str], None] | None = None) -> Iterator[None]:
        """Keep other commands from the lab, and wait for those that have it; raises LabNotFound."""
        with alone(self._running(), command, told or nobody_is_told):
            yield

    def down(self) -> None:
        """End the lab; returns when the kernel has removed all of it, else raises KernelError."""
        holder, self._holder = self._holder, None
        self._close_agent()
        if holder is not None:
            with holder:
                holder.end()
            if self.topology.local:
                recovery.clear(self.name)

    def close(self) -> None:
        """Let go of the lab without ending one that was kept."""
        self._close_agent()
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    @property
    def description(self) -> Description:
        """What the lab says of itself to whoever attaches."""
        return describe(self.topology)

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Every host, VM and machine by name."""
        holder = self._running()
        return {info.name: Node(holder, info) for info in self.description.nodes}

    def __getitem__(self, name: str) -> Node:
        """Return a node; raises NodeNotFound with the nearest name."""
        try:
            return self.nodes[name]
        except KeyError:
            raise NodeNotFound(unknown_node(self.name, name, list(self.nodes))) from None

    def probe(self, pairs: str = "all", flows: Sequence[str] = ()) -> Sequence[Verdict]:
        """Judge every guarantee of the topology: by the model twice, and by real packets in one flight.

        ``pairs="cover"`` leaves out those without which as much of the lab is exercised; ``flows`` names the
        kinds of flow that are wanted, if not all: `resolution`, `icmp`, `tcp`, `udp`, `udp-one-way`. Raises
        LabLost where the lab ends meanwhile, KernelError where its State cannot be read.
        """
        return self.examine(pairs, flows).verdicts

    def examine(self, pairs: str = "all", flows: Sequence[str] = ()) -> Findings:
        """Do what probe() does; return all that it found."""
        from vnetlab.modes import guarantees_for

        local.refuse_traffic(self.topology)
        pairs = checked_choice("pairs", pairs, ("all", "cover"))
        kinds = tuple(checked_choice("flows", kind, FLOW_KINDS) for kind in flows)
        self._running_agent()  # it starts while the guarantees are derived
        return self._examine(guarantees_for(self.topology, kinds), pairs)

    def expect(
        self,
        source: str,
        destination: str,
        *,
        protocol: str,
        port: int = 0,
        family: str | None = None,
        outcome: str = "delivered",
    ) -> Verdict:
        """Judge one flow by real packets; raises AssertionError saying what was promised and seen.

        ``family`` left out means every family that both ends have. Of several verdicts the first is
        returned.
        """
        from vnetlab.examine import controls_for
        from vnetlab.modes import guarantee_for_expect
        from vnetlab.report.paragraph import paragraph

        local.refuse_traffic(self.topology)
        ends = self[source].name, self[destination].name
        expect = checked_expect(*ends, protocol, outcome, port, family)
        wanted = guarantee_for_expect(self.topology, expect)
        if not wanted:
            raise UserError(f"{source} and {destination} have no address family in common")
        found = self._examine((*wanted, *controls_for(self.topology, wanted)))
        verdicts = found.verdicts[: len(wanted)]
        failed = [paragraph(v) for v in verdicts if v.kind is not VerdictKind.HOLDS]
        if failed:
            raise AssertionError("\n\n".join(failed))
        return verdicts[0]

    def explain(self, words: Words) -> Explanation:
        """Predict the way of one packet, send it and follow it; raises UserError for bad words."""
        from vnetlab.explain.live import explain_lab

        local.refuse_traffic(self.topology)
        return explain_lab(self.topology, self._running(), words)

    def _examine(self, guarantees: Sequence[Guarantee], pairs: str = "all") -> Findings:
        from vnetlab import examine
        from vnetlab.compile import compile_topology

        way = examine.examine_cover if pairs == "cover" else examine.examine
        # Also where something else was built in its place: what a file promises is judged by the file.
        return way(self._running_agent(), self.topology, compile_topology(self.topology), guarantees)

    def _build(
        self, told: Callable[[str], None] = nobody_is_told, *, keep: bool = False, force: bool = False
    ) -> None:
        from vnetlab.build import build

        if self._holder is not None:
            raise UserError(f"this lab is up already, as {self.name}")
        with local.ready(self.topology, self.name, told, force=force) as self.topology:
            self._holder, self._agent = build(self.name, self.topology, self._desired, keep=keep)

    def _desired(self) -> State:
        from vnetlab.compile import compile_topology

        if self._state is not None:
            return self._state
        return local.placed(self.topology, compile_topology(self.topology), self.name)

    def first_plan(self) -> tuple[State, Plan]:
        """Return what `up` makes where nothing of the lab is there, and the steps that make it."""
        state = self._desired()
        return state, local.first_plan(self.topology, state, self.name)

    def _running(self) -> Holder:
        if self._holder is None:
            raise LabNotFound(f"lab {self.name} is not up; enter it by `with`, or call up() first")
        return self._holder

    def _running_agent(self) -> Agent:
        from vnetlab.kernel.agent import Agent

        if self._agent is None or self._agent.closed:
            self._agent = Agent(self._running(), PRELOAD)
            self._agent.__enter__()
        return self._agent

    def _close_agent(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.__exit__(None, None, None)
