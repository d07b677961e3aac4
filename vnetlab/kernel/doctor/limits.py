"""Limits of the machine that matter for labs of a hundred machines and more.

What a lab takes was measured: flights among 10 and 40 machines, IPv4 and IPv6, on Linux 6.18. Neighbour
entries, open files and tracked connections grew in proportion to the machines.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.health import LAB_SIZES, Area, Check, State
from vnetlab.kernel.doctor.files import number_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PORTS = 1_000
"""Bridge ports at most that a broadcast has to go to: larger segments there are none."""


class Limit(Struct, frozen=True):
    """A limit, and what a lab takes of it."""

    name: str
    setting: str
    """As `sysctl` calls it; else what people call it."""
    each: float
    """Needed for each machine of a lab."""
    purpose: str
    base: int = 0
    """Needed for a lab of any size."""
    at_most: int = 0
    """The need grows up to this number of machines only; 0: without end."""
    remedy: str = ""
    """With ``{need}``; left out: a `sysctl -w`."""
    always: bool = True
    """Every lab needs it; else only certain uses of labs."""

    def need(self, machines: int) -> int:
        """Return what a lab of a size needs."""
        counted = min(machines, self.at_most) if self.at_most else machines
        return self.base + round(counted * self.each)


_ONE_TABLE = "all namespaces share one table of neighbours"
SYSCTLS = (
    Limit("ARP entries", "net.ipv4.neigh.default.gc_thresh3", 10, _ONE_TABLE),
    Limit("ND entries", "net.ipv6.neigh.default.gc_thresh3", 10, _ONE_TABLE),
    Limit("conntrack", "net.netfilter.nf_conntrack_max", 40, "connections tracked on one host"),
    Limit("files", "fs.file-max", 6, "open files of the whole machine", 1_000),
    Limit(
        "inotify", "fs.inotify.max_user_instances", 1, "one daemon in each machine takes an instance", 20,
        always=False,
    ),
    Limit(
        "backlog", "net.core.netdev_max_backlog", 2, "a broadcast waits for every port of a segment at once",
        at_most=PORTS,
    ),
    Limit("network namespaces", "user.max_net_namespaces", 1, "one for each machine and segment", 50),
    Limit("mounts", "fs.mount-max", 1, "one for each machine and segment", 1_000),
)  # fmt: skip
OPEN_FILES = Limit(
    "open files", "ulimit -n", 6, "sockets of the process that probes", 100, remedy="`ulimit -n {need}`"
)
MEMORY = Limit(
    "memory", "available MB", 1.5, "a machine takes 0.35 MB of kernel memory, its verdicts about 1 MB", 200,
    remedy="free or add memory: {need:,} MB are needed",
)  # fmt: skip


def limits() -> tuple[Check, ...]:
    """Read and judge every limit."""
    return tuple(judge(limit, value) for limit, value in _values())


def _values() -> Iterator[tuple[Limit, int | None]]:
    for limit in SYSCTLS:
        yield limit, number_of(limit.setting.replace(".", "/"))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield OPEN_FILES, number_of("fs/nr_open") if soft == resource.RLIM_INFINITY else soft
    yield MEMORY, available_memory(text_of(Path("/proc/meminfo")))


def available_memory(meminfo: str) -> int | None:
    """Return the memory that can be had without swapping, in MB, of the text of /proc/meminfo."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return None


def judge(limit: Limit, value: int | None) -> Check:
    """Judge a limit by its value; None: this namespace does not show it."""
    if value is None:
        finding = f"{limit.setting} is not shown here: {limit.purpose}"
        remedy = "look in the machine's own namespaces, outside of the container"
        return Check(Area.LIMITS, limit.name, State.UNKNOWN, finding, remedy)
    fitting = tuple(size for size in LAB_SIZES if limit.need(size) <= value)
    needs = " / ".join(f"{limit.need(size):,}" for size in LAB_SIZES)
    finding = f"{limit.setting} {value:,}; 100 / 1,000 / 10,000 machines need {needs}: {limit.purpose}"
    sizes = fitting if limit.always else None
    if len(fitting) == len(LAB_SIZES):
        return Check(Area.LIMITS, limit.name, State.OK, finding, sizes=sizes)
    wanted = next(size for size in LAB_SIZES if size not in fitting)
    remedy = limit.remedy or f"`sysctl -w {limit.setting}={{need}}`"
    text = f"{remedy.format(need=limit.need(wanted))} for {wanted:,} machines"
    return Check(Area.LIMITS, limit.name, State.LIMITED, finding, text, sizes)
