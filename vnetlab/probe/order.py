"""In which order shots are sent: block by block, and in each block the questions first. Pure.

A kernel that answers has to resolve who asked, and all kernels together remember few neighbours
(see `neighbours`). So what two nodes have to do with each other is sent in one block, both ways, and between
blocks the nodes of a block forget each other. The pairs of a block are those between two dozen nodes at most,
since whoever takes part has to forget. What makes nobody resolve anybody goes first, all of it at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vnetlab.probe.flight import Block, Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vnetlab.probe.columns import Numbers, Rows

PAIRS_PER_BLOCK = 150
"""Each pair makes two neighbour entries: two blocks at once, of labs side by side, still fit the
table.
"""
TILE = 12
"""Nodes on a side of a block: its square is the number of pairs."""
PER_SENDER = 112
"""Shots of a sender before the next one's turn: as many packets fit every receive buffer, with room for a few
that its node has beside those of pairs (`sending.CHUNK`).
"""


def in_blocks(
    rows: Rows, source: Numbers, destination: Numbers, free: NDArray[np.bool_], names: tuple[str, ...]
) -> tuple[Block, ...]:
    """Return every shot in exactly one block.

    ``source`` and ``destination`` are numbers of names, and below 0 for controls, which belong to no
    guarantee and come behind all pairs; ``free`` tells which shots make nobody resolve anybody. Router
    advertisements have a block of their own at the end, lest they change how others are sent.
    """
    control, advertises = source < 0, rows["kind"] == Kind.RA
    paired = ~control & ~advertises & ~free
    at_once = np.flatnonzero(free & ~control & ~advertises)
    tiles = destination[at_once] // _receivers(source[at_once], destination[at_once])
    at_once = at_once[np.lexsort([at_once, source[at_once], tiles])]
    blocks = [Block(tuple(at_once.tolist()), ())]
    blocks += _pairs(np.flatnonzero(paired), rows["kind"], source, destination, names)
    rest = [Block(tuple(np.flatnonzero(of).tolist()), ()) for of in (control, advertises & ~control)]
    return tuple(block for block in (*blocks, *rest) if block.shots)


def _receivers(source: Numbers, destination: Numbers) -> int:
    """Return how many nodes a sender sends to at a time, by how many shots a pair has."""
    if not len(source):
        return PER_SENDER
    keys = source.astype(np.int64) * (int(destination.max()) + 1) + destination
    pairs = np.count_nonzero(np.bincount(keys))  # a tenth of what sorting them takes
    return max(1, PER_SENDER * int(pairs) // len(source))


def _pairs(
    numbers: Numbers, kinds: NDArray[np.uint8], source: Numbers, destination: Numbers, names: tuple[str, ...]
) -> list[Block]:
    if not len(numbers):
        return []
    low = np.minimum(source[numbers], destination[numbers])
    high = np.maximum(source[numbers], destination[numbers])
    nodes, dense = np.unique(np.concatenate([low, high]), return_inverse=True)
    low, high = np.split(dense, 2)
    size = len(nodes)
    tiles = (low // TILE) * (size // TILE + 1) + high // TILE
    first = np.unique(low * size + high, return_index=True)[1]
    keys, counts = np.unique(tiles[first], return_counts=True)
    block = _packed(counts)[np.searchsorted(keys, tiles)]
    asks = np.isin(kinds[numbers], (Kind.ARP, Kind.NS))
    order = np.lexsort([numbers, ~asks, block])
    found = []
    for part in np.split(order, np.flatnonzero(np.diff(block[order])) + 1):
        ends = np.unique(np.concatenate([low[part], high[part]]))
        stations = tuple(names[number] for number in nodes[ends].tolist())
        found.append(Block(tuple(numbers[part].tolist()), stations))
    return found


def _packed(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the block that each tile goes into: as many in one as it holds pairs."""
    found, block, held = [], 0, 0
    for count in counts.tolist():
        if held and held + count > PAIRS_PER_BLOCK:
            block, held = block + 1, 0
        held += count
        found.append(block)
    return np.array(found)
