"""The files of tests/rulesets: nft text under a header that says what it is about, and what is sent.

::

    # A web server published on another machine than the one that was asked.
    # node: hv                                 where it is loaded; hv unless said
    # ip: rule add from {red1} table 100       what ip(8) is to do there before; undone after
    # at: blue1                                who is judged besides each flow's own receiver
    # flow: peer > hv tcp4 8080                sender, receiver, protocol and family, port
    # flow: red1 > peer udp6 53 oneway ttl 9   with options, see OPTIONS

A file's own flows come first, then those of BATTERY, until there are PACKETS of them. ``{red1}`` is a
VM's or machine's IPv4 address, ``{red1.6}`` its IPv6 address, ``{red1.mac}`` its MAC, ``{red1.port}`` the
bridge port that it is behind, and ``{red}`` the bridge of a network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab import names
from vnetlab.guarantees import Flow, Guarantee, Outcome, Protocol, Special
from vnetlab.topology.model import Family, Host, Machine, Topology, Vm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.topology.model import IPAddress

FOLDER = Path(__file__).parent / "rulesets"
PACKETS = 20
_HEADER = re.compile(r"# (node|ip|at|flow|unchanged): (.*)")
_KINDS = {"tcp": Protocol.TCP, "udp": Protocol.UDP, "icmp": Protocol.ICMP}
OPTIONS = (
    "oneway",
    "closed",
    "fin",
    "ttl N",
    "from PORT",
    "as ADDRESS",
    "to ADDRESS",
    "size BYTES",
    "at NODE",
)
CLOSED = 99
"""The port that nobody listens to."""
FIRST_PORT = 20000
BATTERY = """
red1 > peer tcp4 80
red1 > peer udp4 53
red1 > peer icmp4
blue1 > red2 tcp6 22
blue1 > red2 udp6 53 oneway
peer > red1 tcp4 22
peer > red1 udp4 53 ttl 33
peer > red1 icmp6
remote > blue1 tcp6 80
remote > blue1 udp4 99 closed
remote > red2 icmp4 ttl 5
red2 > hv udp6 53
red2 > hv tcp4 22
hv > blue1 icmp4
hv > peer udp6 123
peer > hv icmp6
desk1 > peer udp4 123 oneway
desk1 > red1 tcp6 443
desk2 > desk1 tcp4 8080
blue1 > remote udp6 443
peer > hv tcp4 99 closed
red1 > blue1 tcp4 443
"""


@dataclass(frozen=True, slots=True)
class RulesetFile:
    """One ruleset, and what is sent through it."""

    name: str
    about: str
    node: str
    commands: tuple[str, ...]
    """What ip(8) is to add or delete before."""
    text: str
    guarantees: tuple[Guarantee, ...]
    """Each flow at its receiver, and at those besides that the file names."""
    changes: bool
    """Whether some packet has to fare otherwise than without rules."""


@cache
def topology() -> Topology:
    """Return the lab that all files are tried in."""
    return Topology.load(FOLDER / "lab.yaml")


@cache
def ruleset_files() -> tuple[RulesetFile, ...]:
    """Return all files, in the order of their names."""
    return tuple(_parse(path, number) for number, path in enumerate(sorted(FOLDER.glob("*.nft"))))


def _parse(path: Path, number: int) -> RulesetFile:
    lines = path.read_text().splitlines()
    fields = [(found[1], found[2]) for line in lines if (found := _HEADER.fullmatch(line))]
    others = " ".join(value for key, value in fields if key == "at").split()
    node = next((value for key, value in fields if key == "node"), "hv")
    written = [value for key, value in fields if key == "flow"]
    written += [line for line in BATTERY.split("\n") if line and line not in written]
    guarantees = tuple(
        guarantee
        for at, line in enumerate(written[:PACKETS])
        for guarantee in _guarantees(line, others, FIRST_PORT + number * 2 * PACKETS + at)
    )
    text = "\n".join(line for line in lines if not _HEADER.fullmatch(line))
    about = lines[0].removeprefix("# ")
    changes = not any(key == "unchanged" for key, _ in fields)
    commands = tuple(filled_in(value) for key, value in fields if key == "ip")
    return RulesetFile(path.name, about, node, commands, filled_in(text), guarantees, changes)


def _guarantees(line: str, others: list[str], own_port: int) -> Iterator[Guarantee]:
    sender, _, receiver, kind, *rest = line.split()
    port = int(rest.pop(0)) if rest and rest[0].isdigit() else 0
    options = dict(_options(rest))
    family = Family(f"ipv{kind[-1]}")
    flow = Flow(
        family,
        _KINDS[kind[:-1]],
        ip_address(options["to"]) if "to" in options else address_of(receiver, family),
        _source(sender, family, options),
        int(options.get("from", own_port)),
        port,
        "oneway" not in options,
        Special.UNTRACKED if "fin" in options else Special.NONE,
        ttl=int(options.get("ttl", 64)),
        size=int(options.get("size", 0)),
    )
    expected = Outcome.REFUSED if "closed" in options else Outcome.DELIVERED
    first = Guarantee("ruleset", "", "", sender, receiver, flow, expected, line)
    for node in dict.fromkeys((receiver, *others, *options.get("at", "").split(","))):
        if node and (node != sender or node == receiver):
            yield replace(first, destination=node)


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    while words:
        word = words.pop(0)
        yield word, words.pop(0) if f"{word} " in " ".join(OPTIONS) and word not in OPTIONS else ""


def _source(sender: str, family: Family, options: dict[str, str]) -> IPAddress | None:
    if "as" in options:
        return ip_address(options["as"])
    return None if sender in topology().hosts else address_of(sender, family)


def address_of(node: str, family: Family) -> IPAddress:
    """Return a node's first address of a family."""
    found = topology().node(node)
    nics = tuple(found.nics.values()) if isinstance(found, Host) else found.nics
    return next(a.ip for nic in nics for a in nic.addresses if a.version == family.version)


def filled_in(text: str) -> str:
    """Return nft text with the names of devices and the addresses in it."""
    for word, value in _words().items():
        text = text.replace(word, value)
    return text


@cache
def _words() -> dict[str, str]:
    host = topology().hosts["hv"]
    words = {f"{{{n}}}": names.network_bridge(host, network) for n, network in host.networks.items()}
    nodes: tuple[Vm | Machine, ...] = (*topology().vms.values(), *topology().machines.values())
    for node in nodes:
        words[f"{{{node.name}.port}}"] = names.port(node.name, "eth0")
        words[f"{{{node.name}.mac}}"] = node.nics[0].mac
    for name in (*topology().vms, *topology().machines, "hv"):
        words[f"{{{name}}}"] = str(address_of(name, Family("ipv4")))
        words[f"{{{name}.6}}"] = str(address_of(name, Family("ipv6")))
    return words
