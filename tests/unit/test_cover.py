"""The greedy cover: whole, small, the same in every run; and companions that a choice needs."""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path

import pytest
from msgspec.structs import replace

from vnetlab.compile import compile_topology
from vnetlab.cover import cover, with_companions
from vnetlab.guarantees import Special
from vnetlab.modes import guarantees_for
from vnetlab.predict.matrix import predict
from vnetlab.topology.model import Topology

TOPOLOGIES = Path(__file__).parents[2] / "topologies"


@pytest.mark.parametrize(
    ("uses", "chosen"),
    [
        ([], ()),
        ([set()], ()),
        ([{1}, {1}], (0,)),
        ([{1}, {1, 2}], (1,)),
        ([{1, 2}, {3}, {1, 2, 3}], (2,)),
        ([{1}, {2}, {3}], (0, 1, 2)),
        ([{1, 2}, {2, 3}, {3, 4}], (0, 2)),
        ([{1, 2, 3}, {3, 4}, {4, 5}, {5}], (0, 2)),
    ],
)
def test_small_cases(uses: list[set[int]], chosen: tuple[int, ...]) -> None:
    assert cover(uses) == chosen


def test_every_cover_is_whole_and_within_its_bound() -> None:
    chance = random.Random(7)
    for _ in range(200):
        uses = [{chance.randrange(8) for _ in range(chance.randrange(1, 4))} for _ in range(9)]
        wanted = set().union(*uses)
        chosen = cover(uses)
        assert set().union(*(uses[n] for n in chosen)) == wanted
        smallest = next(
            size
            for size in range(1, 9)
            if any(set().union(*(uses[n] for n in some)) == wanted for some in combinations(range(9), size))
        )
        assert len(chosen) <= smallest * 1.84  # 1 + 1/2 + 1/3, for sets of three (Chvatal 1979)


def test_nothing_chosen_is_superfluous_in_a_real_suite() -> None:
    topology = Topology.load(TOPOLOGIES / "nat.yaml")
    guarantees = guarantees_for(topology)
    uses = [p.used for p in predict(topology, compile_topology(topology), guarantees)]
    chosen = cover(uses)
    assert frozenset().union(*(uses[n] for n in chosen)) == frozenset().union(*uses)
    assert len(chosen) * 10 < len(guarantees)
    assert cover(uses) == chosen


def test_senders_of_one_port_are_chosen_together() -> None:
    topology = Topology.load(TOPOLOGIES / "nat.yaml")
    guarantees = guarantees_for(topology)
    shared = [n for n, g in enumerate(guarantees) if g.flow.special is Special.SAME_PORT]
    assert shared
    found = with_companions(guarantees, shared[:1])
    assert {guarantees[n].source for n in found} == {guarantees[n].source for n in shared}
    plain = replace(guarantees[0])
    assert with_companions([plain], [0]) == (0,)
