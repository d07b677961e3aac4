"""Labs as processes: starting, finding, entering, ending, and dying in every way."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from vnetlab.errors import (
    KernelError,
    LabExists,
    LabLost,
    LabNotFound,
    NodeNotFound,
    Place,
    Problem,
    TopologyError,
)
from vnetlab.kernel import control, enter
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.holder import Holder, labs

if TYPE_CHECKING:
    from vnetlab.kernel.spaces import Spaces

pytestmark = [pytest.mark.kernel, pytest.mark.ordinary]
WITHIN = 3.0


def create(spaces: Spaces, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        spaces.create(name)
    return spaces.names()


def identities(spaces: Spaces, names: tuple[str, ...]) -> list[int]:
    found = []
    for name in names:
        with spaces.inside(name):
            found.append(Path("/proc/thread-self/ns/net").stat().st_ino)
    found.append(Path("/proc/thread-self/ns/net").stat().st_ino)
    return found


def hosts(spaces: Spaces, text: str) -> str:
    spaces.write_hosts("of no meaning")
    spaces.write_hosts(text)
    return Path("/etc/hosts").read_text()


def fail(spaces: Spaces, error: tuple[type[Exception], tuple[Any, ...]]) -> None:
    kind, arguments = error
    raise kind(*arguments)


def sleep(spaces: Spaces, seconds: float) -> None:
    time.sleep(seconds)


def pid(spaces: Spaces, _: None) -> int:
    return int(Path("/proc/self").readlink().name)


class Odd(Exception):
    """An exception whose constructor does not take its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")
        self.two = two


@pytest.fixture
def lab(holder: Holder) -> Holder:
    with Agent(holder, preload=()) as agent:
        agent.call(create, ("web", "peer"))
    return holder


def run(holder: Holder, node: str, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = enter.command(holder, node, argv)
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def in_namespace_of(holder: Holder, kind: str = "mnt") -> set[int]:
    """Return the processes that share a namespace with the holder."""
    return _sharing(Path(f"/proc/{holder.pid}/ns/{kind}").readlink(), kind)


def parent_of(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("\nPPid:")[2].split()[0])


def _sharing(namespace: Path, kind: str) -> set[int]:
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "ns" / kind).readlink() == namespace:
                found.add(int(process.name))
    return found


def soon(condition: Any) -> bool:
    deadline = time.monotonic() + WITHIN
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_lab_is_listed_with_its_holder(holder: Holder) -> None:
    assert (holder.name, holder.pid, os.geteuid()) in {(i.name, i.holder, i.uid) for i in labs()}
    assert in_namespace_of(holder) == {holder.pid}


def test_a_name_is_taken_once(holder: Holder) -> None:
    with pytest.raises(LabExists, match=holder.name):
        Holder.start(holder.name)
    assert holder.description() == b""


def test_a_name_of_any_length(lab_name: str) -> None:
    name = lab_name + "x" * 200
    with Holder.start(name) as started:
        assert name in {info.name for info in labs()}
        with Holder.find(name) as found:
            assert found.pid == started.pid
        started.end()


def test_find_names_the_labs_that_are_up(holder: Holder) -> None:
    with pytest.raises(LabNotFound, match=holder.name):
        Holder.find("K.nowhere")
    with Holder.find(holder.name) as found:
        assert found.pid == holder.pid


def test_description_of_any_size(holder: Holder) -> None:
    text = os.urandom(3_000_000)
    holder.keep(b"short")
    holder.keep(text)
    with Holder.find(holder.name) as found:
        assert found.description() == text


def test_end_takes_everything(lab: Holder) -> None:
    running = subprocess.Popen(enter.command(lab, "web", ["sleep", "100"]))
    assert soon(lambda: len(in_namespace_of(lab)) == 2)
    mounts = Path(f"/proc/{lab.pid}/ns/mnt").readlink()
    lab.end()
    lab.end()
    assert _sharing(mounts, "mnt") == set()
    assert lab.name not in {info.name for info in labs()}
    assert running.wait(WITHIN) == 128 + signal.SIGKILL
    with pytest.raises(LabLost):
        lab.description()


def test_spaces_are_apart_and_named(holder: Holder) -> None:
    names = ("web", "segment:lan", "x" * 300, "..", "a/b", "ü")
    with Agent(holder) as agent:
        assert agent.call(create, names) == tuple(sorted(names))
        inodes = agent.call(identities, names)
        assert len(set(inodes)) == len(names) + 1
        with pytest.raises(KernelError, match="web: File exists"):
            agent.call(create, ("web",))
        with pytest.raises(NodeNotFound, match="nosuch"):
            agent.call(identities, ("nosuch",))
        assert agent.call(identities, names) == inodes


