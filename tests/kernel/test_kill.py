"""Whatever of a lab is killed, at whatever moment, the machine is as before within three seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import taps
from machine import MARK, left_behind, marked, state_of_machine

FIVE_MODES = Path(__file__).parents[2] / "topologies" / "five-modes.yaml"
MOMENTS: tuple[float, ...] = (0.3, 0.8)  # of the second that a test takes, or two on a busy machine
if os.geteuid():  # the kernel that ends a lab is the same for all
    MOMENTS = MOMENTS[:1]
SEEN = 0.0
"""As soon as the victim is there, which on a busy machine may be later than all of the moments."""
VICTIMS = {"command line": "vnetlab test", "holder": "holder_main", "agents": "launcher_main"}


def _seen(mark: str, sign: str) -> bool:
    return any(sign in line.replace("-m vnetlab", "vnetlab") for line in marked(mark))


def _kill(mark: str, sign: str) -> int:
    """Kill every process of the lab whose command shows the sign; tell how many those were."""
    killed = 0
    for line in marked(mark):
        pid, _, command = line.partition(" ")
        if sign in command.replace("-m vnetlab", "vnetlab"):
            try:
                os.kill(int(pid), signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass
    return killed


@pytest.mark.kernel
@pytest.mark.ordinary
@pytest.mark.spread
@pytest.mark.parametrize("victim", VICTIMS)
def test_nothing_is_left(victim: str, tmp_path: Path) -> None:
    killed = 0
    file = tmp_path / FIVE_MODES.name
    file.write_text(taps.as_possible(FIVE_MODES.read_text()))
    for moment in (*MOMENTS, SEEN):
        before, mark = state_of_machine(), uuid.uuid4().hex
        argv = [sys.executable, "-m", "vnetlab", "test", str(file)]
        process = subprocess.Popen(
            argv,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, MARK: mark},
        )
        time.sleep(moment)
        while moment == SEEN and process.poll() is None and not _seen(mark, VICTIMS[victim]):
            time.sleep(0.01)
        count = _kill(mark, VICTIMS[victim])
        killed += count
        complaint = process.communicate(timeout=30)[1]
        assert "Traceback" not in complaint, complaint
        assert left_behind(mark) == []
        assert state_of_machine() == before
        if count and victim != "command line":
            assert process.returncode in (0, 4), complaint
    assert killed, f"no {victim} was met at any of the moments"
