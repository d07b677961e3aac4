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

import re
from contextlib import ExitStack
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from vnetlab.description import Description, decode, describe, hosts_file
from vnetlab.errors import FeatureUnavailable, LabNotFound, NodeNotFound, UserError
from vnetlab.guarantees import FLOW_KINDS, Outcome, Verdict, VerdictKind
from vnetlab.node import Node
from vnetlab.probe import PRELOAD
from vnetlab.topology.model import Expect, Family, Topology
from vnetlab.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike
    from types import TracebackType

    from vnetlab.examine import Findings
    from vnetlab.explain.explanation import Explanation
    from vnetlab.explain.question import Words
    from vnetlab.guarantees import Guarantee
    from vnetlab.kernel.agent import Agent
    from vnetlab.kernel.holder import Holder
    from vnetlab.kernel.spaces import Spaces
    from vnetlab.state import State

LAB_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
LAB_NAME_LENGTH = 1_000


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
        self.topology = topology if isinstance(topology, Topology) else _load(topology)
        self.name = checked_name(self.topology.name if name is None else name)
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
            self._build(to_probe=True)
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

    def up(self) -> None:
        """Build the lab so that it outlives this process; returns when every address is usable.

        Raises FeatureUnavailable before anything is made, LabExists, and KernelError with
        everything undone.
        """
        self._build()
        self._running().keep(self.description.encode())

    def down(self) -> None:
        """End the lab; returns when the kernel has removed all of it, else raises KernelError."""
        holder, self._holder = self._holder, None
        self._close_agent()
        if holder is not None:
            with holder:
                holder.end()

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
            raise NodeNotFound(_unknown_node(self.name, name, list(self.nodes))) from None

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

        pairs = checked_choice("pairs", pairs, ("all", "cover"))
        kinds = tuple(checked_choice("flows", kind, FLOW_KINDS) for kind in flows)
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

        expect = Expect(
            self[source].name,
            self[destination].name,
            checked_choice("protocol", protocol, ("icmp", "tcp", "udp")),
            checked_choice("outcome", outcome, tuple(Outcome)),
            port,
            None if family is None else Family(checked_choice("family", family, tuple(Family))),
        )
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

        return explain_lab(self.topology, self._running(), words)

    def _examine(self, guarantees: Sequence[Guarantee], pairs: str = "all") -> Findings:
        from vnetlab import examine
        from vnetlab.compile import compile_topology

        # Also where something else was built in its place: what a file promises is judged by the file.
        compiled = compile_topology(self.topology)
        way = examine.examine_cover if pairs == "cover" else examine.examine
        return way(self._running_agent(), self.topology, compiled, guarantees)

    def _build(self, *, to_probe: bool = False) -> None:
        from vnetlab.kernel import detect
        from vnetlab.kernel.agent import Agent
        from vnetlab.kernel.holder import Holder

        if self._holder is not None:
            raise UserError(f"this lab is up already, as {self.name}")
        # The process that tries the kernel's features imports what it needs while we compile.
        with Agent(None, detect.PRELOAD) as scratch:
            state = self._desired()
            if absent := detect.missing(state, scratch):
                raise FeatureUnavailable(absent)
        with ExitStack() as undo:
            holder = undo.enter_context(Holder.start(self.name))
            undo.callback(holder.end)
            # It imports what a flight needs while the lab is built: whoever enters a lab will probe it.
            prober = undo.enter_context(Agent(holder, PRELOAD)) if to_probe else None
            with Agent(holder) as builder:
                self._apply(builder, state)
            undo.pop_all()
        self._holder, self._agent = holder, prober

    def _apply(self, agent: Agent, state: State) -> None:
        # Imported here, while the agent imports the same: half the time of a small lab is imports.
        from vnetlab import plan
        from vnetlab.kernel.apply import apply
        from vnetlab.kernel.ready import wait_ready

        agent.call(apply, plan.build(state))
        agent.call(wait_ready, state)
        agent.call(_write_hosts, hosts_file(self.topology))

    def _desired(self) -> State:
        from vnetlab.compile import compile_topology

        return compile_topology(self.topology) if self._state is None else self._state

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


def checked_name(name: str) -> str:
    """Return a lab's name; raises UserError for one that no lab can have."""
    if not LAB_NAME.fullmatch(name):
        raise UserError(
            f"lab name {name!r}: use letters, digits and underscores, within it dots and dashes too"
        )
    if len(name) > LAB_NAME_LENGTH:
        raise UserError(f"lab name {name!r}: over {LAB_NAME_LENGTH} characters; give a shorter one")
    return name


def checked_choice(what: str, value: str, choices: Sequence[str]) -> str:
    """Return the value if it is one of the choices, else raise UserError naming them."""
    if value not in choices:
        raise UserError(f"{what} {value!r}: is one of {', '.join(choices)}")
    return str(value)


def _load(path: str | PathLike[str]) -> Topology:
    return Topology.load(Path(path))


def _write_hosts(spaces: Spaces, text: str) -> None:
    spaces.write_hosts(text)


def _unknown_node(lab: str, name: str, nodes: Sequence[str]) -> str:
    near = get_close_matches(name, nodes, n=1)
    hint = f"did you mean {near[0]}?" if near else "vnetlab status lists the nodes"
    return f"lab {lab} has no node {visible(name)}; {hint}"
