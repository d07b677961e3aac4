"""What passes between machines of a vnetlab lab, beside the same devices made by hand (iperf3).

By hand means: the same bridges, pairs, addresses and routes by the floor's script, forwarding on, one rule
that masquerades, and nothing else: none of vnetlab's settings and rules. Both labs are up at once, and
each measurement of one is followed by that of the other, in turns which is first.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from benchmarks.builders import BuildFailedError
from benchmarks.job import job
from benchmarks.results import FLOOR, VNETLAB, Throughput
from vnetlab.compile import compile_topology
from vnetlab.lab import Lab
from vnetlab.state import NftChain, NftRule, NftTable, State, Sysctl
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnetlab.state import Namespace

    Enter = Callable[[str, list[str]], list[str]]

_TOPOLOGY = """\
segments: {lan: {subnets: [192.0.2.0/24]}}
hosts:
  hv1:
    nics: {eth0: {segment: lan, addresses: [192.0.2.10/24]}}
    networks:
      vault: {mode: isolated, subnets: [10.10.0.0/24]}
      dmz:   {mode: routed, uplink: eth0, subnets: [10.20.0.0/24]}
      home:  {mode: nat, uplink: eth0, subnets: [10.40.0.0/24]}
  hv2:
    nics: {eth0: {segment: lan, addresses: [192.0.2.11/24]}}
    networks: {office: {mode: bridge, uplink: eth0}}
    vms: {desk: office}
machines: {peer: {segment: lan, addresses: [192.0.2.99/24]}}
"""
_VMS = "    vms: {safe1: vault, safe2: vault, www: dmz, web: home}\n"
_WAYS = {
    "two VMs of a network": ("safe1", "safe2"),
    "bridge network to LAN": ("desk", "peer"),
    "routed network to LAN": ("www", "peer"),
    "NAT network to LAN": ("web", "peer"),
}
_SECONDS = "2"
_MASQUERADE = NftTable(
    "ip",
    "by-hand",
    (
        NftChain(
            "out",
            "type nat hook postrouting priority srcnat; policy accept;",
            (NftRule("ip saddr 10.40.0.0/24 oifname eth0 masquerade", "by hand"),),
        ),
    ),
)


def available() -> bool:
    """Tell whether iperf3 and what else this needs is there."""
    return os.geteuid() == 0 and all(shutil.which(tool) for tool in ("iperf3", "nsenter"))


def measure(rounds: int) -> Iterator[Throughput]:
    """Measure every way; raises BuildFailedError where iperf3 gives no result."""
    text = f"name: bench.{os.getpid()}\n" + _TOPOLOGY.replace("  hv2:\n", f"{_VMS}  hv2:\n")
    topology = Topology.parse(text, "datapath.yaml")
    state = compile_topology(topology)
    targets = {n.name: str(n.addresses[0].address.ip) for n in state.namespaces if n.addresses}
    with ExitStack() as labs:
        lab = labs.enter_context(Lab(topology))
        enters: dict[str, Enter] = {
            VNETLAB: lambda node, argv: lab[node].command(argv),
            FLOOR: labs.enter_context(_by_hand(state)),
        }
        for round_ in range(rounds):
            for way, (source, target) in _WAYS.items():
                for builder in (VNETLAB, FLOOR) if round_ % 2 == 0 else (FLOOR, VNETLAB):
                    ends = (enters[builder], source, target, targets[target])
                    bits = _flow(*ends, "-Z")["sum_received"]["bits_per_second"]
                    small = _flow(*ends, "-u", "-b0", "-l64")["sum"]
                    packets = (small["packets"] - small["lost_packets"]) / small["seconds"]
                    yield Throughput(way, builder, round_, bits, packets)


@contextmanager
def _by_hand(state: State) -> Iterator[Enter]:
    plain = State(tuple(_plain(space) for space in state.namespaces))
    numbers = {space.name: at for at, space in enumerate(plain.namespaces)}
    script = str(Path(__file__).with_name("floor.py"))
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(job(plain))
        file.flush()
        command = [sys.executable, "-I", "-S", script, file.name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout
            said = json.loads(process.stdout.readline())

            def enter(node: str, argv: list[str]) -> list[str]:
                return ["nsenter", f"--net=/proc/{process.pid}/fd/{said['spaces'][numbers[node]]}", *argv]

            yield enter  # leaving the block closes its standard input, and with it the lab


def _plain(space: Namespace) -> Namespace:
    router = space.kind == "host"
    return replace(
        space,
        sysctls=(Sysctl("net/ipv4/ip_forward", "1"),) if router else (),
        tables=(_MASQUERADE,) if router else (),
    )


def _flow(enter: Enter, source: str, target: str, address: str, *options: str) -> dict[str, dict[str, float]]:
    serve = enter(target, ["iperf3", "-s", "-1", "--forceflush"])
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            for line in server.stdout:
                if "listening" in line:
                    break
            send = enter(source, ["iperf3", "-c", address, "-t", _SECONDS, "-J", *options])
            done = subprocess.run(send, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BuildFailedError(f"iperf3 from {source} to {target}: {done.stdout}{done.stderr}")
            end: dict[str, dict[str, float]] = json.loads(done.stdout)["end"]
            return end
        finally:
            server.terminate()
