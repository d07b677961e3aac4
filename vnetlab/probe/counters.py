"""Counters of lost packets: one that moves during a flight takes the proof from what was not seen.

Read below /proc/thread-self, since a process in several namespaces one after the other has its own
there.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from vnetlab.probe.flight import Drop

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SIOCETHTOOL, ETHTOOL_GLINK = 0x8946, 0x0A  # linux/sockios.h, linux/ethtool.h
NET = Path("/proc/thread-self/net")
SOFTNET = Path("/proc/net/softnet_stat")
CONNTRACK_COUNTERS = ("insert_failed", "drop", "early_drop")
_DEVICE_COUNTERS = (" rx dropped", " tx dropped")

Counters = dict[tuple[str, str], int]
"""Value by where and counter."""


def softnet() -> Counters:
    """Return packets dropped since a CPU's backlog was full (``netdev_max_backlog``), of the
    machine.
    """
    rows = [line.split() for line in SOFTNET.read_text().splitlines()]
    return {("machine", "softnet dropped"): sum(int(row[1], 16) for row in rows)}


def backlog(processor: int | None = None) -> int:
    """Return how many packets wait in the backlogs of all CPUs, or of one.

    Columns 12 and 13 of `softnet_seq_show` (net/core/net-procfs.c): how many, and of which CPU.
    """
    descriptor = os.open(SOFTNET, os.O_RDONLY)  # asked very often: pathlib would take as long as the kernel
    try:
        text = os.read(descriptor, 65_536)
    finally:
        os.close(descriptor)
    rows = (row for row in text.splitlines() if len(row) >= 107)
    return sum(
        int(row[99:107], 16) for row in rows if processor is None or int(row[108:116], 16) == processor
    )


def neighbour_tables() -> Counters:
    """Return how often a neighbour table was full, where the machine's own namespace can be
    read.
    """
    found: Counters = {}
    for table in ("arp_cache", "ndisc_cache"):
        try:
            lines = Path(f"/proc/1/net/stat/{table}").read_text().splitlines()
        except OSError:
            continue
        names = lines[0].split()
        if "table_fulls" in names:
            at = names.index("table_fulls")
            total = sum(int(line.split()[at], 16) for line in lines[1:])
            found["machine", f"{table} table full (raise neigh.default.gc_thresh3)"] = total
    return found


def devices(where: str, names: Iterable[str]) -> Counters:
    """Return the drop counters of devices of the current namespace."""
    # Without carrier a device drops whatever its own kernel says on it; nobody is there to miss it.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        wanted = {name for name in names if has_carrier(sock, name)}
    found: Counters = {}
    for line in (NET / "dev").read_text().splitlines()[2:]:
        device, _, rest = line.partition(":")
        if device.strip() in wanted:
            fields = rest.split()
            found[where, f"{device.strip()}{_DEVICE_COUNTERS[0]}"] = int(fields[3])
            found[where, f"{device.strip()}{_DEVICE_COUNTERS[1]}"] = int(fields[11])
    return found


def has_carrier(sock: socket.socket, device: str) -> bool:
    """Tell whether a device of a socket's namespace has carrier. Raises OSError.

    By ethtool's word: the flag IFF_RUNNING is set too on a device whose state nobody has looked at yet.
    """
    value = ctypes.create_string_buffer(struct.pack("@II", ETHTOOL_GLINK, 0))
    request = struct.pack("@16sP16x", device.encode(), ctypes.addressof(value))
    fcntl.ioctl(sock, SIOCETHTOOL, request)
    return bool(struct.unpack_from("@II", value.raw)[1])


def conntrack(where: str) -> Counters:
    """Return connection tracking's losses in the current namespace; nothing where it shows none."""
    try:
        lines = (NET / "stat/nf_conntrack").read_text().splitlines()
    except FileNotFoundError:
        return {}
    names = lines[0].split()
    found: Counters = {}
    for counter in CONNTRACK_COUNTERS:
        if counter in names:
            at = names.index(counter)
            total = sum(int(line.split()[at], 16) for line in lines[1:])
            found[where, f"conntrack {counter}"] = total
    return found


def routes6() -> list[str]:
    """Return the IPv6 routes of the current namespace, a line each, addresses as 32 hex digits."""
    try:
        return (NET / "ipv6_route").read_text().splitlines()
    except FileNotFoundError:
        return []  # no IPv6 in this kernel: nothing to believe an advertisement


def moved(before: Mapping[tuple[str, str], int], after: Mapping[tuple[str, str], int]) -> list[Drop]:
    """Return the counters that grew."""
    return [
        Drop(where, counter, value - before[where, counter], counter.endswith(_DEVICE_COUNTERS))
        for (where, counter), value in after.items()
        if value > before.get((where, counter), value)
    ]
