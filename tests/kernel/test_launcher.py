"""Who starts agents: replaced where it was killed or stands elsewhere than we do, and gone with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vnetlab.kernel import launcher
from vnetlab.kernel.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.kernel.spaces import Spaces

pytestmark = pytest.mark.kernel
WITHIN = 3.0

STARTER = """
from test_launcher import own_children, three_agents
agents = three_agents()
print(*own_children(), flush=True)
input()
"""
MOVES = """
from test_launcher import own_children, three_agents
from vnetlab.kernel import linux
agents = three_agents()
[first] = own_children()
linux.unshare(0x40000000)  # CLONE_NEWNET
more = three_agents()
print(first, *own_children(), flush=True)
input()
for agent in agents:
    agent.close()
print(first, flush=True)
input()
"""


def nothing(_: Spaces, argument: str) -> str:
    return argument


def three_agents() -> list[Agent]:
    agents = [Agent(None, ()) for _ in range(3)]
    for agent in agents:
        assert agent.call(nothing, "there") == "there"
    return agents


def own_children() -> list[int]:
    return children(os.getpid())


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def descendants(process: int) -> Iterator[int]:
    for child in children(process):
        yield child
        yield from descendants(child)


def wait_until_gone(*processes: int) -> None:
    until = time.monotonic() + WITHIN
    while left := [process for process in processes if Path(f"/proc/{process}").exists()]:
        assert time.monotonic() < until, f"{left} are still there"
        time.sleep(0.01)


def wait_until_ended(process: int) -> None:
    """Wait for a zombie, which is there until its parent looks.

    The command line is gone earlier (exit_mm() in the kernel's do_exit()), while its connections still take
    what is sent to them; a zombie has closed them (exit_files()).
    """
    until = time.monotonic() + WITHIN
    while state(process) != "Z":
        assert time.monotonic() < until, f"{process} goes on"
        time.sleep(0.01)


def state(process: int) -> str:
    """Return the letter of proc_pid_stat(5), which stands behind a name that may hold anything."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]


def command_line(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text()


def started(script: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout
    return [int(word) for word in process.stdout.readline().split()]


@pytest.mark.ordinary
def test_one_launcher_for_all_agents_and_nothing_is_left_where_the_starter_is_killed() -> None:
    with started(STARTER) as starter:
        [launching] = said(starter)
        below = [launching, *descendants(launching)]
        assert len(below) > 3
        starter.kill()
    wait_until_gone(*below)


@pytest.mark.ordinary
def test_nothing_is_left_where_the_starter_ends() -> None:
    with started(STARTER) as starter:
        [launching] = said(starter)
        below = [launching, *descendants(launching)]
        starter.communicate("\n")
    assert starter.returncode == 0
    wait_until_gone(*below)


@pytest.mark.ordinary
def test_another_one_where_it_was_killed() -> None:
    launcher.prepare(("json",))
    [agent, *others] = three_agents()
    before = next(child for child in own_children() if "launcher_main" in command_line(child))
    os.kill(before, signal.SIGKILL)
    wait_until_ended(before)
    with Agent(None, ()) as after:
        assert after.call(nothing, "again") == "again"
    for each in (agent, *others):
        each.close()


def test_who_moved_to_another_namespace_has_another_one_and_the_first_ends_with_its_agents() -> None:
    with started(MOVES) as starter:
        first, *both = said(starter)
        assert first in both
        assert len(both) == 2
        namespaces = {Path(f"/proc/{launching}/ns/net").readlink() for launching in both}
        assert len(namespaces) == 2
        assert starter.stdin
        starter.stdin.write("\n")
        starter.stdin.flush()
        assert said(starter) == [first]
        wait_until_ended(first)
        starter.communicate("\n")
    assert starter.returncode == 0
    wait_until_gone(*both)
