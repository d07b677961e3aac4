"""Topologies at random, of every mode and option, for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Document = dict[str, Any]

MODES = ("nat", "routed", "bridge", "host-only", "isolated")
PRESENT = ("routed", "host-only", "nat")


@st.composite
def documents(draw: st.DrawFn, max_vms: int = 20, taps: bool = True) -> Document:
    """Return the elements of a valid topology file."""
    segments = {f"s{i}": _segment(draw, i) for i in range(draw(st.sampled_from([2, 3, 1])))}
    hosts = {f"h{i}": _host(draw, i, list(segments)) for i in range(draw(st.sampled_from([2, 3, 1])))}
    counts = _vm_counts(draw, max_vms, len(hosts))
    for index, host in enumerate(hosts.values()):
        _add_vms(draw, index, host, counts[index], taps)
        for network in host["networks"].values():
            _add_options(draw, host, network)
    return {
        "name": "random",
        "segments": segments,
        "hosts": hosts,
        "machines": _machines(draw, list(segments)),
    }


def _vm_counts(draw: st.DrawFn, most: int, hosts: int) -> list[int]:
    """Return how many VMs each host has; left to itself, hypothesis has a taste for none at all."""
    total = draw(st.sampled_from([*range(most // 4, most + 1), *range(most // 4)]))
    places = [draw(st.integers(0, hosts - 1)) for _ in range(total)]
    return [places.count(host) for host in range(hosts)]


def _families(draw: st.DrawFn) -> tuple[bool, bool]:
    return draw(st.sampled_from([(True, True), (True, False), (True, True), (False, True)]))


def _segment(draw: st.DrawFn, index: int) -> Document:
    four, six = _families(draw)
    subnets = ([f"192.0.{index}.0/24"] if four else []) + ([f"2001:db8:{index + 1}::/64"] if six else [])
    segment: Document = {"subnets": subnets}
    if draw(st.booleans()):
        segment["mtu"] = draw(st.sampled_from([1280, 1400, 1500, 9000]))
    return segment


def _host(draw: st.DrawFn, index: int, segments: list[str]) -> Document:
    fewest = draw(st.sampled_from([1, 1, 1, 0]))
    chosen = draw(st.lists(st.sampled_from(segments), unique=True, min_size=fewest, max_size=2))
    nics = {f"eth{number}": segment for number, segment in enumerate(chosen)}
    networks: Document = {}
    for number in range(draw(st.sampled_from([2, 3, 4, 5, 1]))):
        mode = draw(st.sampled_from(MODES if nics else ("isolated", "host-only")))
        networks[f"n{number}"] = _network(draw, mode, index, number, list(nics))
    return {"nics": nics, "networks": networks, "vms": {}}


def _network(draw: st.DrawFn, mode: str, host: int, number: int, nics: list[str]) -> Document:
    network: Document = {"mode": mode}
    if mode in ("bridge", "routed", "nat"):
        network["uplink"] = draw(st.sampled_from(nics))
    if mode != "bridge":
        four, six = _families(draw)
        # Private prefixes may be the same on every host; those of routed networks may not.
        place = host if mode == "routed" else 9
        chosen = draw(st.sampled_from([("0", ""), ("0", ""), ("254", "fe")]))
        own, own6 = ("0", "") if mode == "isolated" else chosen  # it has no address of the host
        network["subnets"] = ([f"10.{place}.{number}.{own}/24"] if four else []) + (
            [f"fd00:{place}:{number}::{own6}/64"] if six else []
        )
        if mode == "isolated" and draw(st.integers(0, 4)) == 4:
            network["subnets"] = []
        if draw(st.integers(0, 4)) == 4:
            network["mac"] = f"02:00:5e:00:{host:02x}:{number:02x}"
        if draw(st.integers(0, 4)) == 0:
            network["mtu"] = draw(st.sampled_from([1280, 1400]))
    if draw(st.integers(0, 3)) == 0:
        network["port_isolation"] = True
    if mode in PRESENT and draw(st.integers(0, 3)) == 0:
        network["deny"] = "drop"
    return network


def _add_vms(draw: st.DrawFn, index: int, host: Document, count: int, taps: bool) -> None:
    names = list(host["networks"])
    for number in range(count):
        plugs = draw(st.lists(st.sampled_from(names), unique=True, min_size=1, max_size=2))
        if sum(host["networks"][plug]["mode"] == "bridge" for plug in plugs) > 1:
            plugs = plugs[:1]  # two NICs in one subnet
        vm: Document = {"networks": plugs}
        if taps and draw(st.integers(0, 3)) == 0:
            vm["backend"] = "tap"
        host["vms"][f"h{index}v{number}"] = vm


def _add_options(draw: st.DrawFn, host: Document, network: Document) -> None:
    if network["mode"] in PRESENT and draw(st.integers(0, 3)) == 0:
        others = [n for n, o in host["networks"].items() if o is not network and o["mode"] in PRESENT]
        if others:
            network["reach"] = draw(st.lists(st.sampled_from(others), unique=True, min_size=1))
    if network["mode"] != "nat":
        return
    name = next(n for n, o in host["networks"].items() if o is network)
    vms = [vm for vm, value in host["vms"].items() if name in value["networks"]]
    if vms and draw(st.integers(0, 2)):
        base = 1000 * (list(host["networks"]).index(name) + 1)
        network["forwards"] = [
            {
                "protocol": draw(st.sampled_from(["tcp", "udp"])),
                "port": base + number,
                "to": draw(st.sampled_from(vms)),
                **({} if (to_port := draw(st.sampled_from([80, 443, 0]))) == 0 else {"to_port": to_port}),
            }
            for number in range(draw(st.integers(1, 2)))
        ]


def _machines(draw: st.DrawFn, segments: list[str]) -> Document:
    machines: Document = {}
    for number in range(draw(st.integers(0, 2))):
        joined = draw(st.lists(st.sampled_from(segments), unique=True, min_size=1, max_size=3))
        machines[f"r{number}"] = {"segments": joined, "router": True}
    for number in range(draw(st.integers(0, 4))):
        machine: Document = {"segment": draw(st.sampled_from(segments))}
        if draw(st.integers(0, 4)) == 0:
            machine["routes"] = "none"
        machines[f"m{number}"] = machine
    return machines
