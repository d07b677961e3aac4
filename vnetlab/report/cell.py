"""One cell of a matrix: what became of all flows of a pair, in one symbol."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from vnetlab.guarantees import Outcome, Protocol, Special

if TYPE_CHECKING:
    from vnetlab.guarantees import Guarantee

REACHED = (Outcome.DELIVERED, Outcome.REFUSED)


class Cell(Enum):
    """What became of all flows of a pair: symbol, style of rich, and what the legend says."""

    BOTH = ("●", "green", "delivered, both ways")
    OUT = ("→", "cyan", "delivered, this way only")
    PART = ("◐", "blue", "some flows delivered")
    REJECTED = ("x", "yellow", "rejected by an ICMP error")
    SILENT = ("·", "bright_black", "silent: nothing arrived")
    BROKEN = ("!", "bold white on red", "a guarantee is broken")
    INCONCLUSIVE = ("?", "bold black on yellow", "inconclusive")
    UNAVAILABLE = ("~", "magenta", "not probed here")
    NONE = (" ", "", "no guarantee")

    @property
    def symbol(self) -> str:
        """One character."""
        return self.value[0]

    @property
    def style(self) -> str:
        """Style of rich."""
        return self.value[1]

    @property
    def meaning(self) -> str:
        """What the legend says."""
        return self.value[2]


def is_plain(guarantee: Guarantee) -> bool:
    """Tell unicast flows from one node to another, its tricks included, from what tests a link or a way.

    A trick that no network's promise covers asks a host for a way between two LANs.
    """
    flow = guarantee.flow
    trick = flow.special is Special.CRAFTED and bool(guarantee.network)
    return (flow.special is Special.NONE or trick) and flow.protocol is not Protocol.RESOLUTION
