"""Whatever fails or is killed at whatever kernel call: a lab is as it was or as it shall be, or gone."""

from __future__ import annotations

import os
import select
import signal
import time
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults import ENOMEM, EPERM, Fault, inject
from machine import PATIENCE, left_behind, state_of_machine
from msgspec.structs import replace
from test_converge import sorted_state

from vnetlab import build, plan
from vnetlab.compile import compile_topology
from vnetlab.errors import KernelError, LabLost
from vnetlab.kernel import launcher
from vnetlab.kernel.agent import CHANGING, Agent
from vnetlab.kernel.apply import apply
from vnetlab.kernel.change import RESTORED, UNCHANGED, Change, carry_out, recover
from vnetlab.kernel.holder import Holder, labs
from vnetlab.kernel.journal import CHANGE
from vnetlab.kernel.lock import alone
from vnetlab.kernel.read import Node, read
from vnetlab.kernel.ready import wait_ready
from vnetlab.lab import Lab
from vnetlab.plan.wording import in_words_of
from vnetlab.state import State
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.kernel.spaces import Spaces

pytestmark = pytest.mark.kernel

FILE = """
name: crash
segments: {{lan: {{subnets: [192.0.2.0/24]}}}}
hosts:
  hv:
    nics: {{eth0: lan}}
    networks:
      home: {{mode: {mode}, subnets: [10.1.0.0/24]}}
      den: {{mode: host-only, subnets: [10.2.0.0/24]}}
    vms: {{web: home, {vms}}}
"""
BEFORE = FILE.format(mode="nat, uplink: eth0", vms="cam: home")
AFTER = FILE.format(mode="host-only", vms="tool: den, cam: den")
MOVED = FILE.format(mode="host-only", vms="cam: den")
TINY = "name: tiny\nhosts: {hv: {networks: {n: {mode: isolated, subnets: [10.1.0.0/24]}}, vms: {v: n}}}\n"
TINY_OTHERWISE = TINY.replace("isolated", "host-only")


def state_of(text: str) -> State:
    """Compile, and leave out the settings that are equal everywhere: each is a kernel call."""
    state = compile_topology(Topology.parse(text, "crash.yaml"))
    return State(
        tuple(
            replace(n, sysctls=tuple(s for s in n.sysctls if "/all/" not in s.key and "/conf/" in s.key)[-3:])
            for n in state.namespaces
        )
    )


NODES = tuple(
    Node(name, kind) for name, kind in (("hv", "host"), ("web", "vm"), ("cam", "vm"), ("tool", "vm"))
)


def left(spaces: Spaces, _: None) -> list[str]:
    """Return what a change leaves on the lab's tmpfs."""
    names = os.listdir(f"/proc/self/fd/{spaces.root}")  # noqa: PTH208
    return sorted(name for name in names if name.startswith((".change", ".about")))


def started(lab: Holder, text: str) -> Agent:
    agent = Agent(lab, (*CHANGING, "faults"))
    state = state_of(text)
    agent.call(apply, plan.build(state))
    agent.call(wait_ready, state)
    agent.call(write_hosts, text)
    return agent


def write_hosts(spaces: Spaces, text: str) -> None:
    spaces.write_hosts(text)


def present(agent: Agent) -> State:
    return sorted_state(agent.call(read, NODES))


def change_to(agent: Agent, text: str) -> Change:
    found = agent.call(read, NODES)
    desired = in_words_of(found, state_of(text))
    return Change(found, desired, plan.diff(found, desired), NODES, text.encode(), text)


def assert_as_before(agent: Agent, before: State) -> None:
    assert present(agent) == before
    assert CHANGE not in agent.call(left, None)


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    def told(what: str, number: int) -> None:
        record_property(f"kernel calls: {what}", number)

    return told


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def faults_of(victim: str, number: int) -> tuple[Fault, ...]:
    if victim == "errors":
        return Fault(number, False, ENOMEM), Fault(number, True, EPERM)
    if victim == "other errors":
        return Fault(number, False, EPERM), Fault(number, True, ENOMEM)
    return Fault(number, False), Fault(number, True)


@pytest.mark.parametrize(
    ("victim", "first", "second"),
    [
        ("errors", BEFORE, AFTER),
        ("other errors", AFTER, BEFORE),
        ("the process that changes the lab", BEFORE, MOVED),
    ],
)
def test_a_fault_at_any_call_restores_what_was_there(
    holder: Holder, victim: str, first: str, second: str, report: Callable[[str, int], None]
) -> None:
    with started(holder, first) as agent:
        before = present(agent)
        change = change_to(agent, second)
        for number in count(1):
            for fault in faults_of(victim, number):
                agent.call(inject, fault)
                try:
                    agent.call(carry_out, change)
                except KernelError as error:
                    assert str(error).endswith((RESTORED, UNCHANGED))  # noqa: PT017 - the last raises none
                    agent.call(inject, None)
                    assert_as_before(agent, before)
                else:
                    assert present(agent) != before
                    assert CHANGE not in agent.call(left, None)
                    if not fault.after:  # there is no such call
                        assert number > 10
                        report(f"{victim}, of a lab that is up", number - 1)
                        return
                    go_back(agent, change)  # struck when all was done


