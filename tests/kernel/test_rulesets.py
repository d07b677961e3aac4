"""Hand-written rulesets: the model and the kernel say the same of every packet, or the model says `unknown`.

One lab, without rules of its own. Each file of tests/rulesets is loaded in turn, the State is read back, the
model is asked, and PACKETS packets are sent. Compared is all that was seen: who got a packet, from and for
which address, port and TTL, whether the answer returned, and which ICMP error came from whom.
"""

from __future__ import annotations

import subprocess
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

import pytest
from msgspec.structs import replace
from ruleset_files import PACKETS, RulesetFile, ruleset_files, topology

from vnetlab import plan
from vnetlab.compile import compile_topology
from vnetlab.guarantees import Outcome
from vnetlab.icmp import error_name
from vnetlab.kernel import nftables
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.apply import apply
from vnetlab.kernel.read import nodes_of, read
from vnetlab.kernel.ready import wait_ready
from vnetlab.predict.matrix import predict
from vnetlab.probe.observation import REACHED, Observer
from vnetlab.probe.trial import plan_flight
from vnetlab.probe.wire import fly

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vnetlab.guarantees import Guarantee
    from vnetlab.kernel.spaces import Spaces
    from vnetlab.predict.journey import Prediction
    from vnetlab.probe.observation import Observation
    from vnetlab.state import State

pytestmark = pytest.mark.kernel

LINGER = 0.08
"""Seconds of quiet that end a flight: all that is sent here is on its way within microseconds."""
UNKNOWN = {
    # Whether a neighbour is known depends on what it asked before.
    "arp-input.nft": 2,
    "arp-output.nft": 3,
    "bridge-arp.nft": 2,
    # Nobody said how long these are; and the bytes of an echo that would be a port are its checksum.
    "packet-length.nft": 2,
    "transport-header-of-anything.nft": 4,
    # Chance, time, the machine, members that packets add, and what has no name.
    "unknown-chance.nft": 2,
    "unknown-dormant.nft": 20,
    "unknown-dynamic-set.nft": 14,
    "unknown-limit.nft": 2,
    "unknown-machine.nft": 3,
    "unknown-payload.nft": 7,
    # Policy rules that ask for ports; and a way of its own for a source that is chosen meanwhile.
    "unknown-policy.nft": 20,
    "unknown-policy-of-own-source.nft": 2,
    "unknown-quota.nft": 4,
    "unknown-ranges.nft": 2,
}
"""How many packets of a file the model does not know about; of all other files it knows everything."""


class Fate(NamedTuple):
    """What became of a packet, seen from one node: the same of the model and of the kernel."""

    outcome: Outcome
    answered: bool
    received: tuple[object, ...]
    """Source, destination, their ports, and TTL, as they arrived."""
    error: tuple[object, str]
    """Sender and name of the ICMP error that came back."""


class Lab:
    """The lab with whatever ruleset is loaded."""

    def __init__(self, agent: Agent, state: State) -> None:
        self._agent = agent
        self._nodes = nodes_of(state)
        self._bare: dict[tuple[Guarantee, int], Fate] = {}

    def load(self, file: RulesetFile) -> None:
        self._agent.call(_ip, (file.node, file.commands))
        self._agent.call(_load, (file.node, file.text))

    def unload(self, file: RulesetFile) -> None:
        self._agent.call(_load, (file.node, "flush ruleset"))
        self._agent.call(_ip, (file.node, tuple(_undone(each) for each in reversed(file.commands))))

    def model(self, guarantees: tuple[Guarantee, ...]) -> Sequence[Prediction]:
        return predict(topology(), self._agent.call(read, self._nodes), guarantees)

    def fly(self, guarantees: tuple[Guarantee, ...]) -> tuple[Fate, ...]:
        flight = replace(plan_flight(topology(), guarantees), linger=LINGER)
        self._agent.call(_forget_neighbours, tuple(station.space for station in flight.stations))
        log = self._agent.call(fly, flight)
        assert (log.failures, log.taken, log.unsettled) == ((), (), False)
        observer = Observer(flight, log)
        return tuple(
            _observed(observer.observe(guarantee, number), guarantee)
            for guarantee, number in zip(guarantees, flight.shot_of, strict=True)
        )


def _load(spaces: Spaces, order: tuple[str, str]) -> None:
    node, text = order
    with spaces.inside(node):
        status, _, message = nftables.library().cmd(text)
    assert status == 0, message


