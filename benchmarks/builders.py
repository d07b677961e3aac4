"""Builds and removes a lab by each of the builders, as whole commands, and takes the time.

The clock of a removal runs until the kernel has removed every namespace (witness.py), for all alike.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import results
from benchmarks.results import Sample
from benchmarks.witness import Witness
from vnetlab.kernel.holder import Holder

if TYPE_CHECKING:
    from collections.abc import Callable

_HERE = Path(__file__).resolve().parent
_PYTHON = [sys.executable, "-I", "-S"]
_SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True, slots=True)
class Case:
    """The files of one size: the topology, the floor's job, and a topology with twenty networks always."""

    machines: int
    networks: int
    topology: Path
    job: Path
    one_site: Path


class BuildFailedError(Exception):
    """A builder ended with an error; the text says which and how."""


def run(command: list[str]) -> tuple[float, int]:
    """Run a command; return its seconds and the peak bytes of its largest process."""
    timed = [*_PYTHON, str(_HERE / "timed.py"), *command]
    done = subprocess.run(timed, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildFailedError(f"{' '.join(command)}: {done.stderr.strip()}")
    said = json.loads(done.stdout)
    return said["seconds"], said["peak"]


def vnetlab(case: Case, round_: int) -> Sample:
    """Measure `vnetlab up` and `vnetlab down`."""
    lab = f"bench.{os.getpid()}"
    up, memory = run([sys.executable, "-m", "vnetlab", "up", str(case.topology), "--name", lab])
    with ExitStack() as undo:
        holder = undo.enter_context(Holder.find(lab))
        undo.callback(holder.end)
        seen = undo.enter_context(Witness())
        with holder.spaces() as (root, *_):
            for name in ("hv0", f"vm{case.machines - 1}"):
                descriptor = os.open(name, os.O_RDONLY, dir_fd=root)
                seen.plant(descriptor)
                os.close(descriptor)
        peak = _peak(holder.pid)
        began = time.perf_counter()
        run([sys.executable, "-m", "vnetlab", "down", lab])
        seen.wait()
        down = time.perf_counter() - began
    return Sample(results.VNETLAB, case.machines, round_, up, down, memory, peak)


def floor(case: Case, round_: int) -> Sample:
    """Measure the floor: the same objects, settings and rules."""
    return _held(results.FLOOR, [*_PYTHON, str(_HERE / "floor.py"), str(case.job), "full"], case, round_)


def bare(case: Case, round_: int) -> Sample:
    """Measure the floor without settings and rules: devices, addresses and routes."""
    return _held(results.BARE, [*_PYTHON, str(_HERE / "floor.py"), str(case.job), "bare"], case, round_)


def mininet(case: Case, round_: int) -> Sample:
    """Measure Mininet with as many hosts and switches; in namespaces of its own, which end with it."""
    script = [_SYSTEM_PYTHON, str(_HERE / "mininet_lab.py"), str(case.machines), str(case.networks)]
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    return _held(results.MININET, [*apart, *script], case, round_)


def has_mininet() -> bool:
    """Tell whether Mininet and the tools that its LinuxBridge switch calls are installed."""
    tools = all(shutil.which(tool) for tool in ("mnexec", "brctl", "unshare"))
    found = [_SYSTEM_PYTHON, "-c", "import mininet"]
    return tools and not subprocess.run(found, check=False, capture_output=True).returncode


def _held(builder: str, command: list[str], case: Case, round_: int) -> Sample:
    """Measure a builder that holds its lab until its standard input closes."""
    pipe = subprocess.PIPE
    began = time.perf_counter()
    with (
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process,
        Witness() as seen,
    ):
        assert process.stdin
        assert process.stdout
        assert process.stderr
        line = process.stdout.readline()
        up = time.perf_counter() - began
        if not line:
            raise BuildFailedError(f"{' '.join(command)}: {process.stderr.read().decode().strip()}")
        said = json.loads(line)
        for number in said["spaces"][-1:]:
            descriptor = os.open(f"/proc/{process.pid}/fd/{number}", os.O_RDONLY)
            seen.plant(descriptor)
            os.close(descriptor)
        peak = _peak(process.pid)
        began = time.perf_counter()
        process.stdin.close()
        process.wait()
        seen.wait()
        down = time.perf_counter() - began
    return Sample(builder, case.machines, round_, up, down, peak, 0, tuple(said["seconds"].items()))


def _peak(pid: int) -> int:
    """Return the peak resident bytes of a process (VmHWM of proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024


BUILDERS: dict[str, Callable[[Case, int], Sample]] = {
    results.FLOOR: floor,
    results.BARE: bare,
    results.VNETLAB: vnetlab,
    results.MININET: mininet,
}
