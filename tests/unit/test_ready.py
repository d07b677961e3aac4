"""Whom to ask whether a lab is ready: those that tell of all."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from vnetlab import Topology, plan
from vnetlab.compile import compile_topology
from vnetlab.kernel.ready import telling
from vnetlab.plan import LinkUp
from vnetlab.settings import NODE
from vnetlab.state import Namespace, State, Sysctl, Veth

TOPOLOGIES = sorted((Path(__file__).parents[2] / "topologies").glob("*.yaml"))


def compiled(file: Path) -> State:
    return compile_topology(Topology.load(file))


def asked(state: State) -> set[str]:
    return {namespace.name for namespace in telling(state)}


@pytest.mark.parametrize("file", TOPOLOGIES, ids=lambda path: path.stem)
def test_bridges_tell_of_everybody_behind_their_ports(file: Path) -> None:
    state = compiled(file)
    bridging = {n.name for n in state.namespaces if any(isinstance(x, Veth) and x.master for x in n.links)}
    assert asked(state) == bridging


@pytest.mark.parametrize("file", TOPOLOGIES, ids=lambda path: path.stem)
def test_who_is_not_asked_comes_up_after_a_port(file: Path) -> None:
    state = compiled(file)
    ups = [(step.namespace, step.device) for step in plan.build(state).steps if isinstance(step, LinkUp)]
    known = asked(state)
    unasked = [(n.name, x) for n in state.namespaces if n.name not in known for x in n.links]
    veths = [(name, link) for name, link in unasked if isinstance(link, Veth)]
    assert veths
    for name, link in veths:
        assert ups.index((link.peer_namespace, link.peer)) < ups.index((name, link.name))


def pair(*settings: Sysctl) -> State:
    """Return a bridge port and the machine behind it."""
    return State(
        (
            Namespace(
                "switch", "segment", links=(Veth(name="p", master="br0", peer_namespace="vm", peer="eth0"),)
            ),
            Namespace(
                "vm",
                "vm",
                links=(Veth(name="eth0", peer_namespace="switch", peer="p"),),
                sysctls=settings,
            ),
        )
    )


def test_who_may_check_for_duplicates_is_asked() -> None:
    assert asked(pair(*NODE)) == {"switch"}
    assert asked(pair()) == {"switch", "vm"}
    own = Sysctl("net/ipv6/conf/eth0/accept_dad", "1")
    assert asked(pair(*NODE, own)) == {"switch", "vm"}


def test_who_is_behind_no_port_is_asked() -> None:
    switch, machine = pair(*NODE).namespaces
    straight = replace(switch, links=(replace(switch.links[0], master=""),))
    assert asked(State((straight, machine))) == {"switch", "vm"}
    assert asked(State((machine,))) == {"vm"}
    assert asked(State((replace(machine, links=()),))) == set()
