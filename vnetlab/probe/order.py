"""In which order shots are sent: block by block, and in each block the questions first.

A kernel that answers has to resolve who asked, and all kernels together remember few neighbours
(see `neighbours`). So what two nodes have to do with each other is sent in one block, both ways,
and between blocks the nodes of a block forget each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vnetlab.probe.flight import Block, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnetlab.guarantees import Guarantee
    from vnetlab.probe.flight import Shot

PAIRS_PER_BLOCK = 150
"""Each pair makes two neighbour entries: two blocks at once, of labs side by side, still fit the
table.
"""


@dataclass(slots=True)
class _Draft:
    """A block in the making; dicts keep the order of the guarantees."""

    shots: dict[int, None]
    nodes: dict[str, None]


def in_blocks(guarantees: Iterable[Guarantee], shot_of: list[int], shots: list[Shot]) -> tuple[Block, ...]:
    """Return every shot in exactly one block; controls, which belong to no guarantee, in the last.

    Router advertisements have a block of their own at the end, lest they change how others are
    sent.
    """
    pairs: dict[tuple[str, str], _Draft] = {}
    placed: set[int] = set()
    advertisers: dict[int, None] = {}
    for guarantee, number in zip(guarantees, shot_of, strict=True):
        if number in placed:
            continue
        placed.add(number)
        if shots[number].kind is Kind.RA:
            advertisers[number] = None
            continue
        ends = (guarantee.source, guarantee.destination)
        pair = ends if ends[0] < ends[1] else (ends[1], ends[0])
        draft = pairs.setdefault(pair, _Draft({}, {}))
        draft.shots[number] = None
        draft.nodes |= dict.fromkeys(pair)
    drafts = list(pairs.values())
    blocks = [
        _block(drafts[start : start + PAIRS_PER_BLOCK], shots)
        for start in range(0, len(drafts), PAIRS_PER_BLOCK)
    ]
    controls = [number for number in range(len(shots)) if number not in placed]
    blocks += [Block(tuple(rest), ()) for rest in (controls, list(advertisers)) if rest]
    return tuple(blocks)


def _block(drafts: list[_Draft], shots: list[Shot]) -> Block:
    numbers = [number for draft in drafts for number in draft.shots]
    questions = [n for n in numbers if shots[n].kind in (Kind.ARP, Kind.NS)]
    others = [n for n in numbers if shots[n].kind not in (Kind.ARP, Kind.NS)]
    nodes = {node: None for draft in drafts for node in draft.nodes}
    return Block((*questions, *others), tuple(nodes))
