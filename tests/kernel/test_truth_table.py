"""The truth table, cell by cell, as users read it: who reaches whom in the five modes.

The lab has a network in each mode, two of those whose mode has a row "other network of the same mode", a
machine on the LAN and one behind a router. The verdicts come from packets; the table here is written down
by hand from the specification and shares nothing with the code that derives guarantees.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import pytest

from vnetlab import Lab, Topology
from vnetlab.guarantees import Outcome, Protocol, Special, Verdict, VerdictKind

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = """
name: truth
segments:
  lan: {subnets: [192.0.2.0/24, "2001:db8:1::/64"]}
  far: {subnets: [198.51.100.0/24, "2001:db8:2::/64"]}
hosts:
  hv:
    nics: {eth0: {segment: lan, addresses: [192.0.2.10/24, "2001:db8:1::10/64"]}}
    networks:
      bridge1: {mode: bridge, uplink: eth0}
      bridge2: {mode: bridge, uplink: eth0}
      isolated1: {mode: isolated, subnets: [10.11.0.0/24, "fd00:11::/64"]}
      isolated2: {mode: isolated, subnets: [10.12.0.0/24, "fd00:12::/64"]}
      routed1: {mode: routed, uplink: eth0, subnets: [10.21.0.0/24, "fd00:21::/64"]}
      routed2: {mode: routed, uplink: eth0, subnets: [10.22.0.0/24, "fd00:22::/64"]}
      hostonly1: {mode: host-only, subnets: [10.31.0.0/24, "fd00:31::/64"]}
      hostonly2: {mode: host-only, subnets: [10.32.0.0/24, "fd00:32::/64"]}
      nat1: {mode: nat, uplink: eth0, subnets: [10.41.0.0/24, "fd00:41::/64"]}
      nat2: {mode: nat, uplink: eth0, subnets: [10.42.0.0/24, "fd00:42::/64"]}
    vms:
      bridge-a: bridge1
      bridge-b: bridge1
      bridge-c: bridge2
      isolated-a: isolated1
      isolated-b: isolated1
      isolated-c: isolated2
      routed-a: routed1
      routed-b: routed1
      routed-c: routed2
      hostonly-a: hostonly1
      hostonly-b: hostonly1
      hostonly-c: hostonly2
      nat-a: nat1
      nat-b: nat1
      nat-c: nat2
machines:
  peer: lan
  gw: {segments: [lan, far], router: true}
  remote: far
