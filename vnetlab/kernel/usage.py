"""What the kernel counts of a lab's objects: packets that each rule fits, frames of each device.

Runs inside a lab (see agent.py). Like read.py it does not know what was wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.kernel import nftables, read_messages, read_tables
from vnetlab.kernel.netlink import Netlink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vnetlab.kernel.spaces import Spaces

RuleKey = tuple[str, str, int]
"""Namespace; family, table and chain; position, beginning with 1."""
PortKey = tuple[str, str]
"""Namespace and device."""


class Usage(Struct, frozen=True):
    """Counters of a lab at one time."""

    rules: Mapping[RuleKey, int]
    """Packets; a rule without a counter is left out."""
    ports: Mapping[PortKey, tuple[int, int]]
    """Frames in, and out."""

    def rules_moved(self, since: Usage) -> frozenset[RuleKey]:
        """Return the rules that packets fitted since then."""
        return frozenset(key for key, count in self.rules.items() if count > since.rules.get(key, 0))

    def ports_moved(self, since: Usage) -> frozenset[PortKey]:
        """Return the devices by which frames both came in and went out since then."""
        found = set()
        for key, (received, sent) in self.ports.items():
            before = since.ports.get(key, (0, 0))
            if received > before[0] and sent > before[1]:
                found.add(key)
        return frozenset(found)


def measure(spaces: Spaces, ruled: frozenset[str]) -> Usage:
    """Return the counters of all namespaces; of rules only in those named, which have any.

    Raises KernelError.
    """
    rules: dict[RuleKey, int] = {}
    ports: dict[PortKey, tuple[int, int]] = {}
    for name in spaces.names():
        with spaces.inside(name):
            with Netlink() as netlink:
                for _, body in netlink.dump(read_messages.dump(read_messages.GET_LINKS)):
                    device, received, sent = read_messages.traffic(body)
                    ports[name, device] = received, sent
            if name in ruled:
                for (chain, position), count in read_tables.counts(nftables.ruleset()).items():
                    rules[name, chain, position] = count
    return Usage(rules, ports)
