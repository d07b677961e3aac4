"""A flight between two readings of the kernel's counters: what it exercised, by the kernel's own word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.kernel import conntrack
from vnetlab.kernel.usage import Usage, measure
from vnetlab.probe.columns import Shots
from vnetlab.probe.earlier import SentBefore
from vnetlab.probe.wire import fly

if TYPE_CHECKING:
    from vnetlab.kernel.spaces import Spaces
    from vnetlab.probe.flight import Flight, Log


class Order(Struct, frozen=True):
    """What to fly, and whose rules to count."""

    flight: Flight
    ruled: frozenset[str]
    """Namespaces that have rules."""


class Flown(Struct, frozen=True):
    """A flight's log, and the counters around it."""

    log: Log
    before: Usage
    after: Usage


def fly_counted(spaces: Spaces, order: Order) -> Flown:
    """Fly, and read the counters before and after. Raises KernelError for counters that cannot be read.

    What kernels with rules remember of the same flows is forgotten first.
    """
    earlier = SentBefore(Shots.of(order.flight.shots))
    for name in order.ruled:
        with spaces.inside(name):
            conntrack.end_flows(earlier, if_it_can=True)
    before = measure(spaces, order.ruled)
    log = fly(spaces, order.flight)
    return Flown(log, before, measure(spaces, order.ruled))