def test_hosts_file_is_the_labs_own(lab: Holder) -> None:
    outside = Path("/etc/hosts").read_text()
    with Agent(lab) as agent:
        assert agent.call(hosts, "10.0.0.1 web\n") == "10.0.0.1 web\n"
    assert run(lab, "web", "cat", "/etc/hosts").stdout == "10.0.0.1 web\n"
    assert Path("/etc/hosts").read_text() == outside


def test_errors_come_back_as_themselves(holder: Holder) -> None:
    problem = TopologyError((Problem(Place("f", 1), "thing", "v", "wrong", "remedy"),))
    with Agent(holder) as agent:
        with pytest.raises(TopologyError) as caught:
            agent.call(fail, (TopologyError, (problem.problems,)))
        assert caught.value.problems == problem.problems
        with pytest.raises(Odd) as odd:
            agent.call(fail, (Odd, (1, 2)))
        assert odd.value.two == 2
        assert "in fail" in str(odd.value.__cause__)
        assert agent.call(create, ("after",)) == ("after",)


def test_exec_passes_streams_and_exit_code(lab: Holder, tmp_path: Path) -> None:
    done = run(lab, "web", "sh", "-c", "cat; pwd; echo e >&2; exit 7", input="in\n", cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (f"in\n{tmp_path}\n", "e\n", 7)
    assert run(lab, "web", "sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM


def test_exec_arguments_meet_no_shell(lab: Holder) -> None:
    arguments = ["$HOME", "a b", "--lab", "'", "", "\n"]
    script = "import sys; print(sys.argv[1:])"
    assert run(lab, "web", sys.executable, "-c", script, *arguments).stdout == f"{arguments}\n"


@pytest.mark.parametrize(
    ("node", "argv", "code", "says"),
    [
        ("nosuch", ["true"], 2, "no node nosuch"),
        ("web", ["no-such-program"], 127, "no-such-program: command not found"),
        ("web", ["/etc/passwd"], 126, "Permission denied"),
    ],
)
def test_exec_says_what_is_wrong(lab: Holder, node: str, argv: list[str], code: int, says: str) -> None:
    done = run(lab, node, *argv)
    assert done.returncode == code
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_exec_in_a_lab_that_is_gone(lab: Holder) -> None:
    command = enter.command(lab, "web", ["true"])
    lab.end()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (4, f"vnetlab: lab {lab.name} is gone\n")


def test_exec_leaves_signal_dispositions_alone(lab: Holder) -> None:
    status = run(lab, "web", "cat", "/proc/self/status").stdout
    fields = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig"))
    assert int(fields["SigIgn"], 16) & (1 << (signal.SIGPIPE - 1)) == 0
    assert int(fields["SigIgn"], 16) & (1 << (signal.SIGINT - 1)) == 0
    assert int(fields["SigBlk"], 16) == 0


def test_interrupt_from_the_terminal_reaches_the_command(lab: Holder) -> None:
    for _ in range(5):
        command = enter.command(lab, "web", ["sleep", "100"])
        running = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
        assert soon(lambda: len(in_namespace_of(lab)) == 2)  # the command, or what is about to become it
        os.killpg(running.pid, signal.SIGINT)
        assert (running.communicate(timeout=WITHIN)[1], running.returncode) == ("", 128 + signal.SIGINT)


def test_terminate_is_passed_on(lab: Holder) -> None:
    script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done"
    command = enter.command(lab, "web", ["sh", "-c", script])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.terminate()
        assert running.stdout.read() == "bye\n"
    assert running.returncode == 3


def test_kill_of_the_holder(lab: Holder) -> None:
    mounts = Path(f"/proc/{lab.pid}/ns/mnt").readlink()
    with Agent(lab) as agent:
        agent.call(pid, None)
        running = subprocess.Popen(enter.command(lab, "web", ["sleep", "100"]))
        assert soon(lambda: len(in_namespace_of(lab)) == 3)
        os.kill(lab.pid, signal.SIGKILL)
        with pytest.raises(LabLost):
            agent.call(sleep, 60.0)
    assert running.wait(WITHIN) == 128 + signal.SIGKILL
    assert soon(lambda: not _sharing(mounts, "mnt"))
    assert lab.name not in {info.name for info in labs()}
    lab.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE])
def test_a_holder_ignores_its_terminal(holder: Holder, number: signal.Signals) -> None:
    os.kill(holder.pid, number)
    time.sleep(0.05)
    assert holder.description() == b""


def test_terminate_ends_a_holder(holder: Holder) -> None:
    process = os.pidfd_open(holder.pid)
    os.kill(holder.pid, signal.SIGTERM)
    assert select.select([process], [], [], WITHIN)[0]
    os.close(process)


def test_kill_of_an_agent(lab: Holder) -> None:
    with Agent(lab) as agent:
        inner = agent.call(pid, None)
        assert inner in in_namespace_of(lab)
        os.kill(parent_of(inner), signal.SIGKILL)
        assert soon(lambda: inner not in in_namespace_of(lab))
        with pytest.raises(LabLost):
            agent.call(pid, None)
    assert run(lab, "web", "true").returncode == 0


