"""What a bridge and its ports are told beyond being there, and what becomes of frames depends on. Pure.

A lab's bridge is a plain switch, and all its ports are alike, so a State names an option only where somebody
made it otherwise. Names are those of ip-link(8) and bridge(8), the usual values those that a lab's bridges
are made with (kernel/messages.py) and those of a new port (`br_add_if()` in net/bridge/br_if.c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BRIDGE: Final[Mapping[str, int]] = {
    # The kernel takes no forward delay below two seconds while it keeps a spanning tree.
    "stp_state": 0,
    "forward_delay": 0,
    "ageing_time": 30_000,  # hundredths of a second; with 0 it learns nothing and floods all
    "group_fwd_mask": 0,
    "vlan_filtering": 0,
    "mcast_snooping": 0,
    "nf_call_iptables": 0,
    "nf_call_ip6tables": 0,
    "nf_call_arptables": 0,
}
"""Of a bridge, in the order in which they are written."""
PORT: Final[Mapping[str, int]] = {
    "hairpin": 0,
    "learning": 1,
    "flood": 1,
    "mcast_flood": 1,
    "bcast_flood": 1,
    "proxy_arp": 0,
    "neigh_suppress": 0,
    "locked": 0,
    "group_fwd_mask": 0,
}


class Option(Struct, frozen=True):
    """An option of a bridge or port that is not as usual."""

    name: str
    value: int

    def __str__(self) -> str:
        return f"{self.name} {self.value}"


def unusual(values: Mapping[str, int], usual: Mapping[str, int]) -> tuple[Option, ...]:
    """Return what of these values is not as usual, in the order of ``usual``; an absent one is."""
    return tuple(Option(n, values[n]) for n, usually in usual.items() if values.get(n, usually) != usually)


def changed(old: Iterable[Option], new: Iterable[Option], usual: Mapping[str, int]) -> tuple[Option, ...]:
    """Return what has to be written for the new options to be in the place of the old ones."""
    before, after = ({option.name: option.value for option in each} for each in (old, new))
    return tuple(
        Option(name, after.get(name, usually))
        for name, usually in usual.items()
        if before.get(name, usually) != after.get(name, usually)
    )
