"""What `doctor` finds: one Check for each thing looked at, and what follows from all of them. Pure."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

LAB_SIZES = (100, 1_000, 10_000)
"""Machines (hosts, VMs and machines together) that the limits are judged for."""


class Area(StrEnum):
    """What a check is about, in the order of the table."""

    PRIVILEGES = "privileges"
    MODES = "modes"
    KERNEL = "kernel"
    LIBRARIES = "libraries"
    LIMITS = "limits"
    INTERFERENCE = "interference"
    VIRTUALIZATION = "virtualization"


class State(StrEnum):
    """What a check came to."""

    OK = "ok"
    LIMITED = "limited"
    """Labs run, and something may be in the way of some of them."""
    MISSING = "missing"
    """No lab, or not every mode, without it."""
    ABSENT = "absent"
    """Not here, and no mode needs it."""
    UNKNOWN = "unknown"
    """It could not be looked at."""


class Check(Struct, frozen=True):
    """One thing that was looked at."""

    area: Area
    name: str
    state: State
    finding: str
    """What was tried or read, and the answer."""
    remedy: str = ""
    """What to do about it; empty where there is nothing to do."""
    sizes: tuple[int, ...] | None = None
    """Of a limit that every lab needs: the sizes of labs, of LAB_SIZES, that it lets through."""


class Size(Struct, frozen=True):
    """Whether labs of a size fit, and which limits are in the way."""

    machines: int
    limited_by: tuple[str, ...]


def sizes(checks: tuple[Check, ...]) -> tuple[Size, ...]:
    """Return each lab size with the limits that are too small for it."""
    limits = [check for check in checks if check.sizes is not None]
    return tuple(
        Size(machines, tuple(c.name for c in limits if c.sizes is not None and machines not in c.sizes))
        for machines in LAB_SIZES
    )


def exit_code(checks: tuple[Check, ...]) -> int:
    """Return 0 where labs of all five modes can run, 3 where something that they need is missing."""
    return 3 if any(check.state is State.MISSING for check in checks) else 0
