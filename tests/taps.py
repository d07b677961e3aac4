"""What becomes of tap VMs where the tests may not open /dev/net/tun, which some machines keep for root."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from vnetlab import Topology

TOPOLOGIES = Path(__file__).parents[1] / "topologies"
DEVICE = Path("/dev/net/tun")
REFUSED = f"{DEVICE} cannot be opened here"
"""The reason that a skipped test gives; tests/skips.py expects such skips only where this is so."""


def may_open() -> bool:
    """Tell whether whoever runs this may make taps, by trying."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


OPEN = may_open()
needed = pytest.mark.skipif(not OPEN, reason=REFUSED)


def has_taps(text: str) -> bool:
    """Tell whether a topology file has tap VMs."""
    return "backend: tap" in text


def without(text: str) -> str:
    """Return a topology file with namespaces in the place of its tap VMs."""
    changed = re.sub(r",\s*backend: tap\b", "", text)
    assert not has_taps(changed), "write tap VMs as {networks: [...], backend: tap}"
    return changed


def as_possible(text: str) -> str:
    """Return a topology file as it is where taps can be made, and else without them."""
    return text if OPEN else without(text)


def delivered(name: str) -> Topology:
    """Return a topology that comes with vnetlab; where taps cannot be made, without them."""
    file = TOPOLOGIES / name
    text = file.read_text(encoding="utf-8")
    if OPEN or not has_taps(text):
        return Topology.load(file)
    return Topology.parse(without(text), name)
