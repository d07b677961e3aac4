"""How many machines can be judged: promises are about pairs, so their number grows with the square."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vnetlab.errors import UserError

if TYPE_CHECKING:
    from vnetlab.topology.model import Topology

MAX_NODES: Final = 1_200
"""Measured: 1,000 machines of one network make a million guarantees of each kind of flow, in 0.9 GB."""


def check_pairs(topology: Topology) -> None:
    """Raise UserError where the guarantees of a topology cannot all be held in memory."""
    count = sum(1 for _ in topology.nodes())
    if count > MAX_NODES:
        raise UserError(
            f"lab {topology.name} has {count:,} hosts, VMs and machines, and the guarantees of at most "
            f"{MAX_NODES:,} can be judged at once, as they are about pairs; "
            "judge a smaller lab of the same kind (`plan`, `up` and `exec` take this one)"
        )