def test_close_of_a_busy_agent_does_not_wait(lab: Holder) -> None:
    agent = Agent(lab)
    inner = agent.call(pid, None)
    failed: list[BaseException] = []

    def busy() -> None:
        try:
            agent.call(sleep, 60.0)
        except LabLost as error:
            failed.append(error)

    caller = Thread(target=busy)
    caller.start()
    time.sleep(0.05)
    agent.close()
    caller.join(WITHIN)
    assert failed
    assert inner not in in_namespace_of(lab)


def test_kill_of_an_exec(lab: Holder) -> None:
    running = subprocess.Popen(enter.command(lab, "web", ["sleep", "100"]))
    assert soon(lambda: len(in_namespace_of(lab)) == 2)
    running.kill()
    running.wait()
    assert soon(lambda: in_namespace_of(lab) == {lab.pid})


STARTER = """
import subprocess, sys, time
sys.path[:0] = {path!r}
from vnetlab.kernel.holder import Holder
from vnetlab.kernel.agent import Agent
from vnetlab.kernel import control, enter
from test_holder import create
holder = Holder.start({name!r})
agent = Agent(holder)
agent.call(create, ("web",))
child = subprocess.Popen(enter.command(holder, "web", ["sleep", "100"]))
if {keep}:
    holder.keep(b"kept")
print(holder.pid, flush=True)
time.sleep(100)
"""


def start(python: list[str], name: str, keep: bool = False) -> tuple[subprocess.Popen[str], int]:
    script = STARTER.format(path=[str(Path(__file__).parent)], name=name, keep=keep)
    starter = subprocess.Popen([*python, "-c", script], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    return starter, int(starter.stdout.readline())


def test_kill_of_a_starter_before_keep(lab_name: str) -> None:
    starter, pid_of_holder = start([sys.executable], lab_name)
    mounts = Path(f"/proc/{pid_of_holder}/ns/mnt").readlink()
    with starter:
        starter.kill()
    assert soon(lambda: not _sharing(mounts, "mnt"))
    assert lab_name not in {info.name for info in labs()}


def test_kill_of_a_starter_after_keep(lab_name: str) -> None:
    starter, pid_of_holder = start([sys.executable], lab_name, keep=True)
    with starter:
        starter.kill()
    with Holder.find(lab_name) as found:
        assert soon(lambda: in_namespace_of(found) == {pid_of_holder})
        assert found.description() == b"kept"
        assert run(found, "web", "true").returncode == 0
        found.end()


def test_an_ordinary_user(ordinary_user: list[str], lab_name: str) -> None:
    starter, pid_of_holder = start(ordinary_user, lab_name)
    owner = Path(f"/proc/{pid_of_holder}").stat().st_uid
    mounts = Path(f"/proc/{pid_of_holder}/ns/mnt").readlink()
    with starter, Holder.find(lab_name) as found:  # root reaches the labs of everyone
        assert (found.pid, found.uid) == (pid_of_holder, owner)
        assert run(found, "web", "id", "-u").stdout == "0\n"
        os.kill(pid_of_holder, signal.SIGKILL)
        assert soon(lambda: not _sharing(mounts, "mnt"))
        starter.kill()
    assert lab_name not in {info.name for info in labs()}


def test_kill_of_an_ordinary_starter(ordinary_user: list[str], lab_name: str) -> None:
    starter, pid_of_holder = start(ordinary_user, lab_name)
    mounts = Path(f"/proc/{pid_of_holder}/ns/mnt").readlink()
    with starter:
        starter.kill()
    assert soon(lambda: not _sharing(mounts, "mnt"))
    assert lab_name not in {info.name for info in labs()}


@pytest.mark.alone  # ends within a deadline what the kernel takes apart in one thread for all
def test_a_thousand_namespaces_end_at_once(holder: Holder) -> None:
    names = tuple(f"n{number}" for number in range(1000))
    with Agent(holder) as agent:
        assert len(agent.call(create, names)) == 1000
    began = time.monotonic()
    holder.end()
    assert time.monotonic() - began < WITHIN


@pytest.mark.parametrize("find", [Holder.find, Holder.find_own])
def test_a_holder_that_ends_while_it_is_opened_is_not_found(lab_name: str, find: Any) -> None:
    """Of two `down` at once the second may have a connection already: the lab is not up, that is all."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(control.address(os.geteuid(), lab_name))
        listener.listen()
        ending = Thread(target=end_each_connection, args=(listener,))
        ending.start()
        try:
            with pytest.raises(LabNotFound, match="has just ended"):
                find(lab_name)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            ending.join()


def end_each_connection(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()