"""

YES, NO, REJECTED, SILENT = "yes", "no", "rejected", "silent"


@dataclass(frozen=True)
class Cell:
    source: str
    destination: str
    answer: str
    on: str = ""
    """Where the destination is a host: the network or NIC whose address is asked for."""
    ttl: int = 0
    translated: bool = False

    def __str__(self) -> str:
        return f"{self.source}-to-{self.destination}{'-on-' + self.on if self.on else ''}-{self.answer}"


TABLE = (
    # VM, same network: yes, L2, in every mode
    *(Cell(f"{m}-a", f"{m}-b", YES, ttl=64) for m in ("bridge", "isolated", "routed", "hostonly", "nat")),
    # VM, other network of the same mode, same host
    Cell("bridge-a", "bridge-c", YES, ttl=64),
    Cell("isolated-a", "isolated-c", SILENT),
    Cell("routed-a", "routed-c", YES, ttl=63),
    Cell("hostonly-a", "hostonly-c", REJECTED),
    Cell("nat-a", "nat-c", REJECTED),
    # VM, network of another mode, same host
    Cell("bridge-a", "routed-a", YES, ttl=63),
    Cell("bridge-a", "isolated-a", SILENT),
    Cell("bridge-a", "hostonly-a", SILENT),
    Cell("bridge-a", "nat-a", SILENT),
    *(Cell("isolated-a", f"{m}-a", SILENT) for m in ("bridge", "routed", "hostonly", "nat")),
    Cell("routed-a", "bridge-a", YES, ttl=63),
    *(Cell("routed-a", f"{m}-a", REJECTED) for m in ("isolated", "hostonly", "nat")),
    *(Cell("hostonly-a", f"{m}-a", REJECTED) for m in ("bridge", "isolated", "routed", "nat")),
    Cell("nat-a", "bridge-a", YES, ttl=63, translated=True),
    *(Cell("nat-a", f"{m}-a", REJECTED) for m in ("isolated", "routed", "hostonly")),
    # its network's host address
    Cell("bridge-a", "hv", YES, on="eth0"),
    Cell("routed-a", "hv", YES, on="routed1"),
    Cell("hostonly-a", "hv", YES, on="hostonly1"),
    Cell("nat-a", "hv", YES, on="nat1"),
    # the host's LAN addresses and those on its routed networks
    Cell("bridge-a", "hv", YES, on="routed1"),
    Cell("isolated-a", "hv", SILENT, on="eth0"),
    Cell("isolated-a", "hv", SILENT, on="routed1"),
    Cell("routed-a", "hv", YES, on="eth0"),
    Cell("routed-a", "hv", YES, on="routed2"),
    Cell("hostonly-a", "hv", REJECTED, on="eth0"),
    Cell("hostonly-a", "hv", REJECTED, on="routed1"),
    Cell("nat-a", "hv", YES, on="eth0"),
    Cell("nat-a", "hv", YES, on="routed1"),
    # the host's addresses on any other private network
    *(Cell("bridge-a", "hv", SILENT, on=n) for n in ("hostonly1", "nat1")),
    *(Cell("isolated-a", "hv", SILENT, on=n) for n in ("hostonly1", "nat1")),
    *(Cell("routed-a", "hv", REJECTED, on=n) for n in ("hostonly1", "nat1")),
    *(Cell("hostonly-a", "hv", REJECTED, on=n) for n in ("hostonly2", "nat1")),
    *(Cell("nat-a", "hv", REJECTED, on=n) for n in ("hostonly1", "nat2")),
    # LAN machine; machine beyond a router
    Cell("bridge-a", "peer", YES, ttl=64),
    Cell("isolated-a", "peer", SILENT),
    Cell("routed-a", "peer", YES, ttl=63),
    Cell("hostonly-a", "peer", REJECTED),
    Cell("nat-a", "peer", YES, ttl=63, translated=True),
    Cell("bridge-a", "remote", YES, ttl=63),
    Cell("isolated-a", "remote", SILENT),
    Cell("routed-a", "remote", YES, ttl=62),
    Cell("hostonly-a", "remote", REJECTED),
    Cell("nat-a", "remote", YES, ttl=62, translated=True),
    # the host itself, to the VM
    Cell("hv", "bridge-a", YES, ttl=64),
    Cell("hv", "isolated-a", NO),  # by its own routes the router refuses, straight at the bridge: silence
    *(Cell("hv", f"{m}-a", YES, ttl=64) for m in ("routed", "hostonly", "nat")),
    # LAN machine, even with a static route through the host
    Cell("peer", "bridge-a", YES, ttl=64),
    Cell("peer", "isolated-a", SILENT),
    Cell("peer", "routed-a", YES, ttl=63),
    Cell("peer", "hostonly-a", SILENT),
    Cell("peer", "nat-a", SILENT),
    # machine beyond a router
    Cell("remote", "bridge-a", YES, ttl=63),
    Cell("remote", "isolated-a", NO),
    Cell("remote", "routed-a", YES, ttl=62),
    Cell("remote", "hostonly-a", NO),
    Cell("remote", "nat-a", NO),
    # a LAN machine and the host's addresses
    Cell("peer", "hv", YES, on="eth0"),
    Cell("peer", "hv", YES, on="routed1"),
    Cell("peer", "hv", SILENT, on="hostonly1"),
    Cell("peer", "hv", SILENT, on="nat1"),
)


BESIDE = (
    "host-absent",
    "source-edge",
    "source-edge-outward",
    "alien-source-edge",
    "source-port",
    "host-own-source",
    "host-address-outward",
)
"""Promises of single addresses and ports at edges, which are no cells of the table."""


@lru_cache(maxsize=1)
def _verdicts() -> tuple[Topology, Sequence[Verdict]]:
    topology = Topology.parse(TEXT, "truth.yaml")
    with Lab(topology, f"truth.{os.getpid()}") as lab:
        return topology, tuple(lab.probe())  # made once: every cell looks through all of them


def _addresses(topology: Topology, cell: Cell) -> set[str]:
    if cell.destination != "hv":
        node = topology.vms.get(cell.destination) or topology.machines[cell.destination]
        return {str(a.ip) for nic in node.nics for a in nic.addresses}
    host = topology.hosts["hv"]
    side = host.nics[cell.on] if cell.on in host.nics else host.networks[cell.on]
    return {str(a.ip) for a in side.addresses}


def _of_cell(cell: Cell) -> list[Verdict]:
    topology, verdicts = _verdicts()
    addresses = _addresses(topology, cell)
    return [
        v
        for v in verdicts
        if (v.guarantee.source, v.guarantee.destination) == (cell.source, cell.destination)
        and str(v.guarantee.flow.destination_address) in addresses
        and v.guarantee.flow.special in (Special.NONE, Special.CRAFTED)
        and v.guarantee.flow.protocol is not Protocol.RESOLUTION
        and not v.guarantee.id.startswith(("node.", "link."))
        and v.guarantee.id.partition(".")[2] not in BESIDE
    ]


@pytest.mark.kernel
@pytest.mark.parametrize("cell", TABLE, ids=str)
def test_cell(cell: Cell) -> None:
    verdicts = _of_cell(cell)
    flows = {(v.guarantee.flow.family, v.guarantee.flow.protocol, v.guarantee.flow.answer) for v in verdicts}
    assert len(flows) == 8, "echo, TCP, UDP with and without answer, in both families"
    wanted = {
        YES: {Outcome.DELIVERED},
        NO: {Outcome.REJECTED, Outcome.SILENT},
        REJECTED: {Outcome.REJECTED},
        SILENT: {Outcome.SILENT},
    }[cell.answer]
    assert {v.observed for v in verdicts} <= wanted
    assert {v.kind for v in verdicts} == {VerdictKind.HOLDS}


@pytest.mark.kernel
@pytest.mark.parametrize("cell", [c for c in TABLE if c.ttl], ids=str)
def test_what_the_receiver_sees(cell: Cell) -> None:
    topology, _ = _verdicts()
    lan = {str(a.ip) for a in topology.hosts["hv"].nics["eth0"].addresses}
    for verdict in _of_cell(cell):
        seen = verdict.guarantee.seen
        assert seen is not None
        assert seen.ttl == cell.ttl
        assert (str(seen.source_address) in lan) == (
            cell.translated or (cell.source, cell.destination) == ("hv", "bridge-a")
        )
