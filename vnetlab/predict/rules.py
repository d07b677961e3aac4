"""nftables rules as values: what a rule asks of a packet, and what it does with it.

A syntax tree of our own, so that text and the kernel's listing end in one form. Meaning is evaluate.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Callable


class Key(Struct, frozen=True):
    """A field that rules look at, such as ``ip saddr``."""

    group: str
    """``meta``, ``ct``, ``fib``, or the protocol of a header: ``ip``, ``tcp``, ``ether``..."""
    name: str


class Values(Struct, frozen=True):
    """A set of values of one type, or a single one; numbers as ranges, names with a trailing ``*``."""

    exact: frozenset[int | str]
    ranges: tuple[tuple[int, int], ...] = ()
    prefixes: tuple[str, ...] = ()
    """Beginnings of device names."""
    is_set: bool = False
    """Written in braces or named: members are compared whole, never bit by bit."""

    def has(self, value: int | str) -> bool:
        """Tell whether a value is among them."""
        if value in self.exact:
            return True
        if isinstance(value, str):
            return value.startswith(self.prefixes)
        return any(low <= value <= high for low, high in self.ranges)

    def test(self) -> Callable[[int | str], bool]:
        """Return `has` for whoever asks often: most rules compare with one number, or with one prefix."""
        if not self.ranges and not self.prefixes:
            return self.exact.__contains__
        if len(self.ranges) > 1 or self.exact or self.prefixes:
            return self.has
        low, high = self.ranges[0]
        return lambda value: isinstance(value, int) and low <= value <= high


class Match(Struct, frozen=True):
    """Keys compared with values; several keys are a concatenation."""

    keys: tuple[Key, ...]
    operator: str
    """``==``, ``!=``, ``<``, ``>``, ``<=``, ``>=``; ``has`` and ``has not``: any of the bits, for fields made
    of bits; ``doubt``: the model cannot tell, and the key says what."""
    members: tuple[tuple[Values, ...], ...]
    """One entry of a Values for each key; a plain set of one key is a single entry."""
    mask: int | None = None
    """Of ``tcp flags & (syn | ack) == syn``: the bits that are compared."""


class Verdict(Struct, frozen=True):
    """``accept``, ``drop``, ``continue``, ``return``, ``jump`` and ``goto``."""

    kind: str
    target: str = ""


class Reject(Struct, frozen=True):
    """``reject``: drop, and say so."""

    kind: str
    """``icmpx``, ``icmp``, ``icmpv6`` or ``tcp``."""
    code: str


class Lookup(Struct, frozen=True):
    """``map``: numbers that belong to the first member that the keys' values are in."""

    keys: tuple[Key, ...]
    entries: tuple[tuple[tuple[Values, ...], tuple[int, ...]], ...]


class Translate(Struct, frozen=True):
    """``dnat``, ``snat``, ``masquerade`` and ``redirect``; what is None stays as it is."""

    kind: str
    version: int | None = None
    address: int | None = None
    ports: tuple[int, int] | None = None
    lookup: Lookup | None = None
    fills: tuple[str, ...] = ()
    """Which of ``address`` and ``port`` the lookup's numbers are."""


class VerdictMap(Struct, frozen=True):
    """``vmap``: the verdict of the first member that the keys' values are in."""

    keys: tuple[Key, ...]
    entries: tuple[tuple[tuple[Values, ...], Verdict], ...]


class SetMark(Struct, frozen=True):
    """``meta mark set`` and ``ct mark set``: a number that later rules may ask for."""

    value: int = 0
    """The bits that are set; all of the mark, where it is made from nothing else."""
    of: Key | Lookup | None = None
    """What else it is made from."""
    mask: int = 0xFFFFFFFF
    """The bits of that which are kept."""
    connection: bool = False
    """The mark is the connection's, not the packet's."""


class SetField(Struct, frozen=True):
    """``ip ttl set``, ``ip6 dscp set`` and their likes."""

    key: Key
    value: int


class NoTrack(Struct, frozen=True):
    """``notrack``: conntrack passes the packet by."""


Action = Verdict | Reject | Translate | VerdictMap
Effect = SetMark | SetField | NoTrack


class Rule(Struct, frozen=True):
    """One rule. ``unknown`` is what of it the model cannot evaluate."""

    label: str
    """How reports name it: its comment, or its text."""
    matches: tuple[Match, ...] = ()
    effects: tuple[Effect, ...] = ()
    action: Action | None = None
    unknown: str = ""
    rest: Rule | None = None
    """What follows the effects, where that is more than an action: they stay if it does not fit."""

    @property
    def is_idle(self) -> bool:
        """Whether it does nothing, such as count."""
        return not (self.effects or self.action or self.unknown or self.rest)


class Hook(Struct, frozen=True):
    """Where a base chain is called from."""

    kind: str
    """``filter``, ``nat`` or ``route``."""
    name: str
    """``prerouting``, ``input``, ``forward``, ``output``, ``postrouting``, ``ingress`` or ``egress``."""
    priority: int
    policy: str
    devices: tuple[str, ...] = ()


class Chain(Struct, frozen=True):
    """A chain with its rules understood."""

    table: str
    family: str
    name: str
    hook: Hook | None
    rules: tuple[Rule, ...]
    unknown: str = ""
    """What of its hook the model does not know."""
    label: str = field(default="")
