"""Promise and model of a whole topology, beside each other. Pure: no root, no kernel.

Either every guarantee by itself, or those of a miniature with how many each stands for: the cost of that
grows with the kinds of endpoint, and a lab of a thousand VMs takes no longer than its twenty networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab import garbage
from vnetlab.compile import compile_topology
from vnetlab.modes import guarantees_for
from vnetlab.predict.matrix import predict, predict_each
from vnetlab.predict.miniature import counted, miniature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vnetlab.guarantees import Guarantee
    from vnetlab.predict.groups import Groups
    from vnetlab.predict.journey import Prediction
    from vnetlab.state import State
    from vnetlab.topology.model import Topology


class Forecast(Struct, frozen=True):
    """Guarantees, the model's answer to each, and how many of its kind each stands for."""

    topology: Topology
    guarantees: Sequence[Guarantee]
    predictions: Sequence[Prediction]
    counts: tuple[int, ...]
    groups: Groups
    """Nodes of equal treatment; of those left out in the guarantees, the first ones of a group tell."""


def forecast(topology: Topology, *, every_pair: bool) -> Forecast:
    """Ask the model about every pair of nodes, or about one pair for each pair of their groups."""
    with garbage.paused():
        return _forecast(topology, compile_topology(topology), every_pair=every_pair)


def _forecast(topology: Topology, state: State, *, every_pair: bool) -> Forecast:
    small = miniature(topology, state)
    if every_pair:
        guarantees = guarantees_for(topology)
        found = predict(topology, state, guarantees, exercising=False)
        return Forecast(topology, guarantees, found, (1,) * len(guarantees), small.groups)
    derived = guarantees_for(small.topology)
    counts = counted(small, derived)
    asked = derived.chosen(counts > 0)
    predictions = predict_each(small.topology, small.state, asked)
    return Forecast(topology, asked, predictions, tuple(counts[counts > 0].tolist()), small.groups)
