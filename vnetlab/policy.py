"""Policy routing (ip-rule(8)) as values: which table a packet is looked up in, and what else tables hold.

Labs of vnetlab's have none: this is what somebody added by hand, read back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from vnetlab.state import StaticRoute
    from vnetlab.topology.model import IPNetwork

LOOKUP, BLACKHOLE, UNREACHABLE, PROHIBIT = "lookup", "blackhole", "unreachable", "prohibit"
LOCAL, MAIN, DEFAULT = 255, 254, 253
"""The tables that every namespace has (rtnetlink(7))."""
_NAMES = {LOCAL: "local", MAIN: "main", DEFAULT: "default"}


class PolicyRule(Struct, frozen=True):
    """A rule; the first of those that fit and whose table has a route, or that bars, decides."""

    version: int
    priority: int
    table: int = 0
    """0: it bars."""
    action: str = LOOKUP
    source: IPNetwork | None = None
    destination: IPNetwork | None = None
    iif: str = ""
    """Where the packet came in; ``lo``: it is the namespace's own."""
    oif: str = ""
    """Of a packet of the namespace's own, the device that its socket is bound to."""
    mark: int = 0
    mask: int = 0
    """Bits of the packet's mark that are compared; 0: none are."""

    def __str__(self) -> str:
        said = [f"policy rule {self.priority}: from {self.source or 'all'}"]
        said += [f"to {self.destination}"] if self.destination else []
        said += [f"fwmark {self.mark:#x}/{self.mask:#x}"] if self.mask else []
        said += [f"iif {self.iif}"] if self.iif else []
        said += [f"oif {self.oif}"] if self.oif else []
        lookup = f"lookup {_NAMES.get(self.table, self.table)}"
        return " ".join([*said, lookup if self.action == LOOKUP else self.action])


USUAL = {
    4: (PolicyRule(4, 0, LOCAL), PolicyRule(4, 32766, MAIN), PolicyRule(4, 32767, DEFAULT)),
    6: (PolicyRule(6, 0, LOCAL), PolicyRule(6, 32766, MAIN)),
}
"""What a new namespace has."""


class TableRoute(Struct, frozen=True):
    """A unicast route of a table beside the usual ones."""

    table: int
    route: StaticRoute

    def __str__(self) -> str:
        return f"{self.route} table {_NAMES.get(self.table, self.table)}"


class Policy(Struct, frozen=True):
    """The policy routing of a namespace, as far as it is not what a new one has."""

    rules: tuple[PolicyRule, ...] = ()
    """Of each family that has others than the usual ones all but the first, `local`; in their order."""
    routes: tuple[TableRoute, ...] = ()

    def said(self) -> tuple[str, ...]:
        """Return in words what is there besides the usual, or missing."""
        versions = {rule.version for rule in self.rules}
        usual = [rule for version in sorted(versions) for rule in USUAL[version][1:]]
        besides = [str(rule) for rule in self.rules if rule not in usual]
        missing = [f"no {rule}" for rule in usual if rule not in self.rules]
        return (*besides, *missing, *(f"route to {route}" for route in self.routes))


NO_POLICY = Policy()