def test_the_death_of_the_one_and_the_other_leaves_it_to_whoever_comes_next(holder: Holder) -> None:
    """First dies who changes the lab, then the agent that undoes it: at the same call, counted anew."""
    met = 0
    with started(holder, BEFORE) as looking:
        before, change = present(looking), change_to(looking, MOVED)
        for number in (2, 5, 9):
            with Agent(holder, (*CHANGING, "faults")) as agent:
                agent.call(inject, Fault(number, after=True, spared=False))
                try:
                    agent.call(carry_out, change)
                except LabLost:
                    met += 1
                except KernelError:
                    continue
            looking.call(recover, None)
            assert_as_before(looking, before)
    assert met


def go_back(agent: Agent, change: Change) -> None:
    agent.call(inject, None)
    agent.call(apply, plan.diff(agent.call(read, NODES), change.before))
    agent.call(wait_ready, change.before)


class Struck:
    """A change in a process of its own, stopped at one call."""

    def __init__(self, lab: str, change: Change, fault: Fault) -> None:
        for end in ("reached", "go"):
            Path(f"{fault.meeting}.{end}").unlink(missing_ok=True)
            os.mkfifo(f"{fault.meeting}.{end}")
        self._fault = fault
        self.process = get_context("fork").Process(target=_carry_out, args=(lab, change, fault))
        self.process.start()

    def reached(self) -> bool:
        """Wait until the change is at the call; False where it ends without."""
        descriptor = os.open(f"{self._fault.meeting}.reached", os.O_RDONLY | os.O_NONBLOCK)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self.process.sentinel, select.POLLIN)
        ready = {found for found, _ in poll.poll()}
        text = os.read(descriptor, 4096) if descriptor in ready else b""
        os.close(descriptor)
        return bool(text)

    def kill(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def go_on(self) -> None:
        """Let whoever waits at the call go on; nobody does where the lab is dead."""
        try:
            descriptor = os.open(f"{self._fault.meeting}.go", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return
        os.close(descriptor)


def _carry_out(lab: str, change: Change, fault: Fault) -> None:
    with (
        Holder.find(lab) as holder,
        alone(holder, "the change"),
        Agent(holder, (*CHANGING, "faults")) as agent,
    ):
        agent.call(inject, fault)
        try:
            agent.call(carry_out, change)
        except (KernelError, LabLost):
            os._exit(1)
    os._exit(0)


def test_the_death_of_whoever_asked_restores_what_was_there(
    holder: Holder, tmp_path: Path, report: Callable[[str, int], None]
) -> None:
    with started(holder, BEFORE) as agent:
        before, change = present(agent), change_to(agent, MOVED)
        holder.keep(b"{}")
        for number in count(1):
            for after in (False, True):
                fault = Fault(number, after, meeting=str(tmp_path / "meeting"))
                struck = Struck(holder.name, change, fault)
                if not struck.reached():
                    struck.process.join()
                    assert struck.process.exitcode == 0
                    assert number > 10
                    report("death of the command, of a lab that is up", number - 1)
                    return
                struck.kill()
                time.sleep(0.01)  # until its agent is gone too, and the change knows
                struck.go_on()
                with alone(holder, "the test", mend=False):  # when the change has ended, its lock is free
                    agent.call(recover, None)
                found = present(agent)
                assert CHANGE not in agent.call(left, None)
                if found != before:  # it was as good as done
                    assert plan.diff(found, in_words_of(found, change.desired)).steps == ()
                    go_back(agent, change)


def test_the_death_of_the_holder_leaves_nothing(
    lab_name: str, tmp_path: Path, session_mark: str, report: Callable[[str, int], None]
) -> None:
    launcher.prepare(())  # it is for all labs
    machine, processes = state_of_machine(), left_behind(session_mark, patience=0)
    for number in count(1):
        fault = Fault(number, number % 2 == 0, meeting=str(tmp_path / "meeting"))
        with Holder.start(lab_name) as lab:
            with started(lab, TINY) as agent:
                change = change_to(agent, TINY_OTHERWISE)
            lab.keep(b"{}")
            struck = Struck(lab_name, change, fault)
            reached = struck.reached()
            os.kill(lab.pid, signal.SIGKILL)
            struck.process.join()
        assert struck.process.exitcode == (1 if reached else 0)
        assert soon(lambda: lab_name not in {info.name for info in labs()})
        assert soon(lambda: left_behind(session_mark, patience=0) == processes)
        assert soon(lambda: state_of_machine() == machine)
        if not reached:
            assert number > 5
            report("death of the holder, of a lab that is up", number - 1)
            return


def meeting_a_fault(making: Callable[..., None], fault: Fault) -> Callable[..., None]:
    """Return the making of a lab that meets a fault."""

    def make(agent: Agent, *told: object) -> None:
        agent.call(inject, fault)
        making(agent, *told)

    return make


def test_a_fault_in_the_making_of_a_lab_leaves_nothing(
    lab_name: str, monkeypatch: pytest.MonkeyPatch, report: Callable[[str, int], None]
) -> None:
    monkeypatch.setattr("vnetlab.kernel.detect.missing", lambda state, scratch: ())
    monkeypatch.setattr("vnetlab.kernel.detect.begin", lambda: None)
    topology, making = Topology.parse(TINY, "tiny.yaml"), build.apply_all
    machine = state_of_machine()
    for number in count(1):
        for fault in (Fault(number, False, ENOMEM), Fault(number, True, EPERM)):
            monkeypatch.setattr(build, "apply_all", meeting_a_fault(making, fault))
            lab = Lab(topology, lab_name, state=state_of(TINY))
            try:
                lab.up()
            except KernelError:
                assert lab_name not in {info.name for info in labs()}
                assert state_of_machine() == machine
            else:
                lab.down()
                assert number > 10
                report("errors, of a new lab", number - 1)
                return
