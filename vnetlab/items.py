"""The objects of a lab that packets can exercise, by names that stay: the vocabulary of coverage."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class ItemKind(StrEnum):
    """What can be exercised."""

    RULE = "rule"
    """A rule of nftables; it was where its counter moved."""
    ROUTE = "route"
    """A static route."""
    PORT = "port"
    """A device but for bridges: bridge port, tap, NIC or uplink."""
    FORWARD = "forward"
    """A port that a NAT network hands to a VM, in one family."""
    NEIGHBOUR = "neighbour"
    """A permanent neighbour."""


class Item(NamedTuple):
    """One object. A tuple, since the model writes down millions: its hash is the interpreter's own."""

    kind: ItemKind
    namespace: str
    name: str
    """Unique in its namespace and kind."""
    about: str = ""
    """What it is for, in the words that the lab itself shows: a rule's comment, a device's altname."""
    way: str = ""
    """Of a port that a frame goes through: ``in`` or ``out``. A port as such has none."""

    def __str__(self) -> str:
        about = f" ({self.about})" if self.about else ""
        return f"{self.kind} {self.namespace}: {self.name}{about}"


def rule_item(namespace: str, chain: str, position: int, comment: str) -> Item:
    """Return the item of a rule; ``chain`` is family, table and chain, positions begin with 1."""
    return Item(ItemKind.RULE, namespace, f"{chain} {position}", comment)
