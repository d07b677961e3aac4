"""Namespaces that play a machine and what is on its LAN: nothing of the real machine is ever touched.

The machine has network and mount namespaces of its own, and so a /run of its own; `eth0` leads to a gateway.
A folder that plays a /run on a disk, and a boot id, let it be restarted: another one with the same folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PACKAGES = Path(__file__).parents[1]
_MACHINE = "mount -t tmpfs none /run && echo ready && exec sleep infinity"
_BOOTED = (
    "mount --bind {run} /run && mount --bind {boot} /proc/sys/kernel/random/boot_id"
    " && echo ready && exec sleep infinity"
)
_GATEWAY = "echo ready && exec sleep infinity"


class Played:
    """A process that holds namespaces, in which commands are run."""

    def __init__(self, unshared: str, program: str) -> None:
        argv = ["unshare", *unshared.split(), "sh", "-c", program]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"
        self._enter = ["nsenter", "-t", str(self.pid), "-n", "-m", f"--wdns={Path.cwd()}"]
        assert self("readlink", "/proc/self/ns/net") != os.readlink("/proc/self/ns/net")  # noqa: PTH115

    @property
    def pid(self) -> int:
        return self._process.pid

    def argv(self, *command: str) -> list[str]:
        return [*self._enter, *command]

    def __call__(self, *command: str, check: bool = True) -> str:
        done = self.run(*command)
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.stderr}")
        return done.stdout.strip()

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        limited = {"timeout": 120} | options
        return subprocess.run(self.argv(*command), capture_output=True, text=True, check=False, **limited)

    def all(self, commands: str) -> None:
        """Run each line as a command."""
        for line in commands.strip().splitlines():
            self(*line.split())

    def vnetlab(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "vnetlab", *arguments, cwd=PACKAGES)

    def reaches(self, address: str, *inside: str) -> bool:
        """Tell whether a ping comes back; ``inside`` is a lab's node."""
        ping = [sys.executable, str(PACKAGES / "tests/pinging.py"), address, "1", "0"]
        if inside:
            return self.vnetlab("exec", *inside, "--", *ping).returncode == 0
        return self.run(*ping).returncode == 0

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


class Machine(Played):
    """A machine with a NIC ``eth0`` at 192.0.2.10 and 2001:db8:1::10, and behind it a gateway."""

    def __init__(self, run: Path | None = None, boot: Path | None = None) -> None:
        """Start it; ``run`` is a folder that lasts, ``boot`` a file with the id of this start."""
        program = _BOOTED.format(run=run, boot=boot) if run else _MACHINE
        super().__init__("-nm --propagation private", program)
        self.gateway = Played("-n", _GATEWAY)
        self.all(f"""
            ip link set lo up
            ip link add eth0 type veth peer name lan0 netns {self.gateway.pid}
            ip link set eth0 up
            ip address add 192.0.2.10/24 dev eth0
            ip address add 192.0.2.11/24 dev eth0
            ip -6 address add 2001:db8:1::10/64 dev eth0 nodad
            ip route add default via 192.0.2.1 dev eth0 metric 100 src 192.0.2.10
            ip route add 203.0.113.0/24 via 192.0.2.1 dev eth0 proto static metric 50
        """)
        self.gateway.all("""
            ip link set lo up
            ip link set lan0 up
            ip address add 192.0.2.1/24 dev lan0
            ip -6 address add 2001:db8:1::1/64 dev lan0 nodad
            ip address add 198.51.100.1/32 dev lo
            ip -6 address add 2001:db8:2::1/128 dev lo nodad
        """)
        self("ip", "-6", "route", "add", "default", "via", "2001:db8:1::1", "dev", "eth0")
        while "tentative" in self("ip", "address"):
            time.sleep(0.1)

    def state(self) -> tuple[str, ...]:
        """Return all that a lab could have changed here, in words that do not change by themselves."""
        links = [
            (each["ifname"], each.get("master"), each.get("altnames"), each["address"], each["mtu"])
            for each in self._ip("link")
        ]
        addresses = [
            (each["ifname"], info["local"], info["prefixlen"], info["scope"], info.get("label"))
            for each in self._ip("address")
            for info in each["addr_info"]
        ]
        routes = [
            str(sorted(each.items())) for ip in "46" for each in self._ip(f"-{ip} route show table all")
        ]
        settings = self("sh", "-c", "sysctl -a 2>/dev/null | grep -E '^net[.](ipv4|ipv6|bridge)[.]'")
        kept = [
            line for line in settings.splitlines() if "nf_conntrack" not in line and "tcp_mem" not in line
        ]
        rules = self("nft", "-s", "list", "ruleset")
        files = self("find", "/run", "-path", "*vnetlab*")
        return (*map(str, links), *map(str, addresses), *sorted(routes), *kept, rules, files)

    def _ip(self, what: str) -> Sequence[dict[str, Any]]:
        found = json.loads(self("ip", "-j", *what.split()) or "[]")
        assert isinstance(found, list)
        return found

    def cut_power(self) -> None:
        """End it with all that runs on it, and nobody is told."""
        for each in json.loads(self.vnetlab("status", "--json").stdout)["labs"]:
            os.kill(each["holder"], signal.SIGKILL)
        self.gateway.end()
        self.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "@vnetlab/" in self("cat", "/proc/net/unix"):  # a test that failed left a lab
            self.vnetlab("down", "--all")
        self.gateway.end()
        self.end()


def done(result: subprocess.CompletedProcess[str], code: int = 0) -> str:
    """Return what a command said on stderr, which ended with the code that it should."""
    assert result.returncode == code, result.stderr
    return result.stderr


@contextmanager
def streams(machine: Machine) -> Iterator[list[str]]:
    """Ping both ways and in both families all the while; the list is what got lost."""
    argv = [sys.executable, str(PACKAGES / "tests/pinging.py")]
    ways: list[tuple[Played, str]] = [(machine, "198.51.100.1"), (machine, "2001:db8:2::1")]
    ways += [(machine.gateway, "192.0.2.10"), (machine.gateway, "2001:db8:1::10")]
    running = [
        subprocess.Popen(
            place.argv(*argv, to, "0", "0.001"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for place, to in ways
    ]
    for each in running:
        assert each.stdout
        assert each.stdout.readline() == "begun\n"
    lost: list[str] = []
    try:
        yield lost
    finally:
        said = [each.communicate()[0] for each in running]
    for each, text in zip(running, said, strict=True):
        assert int(text.split()[2]) > 100, "a stream of some length"
        if each.returncode:
            lost.append(text)