def _ip(spaces: Spaces, order: tuple[str, tuple[str, ...]]) -> None:
    node, commands = order
    with spaces.inside(node):
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True, capture_output=True)


def _undone(command: str) -> str:
    add, delete = " add ", " del "
    return command.replace(add, delete) if add in command else command.replace(delete, add)


def _forget_neighbours(spaces: Spaces, names: tuple[str, ...]) -> None:
    for name in names:
        with spaces.inside(name):
            subprocess.run(["ip", "neigh", "flush", "all"], check=True, capture_output=True)


def _observed(observation: Observation, guarantee: Guarantee) -> Fate:
    arrivals = {
        (ip_address(s.source), ip_address(s.destination), s.source_port, s.destination_port, s.ttl)
        for s in observation.arrivals
    }
    assert len(arrivals) < 2, f"{guarantee.promise}: {arrivals}"
    error = observation.errors[0] if observation.errors else None
    version = guarantee.flow.family.version
    return Fate(
        observation.outcome,
        bool(observation.answers),
        next(iter(arrivals), ()),
        (ip_address(error.source), error_name(version, error.icmp)) if error else (None, ""),
    )


def _predicted(prediction: Prediction) -> Fate:
    got = prediction.received
    assert prediction.outcome is not None
    return Fate(
        prediction.outcome,
        prediction.answered,
        (got.source_address, got.destination_address, got.source_port, got.destination_port, got.ttl)
        if got and prediction.outcome in REACHED
        else (),
        (prediction.error_from, prediction.error_code),
    )


def _as_drawn(fate: Fate, prediction: Prediction) -> Fate:
    """Return what was seen, with the first port of a range in place of the one that was drawn from it."""
    drawn = prediction.received.drawn if prediction.received else None
    if drawn is None or not fate.received:
        return fate
    source, destination, port, *rest = fate.received
    assert isinstance(port, int)
    return fate._replace(
        received=(source, destination, drawn[0] if drawn[0] <= port <= drawn[1] else port, *rest)
    )


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    compiled = compile_topology(topology())
    state = replace(compiled, namespaces=tuple(replace(n, tables=()) for n in compiled.namespaces))
    with Agent(None) as agent:
        agent.call(apply, plan.build(state))
        agent.call(wait_ready, state)
        yield Lab(agent, state)


@pytest.fixture(scope="module")
def bare(lab: Lab) -> dict[str, Fate]:
    """Return what becomes of every flow of all files where nothing is loaded, by its line and receiver."""
    flows = {_key(g): g for file in ruleset_files() for g in file.guarantees}
    fates = lab.fly(tuple(flows.values()))
    wrong = [
        (key, fate, prediction)
        for key, fate, prediction in zip(flows, fates, lab.model(tuple(flows.values())), strict=True)
        if prediction.outcome is None or _predicted(prediction) != fate
    ]
    assert wrong == []
    return dict(zip(flows, fates, strict=True))


def _key(guarantee: Guarantee) -> str:
    return f"{guarantee.promise} at {guarantee.destination} from {guarantee.flow.source_port}"


def test_there_are_enough_of_them() -> None:
    assert len(ruleset_files()) >= 70
    for file in ruleset_files():
        assert len({g.flow for g in file.guarantees}) == PACKETS, file.name


@pytest.mark.parametrize("file", ruleset_files(), ids=lambda file: file.name)
def test_model_and_kernel_agree(lab: Lab, bare: dict[str, Fate], file: RulesetFile) -> None:
    lab.load(file)
    try:
        predictions = lab.model(file.guarantees)
        fates = lab.fly(file.guarantees)
    finally:
        lab.unload(file)
    wrong = [
        f"{_key(guarantee)}:\n  kernel {fate}\n  model  {_predicted(prediction)} ({prediction.reason})"
        for guarantee, prediction, fate in zip(file.guarantees, predictions, fates, strict=True)
        if prediction.outcome is not None and _predicted(prediction) != _as_drawn(fate, prediction)
    ]
    assert not wrong, "\n".join(wrong)
    unknown = {g.flow: p.reason for g, p in zip(file.guarantees, predictions, strict=True) if not p.outcome}
    assert len(unknown) == UNKNOWN.get(file.name, 0), unknown
    changed = [g for g, fate in zip(file.guarantees, fates, strict=True) if fate != bare[_key(g)]]
    assert bool(changed) is file.changes
