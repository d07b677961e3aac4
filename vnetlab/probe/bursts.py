"""How many shots fly between two rounds of reading: as many as no receive buffer overflows of. Pure.

What arrives where is not known here, but a shot goes to the MAC or address that it names, its answer or
error to its sender, and one for a group to everybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.probe.columns import Numbers, Rows

WINDOW = 32_768
"""Shots at most: each takes a kilobyte of the kernel's memory until it is read."""


def bursts(rows: Rows, most: int) -> Iterator[slice]:
    """Yield slices of the shots, in which no sender has more than so many, and no receiver."""
    if not len(rows):
        return
    senders, receivers, groups = rows["station"].astype(np.int64), _receivers(rows), rows["mac"][:, 0] & 1
    start, size = 0, WINDOW
    while start < len(rows):
        part = slice(start, start + size)
        everybody = int(groups[part].sum())
        busiest = max(_most(senders[part]), _most(receivers[part])) + everybody
        if busiest > most and size > 1:
            size = max(1, size // 2)
            continue
        yield slice(start, min(start + size, len(rows)))
        start, size = start + size, min(WINDOW, size * 4)


def _receivers(rows: Rows) -> Numbers:
    """Return a number for each MAC, or for the address where a shot names no MAC."""
    named = rows["mac_size"] > 0
    ends = np.where(named[:, None], np.pad(rows["mac"], ((0, 0), (0, 2))), rows["destination"][:, 8:])
    keys = np.ascontiguousarray(ends).view(np.uint64)[:, 0] ^ np.where(
        named, 0, np.ascontiguousarray(rows["destination"][:, :8]).view(np.uint64)[:, 0]
    )
    numbers: Numbers = np.unique(keys, return_inverse=True)[1]
    return numbers


def _most(numbers: Numbers) -> int:
    return int(np.bincount(numbers - numbers.min()).max())
