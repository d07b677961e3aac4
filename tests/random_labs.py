"""Topologies at random, of every mode and option, for hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from random import Random

Document = dict[str, Any]

MODES = ("bridge", "isolated", "routed", "host-only", "nat")
PRESENT = ("routed", "host-only", "nat")


@st.composite
def documents(draw: st.DrawFn, max_vms: int = 20, taps: bool = True) -> Document:
    """Return the elements of a valid topology file.

    Hypothesis draws the seed, and no more: left to draw each choice it prefers empty lists, and makes five
    variants of every topology by copying parts of it about.
    """
    return document(draw(st.randoms(use_true_random=True)), max_vms, taps=taps)


def document(random: Random, max_vms: int = 20, *, taps: bool = True) -> Document:
    """Return the elements of a valid topology file."""
    segments = {f"s{i}": _segment(random, i) for i in range(_rather_few(random, 1, 3))}
    hosts = {f"h{i}": _host(random, i, list(segments)) for i in range(_rather_few(random, 1, 3))}
    places = [random.randrange(len(hosts)) for _ in range(_rather_few(random, 0, max_vms))]
    for index, host in enumerate(hosts.values()):
        _add_vms(random, index, host, places.count(index), taps)
        for network in host["networks"].values():
            _add_options(random, host, network)
    return {
        "name": "random",
        "segments": segments,
        "hosts": hosts,
        "machines": _machines(random, list(segments)),
    }


def _one_in(random: Random, number: int) -> bool:
    return random.randrange(number) == 0


def _rather_few(random: Random, fewest: int, most: int) -> int:
    """Many small labs show more than few large ones: guarantees grow with the square of their sizes."""
    return min(random.randint(fewest, most) for _ in range(4))


def _families(random: Random) -> tuple[bool, bool]:
    return random.choice([(True, True), (True, False), (True, True), (False, True)])


def _some(random: Random, names: list[str], fewest: int, most: int) -> list[str]:
    return random.sample(names, min(random.randint(fewest, most), len(names)))


def _segment(random: Random, index: int) -> Document:
    four, six = _families(random)
    subnets = ([f"192.0.{index}.0/24"] if four else []) + ([f"2001:db8:{index + 1}::/64"] if six else [])
    segment: Document = {"subnets": subnets}
    if random.getrandbits(1):
        segment["mtu"] = random.choice([1280, 1400, 1500, 9000])
    return segment


def _host(random: Random, index: int, segments: list[str]) -> Document:
    chosen = [] if _one_in(random, 8) else _some(random, segments, 1, 2)
    nics = {f"eth{number}": segment for number, segment in enumerate(chosen)}
    networks: Document = {}
    for number in range(_rather_few(random, 1, 5)):
        mode = random.choice(MODES if nics else ("isolated", "host-only"))
        networks[f"n{number}"] = _network(random, mode, index, number, list(nics))
    return {"nics": nics, "networks": networks, "vms": {}}


def _network(random: Random, mode: str, host: int, number: int, nics: list[str]) -> Document:
    network: Document = {"mode": mode}
    if mode in ("bridge", "routed", "nat"):
        network["uplink"] = random.choice(nics)
    if mode != "bridge":
        network["subnets"] = _subnets(random, mode, host, number)
        if _one_in(random, 5):
            network["mac"] = f"02:00:5e:00:{host:02x}:{number:02x}"
        if _one_in(random, 5):
            network["mtu"] = random.choice([1280, 1400])
    if _one_in(random, 4):
        network["port_isolation"] = True
    if mode in PRESENT and _one_in(random, 4):
        network["deny"] = "drop"
    return network


def _subnets(random: Random, mode: str, host: int, number: int) -> list[str]:
    if mode == "isolated" and _one_in(random, 5):
        return []
    four, six = _families(random)
    # Private prefixes may be the same on every host; those of routed networks may not.
    place = host if mode == "routed" else 9
    own = mode != "isolated" and _one_in(random, 3)  # the host's own address, by the host bits
    return ([f"10.{place}.{number}.{'254' if own else '0'}/24"] if four else []) + (
        [f"fd00:{place}:{number}::{'fe' if own else ''}/64"] if six else []
    )


def _add_vms(random: Random, index: int, host: Document, count: int, taps: bool) -> None:
    names = list(host["networks"])
    for number in range(count):
        plugs = _some(random, names, 1, random.choice([1, 2]))
        if sum(host["networks"][plug]["mode"] == "bridge" for plug in plugs) > 1:
            plugs = plugs[:1]  # two NICs in one subnet
        vm: Document = {"networks": plugs}
        if taps and _one_in(random, 3):
            vm["backend"] = "tap"
        host["vms"][f"h{index}v{number}"] = vm


def _add_options(random: Random, host: Document, network: Document) -> None:
    if network["mode"] in PRESENT and _one_in(random, 3):
        others = [n for n, o in host["networks"].items() if o is not network and o["mode"] in PRESENT]
        if others:
            network["reach"] = _some(random, others, 1, 3)
    if network["mode"] != "nat":
        return
    name = next(n for n, o in host["networks"].items() if o is network)
    vms = [vm for vm, value in host["vms"].items() if name in value["networks"]]
    if vms and random.getrandbits(1):
        base = 1000 * (list(host["networks"]).index(name) + 1)
        network["forwards"] = [_forward(random, base + n, vms) for n in range(random.randint(1, 2))]


def _forward(random: Random, port: int, vms: list[str]) -> Document:
    forward = {"protocol": random.choice(["tcp", "udp"]), "port": port, "to": random.choice(vms)}
    return forward | random.choice([{"to_port": 80}, {"to_port": 443}, {}])


def _machines(random: Random, segments: list[str]) -> Document:
    machines: Document = {}
    for number in range(random.randint(0, 2)):
        machines[f"r{number}"] = {"segments": _some(random, segments, 1, 3), "router": True}
    for number in range(_rather_few(random, 0, 4)):
        machine: Document = {"segment": random.choice(segments)}
        if _one_in(random, 5):
            machine["routes"] = "none"
        machines[f"m{number}"] = machine
    return machines
