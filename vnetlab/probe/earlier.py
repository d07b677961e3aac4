"""What conntrack remembers of the flows of a flight from another flight before it.

A probe of a lab that is up sends what the one before it sent. A kernel that remembers such a flow passes and
translates it as then, without asking its rules again: they would not be counted, nor judged as they are now.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from vnetlab.probe.columns import ADDRESS
from vnetlab.probe.flight import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vnetlab.plan.flows import Flow
    from vnetlab.probe.columns import Rows, Shots

_KEY = np.dtype([("source", "u1", ADDRESS), ("destination", "u1", ADDRESS), ("ports", "<u2", 2)])
_WEIGHTS = np.random.default_rng(20).integers(1, 1 << 63, _KEY.itemsize // 4, np.uint64) | np.uint64(1)
_PORTLESS = (Kind.ICMP,)


class SentBefore:
    """Tells the flows that have the addresses and ports of a flight's shots."""

    def __init__(self, shots: Shots) -> None:
        self._rows = shots.rows

    def covers(self, flow: Flow) -> bool:
        """Tell whether a shot of the flight belongs to the flow; any source will do for a kernel's choice."""
        key = np.zeros(1, _KEY)
        for name, address in (("source", flow.source), ("destination", flow.destination)):
            packed = address.packed
            key[name][0, : len(packed)] = np.frombuffer(packed, np.uint8)
        key["ports"][0] = flow.source_port, flow.destination_port
        found = int(_hashed(key)[0]) in self._hashes
        key["source"] = 0
        return found or int(_hashed(key)[0]) in self._hashes

    @cached_property
    def _hashes(self) -> frozenset[int]:
        return frozenset(_hashed(_keys(self._rows)).tolist())


def _keys(rows: Rows) -> Rows:
    keys = np.zeros(len(rows), _KEY)
    for name in ("source", "destination"):
        keys[name] = rows[name]
    ports = np.stack([rows["source_port"], rows["destination_port"]], axis=1)
    ports[np.isin(rows["kind"], _PORTLESS)] = 0
    keys["ports"] = ports
    return keys


def _hashed(keys: Rows) -> NDArray[np.uint64]:
    """Return a number of 64 bits for each key; two that share one forget a flow too many."""
    words = keys.view("<u4").reshape(len(keys), len(_WEIGHTS))
    found = np.zeros(len(keys), np.uint64)
    for column, weight in enumerate(_WEIGHTS):
        found += words[:, column].astype(np.uint64) * weight
    return found
