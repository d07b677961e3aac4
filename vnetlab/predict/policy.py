"""Policy routing in the model: which table decides where a packet goes (`fib_rules_lookup`).

The table `local` comes before all rules, or the State says that it does not. What a kernel asks twice, once
without a source address and once with the one it chose, is told only where both times say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.policy import LOOKUP, MAIN, UNREACHABLE, USUAL
from vnetlab.predict.fib import LOOPBACK, Entry
from vnetlab.predict.passage import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vnetlab.policy import Policy, PolicyRule
    from vnetlab.predict.fib import Fib, Way
    from vnetlab.topology.model import IPNetwork


class BarredError(Unknown):
    """A rule lets nothing pass: `blackhole` or `prohibit`. Where nobody cares which, nothing is known."""

    def __init__(self, rule: PolicyRule) -> None:
        self.action = rule.action
        super().__init__(str(rule))


class Asked(Struct, frozen=True):
    """What beside its destination a packet is routed by (`struct flowi`)."""

    source: int = 0
    """0: none was chosen yet."""
    iif: str = LOOPBACK
    """``lo``: it is the namespace's own."""
    mark: int = 0


OWN = Asked()


class PolicyRouting:
    """The rules and tables of one namespace."""

    def __init__(
        self, policy: Policy, fib: Callable[[int], Fib], takes_part: Callable[[int, str], bool]
    ) -> None:
        self._fib = fib
        self._rules = {
            version: tuple(rule for rule in policy.rules if rule.version == version) or usual[1:]
            for version, usual in USUAL.items()
        }
        self._tables: dict[tuple[int, int], list[Entry]] = {}
        for each in sorted(policy.routes, key=lambda each: each.route.priority):
            route = each.route
            version = route.prefix.version
            if takes_part(version, route.device):
                network, via = int(route.prefix.network_address), int(route.via)
                entry = Entry(network, route.prefix.prefixlen, route.device, via, str(each))
                self._tables.setdefault((version, each.table), []).append(entry)
        for entries in self._tables.values():
            entries.sort(key=lambda entry: -entry.prefix)  # stable: the lower metric before

    def way(self, version: int, destination: int, device: str, asked: Asked) -> Way | None:
        """Return where a packet goes; ``device`` restricts routes to that device.

        Raises BarredError.
        """
        fib = self._fib(version)
        for rule in self._rules[version]:
            if not _fits(rule, version, destination, device, asked):
                continue
            if rule.action == UNREACHABLE:
                return None
            if rule.action != LOOKUP:
                raise BarredError(rule)
            if rule.table == MAIN:
                found = fib.way(destination, device)
            else:
                found = fib.longest(self._tables.get((version, rule.table), ()), destination, device)
            if found is not None:
                return found
        return None

    def leading_out_of(self, version: int, device: str) -> Iterator[Entry]:
        """Yield the routes beside those of the table `main` that lead out of a device."""
        for (family, _), entries in self._tables.items():
            yield from (entry for entry in entries if family == version and entry.device == device)

    def asks_for(self, version: int, *fields: str) -> bool:
        """Tell whether some rule asks for one of these."""
        return any(getattr(rule, field) for rule in self._rules[version] for field in fields)


def _fits(rule: PolicyRule, version: int, destination: int, device: str, asked: Asked) -> bool:
    own = asked.iif == LOOPBACK
    return (
        _has(rule.source, asked.source)
        and _has(rule.destination, destination)
        and (not rule.iif or rule.iif == asked.iif)
        and (not rule.oif or (own and rule.oif == device))
        and not (rule.mark ^ asked.mark) & rule.mask
    )


def _has(prefix: IPNetwork | None, address: int) -> bool:
    if prefix is None:
        return True
    shift = prefix.max_prefixlen - prefix.prefixlen
    return int(prefix.network_address) >> shift == address >> shift
