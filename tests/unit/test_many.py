"""Guarantees kept as patterns are the guarantees that each pair would get by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from many_labs import random_documents

from vnetlab.guarantees import FLOW_KINDS, kind_of
from vnetlab.many import Guarantees
from vnetlab.modes import PROPERTIES, guarantees_for
from vnetlab.modes.mesh import mesh
from vnetlab.modes.pairs import promises_of_pair
from vnetlab.modes.world import World
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from vnetlab.guarantees import Guarantee

FILES = sorted(Path(__file__).parents[2].glob("topologies/*.yaml"))
TWINS = """
segments: {lan: {subnets: [192.0.2.0/24]}}
hosts:
  hv1: &host
    nics: {eth0: lan}
    networks: {cell: {mode: isolated, subnets: [10.1.0.0/24]}, home: {mode: nat, subnets: [10.2.0.0/24]}}
    vms: {a: cell, b: cell, c: home, d: home, e: {networks: [home, cell]}}
  hv2:
    nics: {eth0: lan}
    networks: {cell: {mode: routed, subnets: [10.1.0.0/24]}, home: {mode: host-only, subnets: [10.2.0.0/24]}}
    vms: {f: cell, g: cell, h: cell, i: home, j: home, k: home}
machines: {peer: lan, other: lan}
"""


def pair_by_pair(topology: Topology) -> list[Guarantee]:
    """Derive the promises of every pair by themselves."""
    world = World(topology, PROPERTIES)
    nodes = tuple(world.interfaces)
    return [
        g for one in nodes for other in nodes if one != other for g in promises_of_pair(world, one, other)
    ]


def check(topology: Topology) -> None:
    expected = pair_by_pair(topology)
    found = mesh(World(topology, PROPERTIES), lambda _: True)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == other


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_pair_of_a_file_gets_its_own_promises(file: Path) -> None:
    check(Topology.load(file))


@pytest.mark.parametrize("seed", range(4))
def test_every_pair_of_random_labs_gets_its_own_promises(seed: int) -> None:
    for document in random_documents(15, seed):
        check(Topology.of(**document))


def test_networks_of_one_subnet_are_told_apart() -> None:
    check(Topology.parse(TWINS, "twins.yaml"))


def test_flows_are_chosen_by_kind() -> None:
    topology = Topology.load(FILES[0])
    every = guarantees_for(topology)
    by_kind = {kind: len(guarantees_for(topology, (kind,))) for kind in FLOW_KINDS}
    assert sum(by_kind.values()) == len(every)
    assert {kind_of(g.flow) for g in guarantees_for(topology, ("tcp", "udp-one-way"))} == {
        "tcp",
        "udp-one-way",
    }


def test_guarantees_of_a_tuple_are_themselves() -> None:
    every = tuple(guarantees_for(Topology.load(FILES[0])))
    again = Guarantees.of(every)
    assert tuple(again) == every
    assert tuple(again[3:9]) == every[3:9]
    assert tuple(again + every[:2]) == (*every, *every[:2])
