"""The floor: a lab's kernel objects made by the shortest way that one Python process has.

Run as ``python -I -S floor.py JOB [full|bare]``: reads what to make (job.py writes it from a compiled State),
makes it, prints a line of JSON with the seconds of each phase and the descriptors of the namespaces, and
holds it all until its standard input closes; then it ends, and the kernel removes the lab.

It does: namespaces, bridges, veth pairs with MAC, MTU and master, altnames, up, addresses, routes; and
``full`` also every setting below /proc/sys and every nftables table that vnetlab loads. ``bare`` leaves the
last two out. It does not: check a topology, derive anything, wait until ports forward, say which object
the kernel refused, keep the lab when it ends, read anything back. Standard library only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from socket import if_nametoindex
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks import rtnetlink, spaces

_BINDINGS = "/usr/lib/python3/dist-packages"
_VISITS = 50
_RESERVED = [os.open(os.devnull, os.O_RDONLY)]


class Link(NamedTuple):
    """A device; ``peer`` is the namespace and the index in it of the other end of a pair, or empty."""

    kind: str
    name: str
    altname: str
    mac: str
    mtu: int
    master: str
    peer: list[int] | None


class Space(NamedTuple):
    """What a namespace holds."""

    links: list[Link]
    addresses: list[tuple[str, str]]
    routes: list[tuple[str, str, str]]
    sysctls: list[tuple[str, str]]
    device_sysctls: list[tuple[str, str]]
    rules: str
    device_rules: str


class Built:
    """Namespaces under construction: descriptor and device indices of each."""

    def __init__(self, wanted: list[Space], full: bool) -> None:
        self.wanted = wanted
        self._full = full
        self.descriptors: list[int] = []
        self._indices: list[dict[str, int]] = []
        self._procfs = os.open("/proc", os.O_PATH)
        self._visits = 0

    def create(self) -> None:
        """Make the namespaces, with their settings and rules while nothing else is in them."""
        for space in self.wanted:
            self.descriptors.append(spaces.create())
            self._indices.append({"lo": 1})
            if self._full:
                self._write(space.sysctls)
                _load(space.rules)

    def pairs(self) -> None:
        """Make bridges, then veth pairs: the end that has a master makes the pair."""
        for number, space in enumerate(self.wanted):
            bridges = [link for link in space.links if link.kind == "bridge"]
            if bridges:
                spaces.enter(self.descriptors[number])
                rtnetlink.send([rtnetlink.bridge(b.name, b.mac, b.mtu) for b in bridges])
                self._indices[number] |= {b.name: if_nametoindex(b.name) for b in bridges}
        for number, space in enumerate(self.wanted):
            messages = [self._pair(number, link) for link in space.links if self._makes(link, number)]
            if messages:
                spaces.enter(self.descriptors[number])
                rtnetlink.send(messages)

    def _makes(self, link: Link, number: int) -> bool:
        if not link.peer:
            return False
        other = self.wanted[link.peer[0]].links[link.peer[1]]
        if bool(link.master) != bool(other.master):
            return bool(link.master)
        return number < link.peer[0]

    def _pair(self, number: int, link: Link) -> bytes:
        assert link.peer
        far = self.wanted[link.peer[0]].links[link.peer[1]]
        return rtnetlink.veth(
            (link.name, link.mac, link.mtu),
            (far.name, far.mac, far.mtu),
            self.descriptors[link.peer[0]],
            self._indices[number].get(link.master, 0),
        )

    def configure(self) -> None:
        """Write settings of devices; then altnames, up, addresses and routes in one batch a namespace."""
        for number, space in enumerate(self.wanted):
            spaces.enter(self.descriptors[number])
            indices = self._indices[number]
            indices |= {link.name: if_nametoindex(link.name) for link in space.links}
            if self._full:
                _load(space.device_rules)
                self._write(space.device_sysctls)
            messages = [rtnetlink.altname(indices[k.name], k.altname) for k in space.links if k.altname]
            messages.append(rtnetlink.up(1))
            made = {link.name for link in space.links if self._makes(link, number)}
            messages += (self._up(number, link, link.name in made) for link in space.links)
            messages += (rtnetlink.address(indices[device], text) for device, text in space.addresses)
            messages += (
                rtnetlink.route(indices[device], prefix, via) for prefix, via, device in space.routes
            )
            rtnetlink.send(messages)

    def _write(self, sysctls: list[tuple[str, str]]) -> None:
        if not self._visits % _VISITS:
            os.close(self._procfs)
            self._procfs = spaces.procfs()
        self._visits += 1
        for key, value in sysctls:
            try:
                descriptor = os.open("sys/" + key, os.O_WRONLY, dir_fd=self._procfs)
            except FileNotFoundError:
                continue
            os.write(descriptor, value.encode())
            os.close(descriptor)

    def _up(self, number: int, link: Link, joined: bool) -> bytes:
        master = 0 if joined or not link.master else self._indices[number][link.master]
        return rtnetlink.up(self._indices[number][link.name], master)


def _load(rules: str) -> None:
    if not rules:
        return
    from nftables import Nftables

    # libmnl waits by select(2), which knows descriptors up to 1,023 only: its socket gets a low one.
    os.close(_RESERVED.pop())
    status, _, message = Nftables().cmd(rules)
    _RESERVED.append(os.open(os.devnull, os.O_RDONLY))
    if status:
        raise OSError(message)


def _space(fields: list[Any]) -> Space:
    links = [Link(*link) for link in fields[0]]
    return Space(links, *fields[1:])


def main() -> None:
    """Build what the job says, report, and hold it until standard input closes."""
    began = time.perf_counter()
    sys.path.append(_BINDINGS)
    wanted = [_space(fields) for fields in json.loads(Path(sys.argv[1]).read_text())]
    built = Built(wanted, sys.argv[2:] != ["bare"])
    seconds = {"read": time.perf_counter() - began}
    for phase in (built.create, built.pairs, built.configure):
        began = time.perf_counter()
        phase()
        seconds[phase.__name__] = time.perf_counter() - began
    sys.stdout.write(json.dumps({"seconds": seconds, "spaces": built.descriptors}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
