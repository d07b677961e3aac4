"""The shots of guarantees, as rows: one for each pattern made by itself, the members' values put in. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vnetlab.guarantees import LINK_WIDE, Protocol
from vnetlab.many import DESTINATION, FIELDS, Guarantees
from vnetlab.probe.columns import SHOT, Names, Numbers, Rows, Shots, shot_row
from vnetlab.probe.exits import packed_mac
from vnetlab.probe.flight import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from vnetlab.guarantees import Flow, Guarantee
    from vnetlab.probe.flight import Shot
    from vnetlab.probe.places import Places

_HOLDS = {
    "source_address": ("source", 16),
    "destination_address": ("destination", 16),
    "next_hop_mac": ("mac", 6),
}
"""Column of a flow's field, and its bytes."""
_NEXT_HOP = next(n for n, (part, name, _) in enumerate(FIELDS) if (part, name) == ("flow", "next_hop_mac"))
_ANSWERED = (Kind.ICMP, Kind.TCP, Kind.UDP)


class Salvo(NamedTuple):
    """The shots of all guarantees."""

    shots: Shots
    of: Numbers
    """The number of each guarantee's shot."""
    first: Numbers
    """The first guarantee of each shot."""
    wide: int
    """So many shots come first that are datagrams to everybody on a link."""
    direct: NDArray[np.bool_]
    """Of each shot, whether its frame goes straight to its destination's own MAC."""


def salvo(many: Guarantees, places: Places, make: Callable[[str, Flow], Shot]) -> Salvo:
    """Return the shots of guarantees; equal flows of one sender, if no pattern spreads them, are one shot."""
    of, first, wide = _wide_first(many, *_numbered(many))
    nics = Names()
    base, direct = _patterns(many, places, make, nics)
    pattern = many.pattern[first]
    rows = base[pattern]
    rows["station"] = many.source[first]
    spread = np.array([bool(p.slots) for p in many.patterns], np.bool_)[pattern]
    rows["source_port"][spread] = many.source_port[first][spread]
    for field, (part, name, _) in enumerate(FIELDS):
        if part == "flow":
            column, size = _HOLDS[name]
            mask, values = many.own(field, first)
            rows[column][mask] = values[:, :size]
    return Salvo(Shots(rows, many.nodes, nics.words), of, first, wide, direct[pattern])


def _wide_first(many: Guarantees, of: Numbers, first: Numbers) -> tuple[Numbers, Numbers, int]:
    """Return both anew, and how many datagrams to everybody come first: a packet filter can tell them so."""
    flows = [p.guarantee.flow for p in many.patterns]
    everybody = [f.special in LINK_WIDE and f.protocol is Protocol.UDP for f in flows]
    wide = np.array(everybody, np.bool_)[many.pattern[first]]
    order = np.argsort(~wide, kind="stable")
    return np.argsort(order)[of], first[order], int(wide.sum())


def _numbered(many: Guarantees) -> tuple[Numbers, Numbers]:
    """Return the shot of each guarantee, and the guarantee of each shot."""
    new = np.ones(len(many), np.bool_)
    same: dict[int, int] = {}
    known: dict[tuple[str, Flow], int] = {}
    alone = np.array([not p.slots for p in many.patterns], np.bool_)
    for at in np.flatnonzero(alone[many.pattern]).tolist():
        guarantee = many[at]
        other = known.setdefault((guarantee.source, guarantee.flow), at)
        if other != at:
            same[at], new[at] = other, False
    of = np.cumsum(new) - 1
    for at, other in same.items():
        of[at] = of[other]
    return of, np.flatnonzero(new)


def _patterns(
    many: Guarantees, places: Places, make: Callable[[str, Flow], Shot], nics: Names
) -> tuple[Rows, NDArray[np.bool_]]:
    """Return the shot of each pattern that is used, and whether it goes to its destination itself."""
    rows, direct = np.zeros(len(many.patterns), SHOT), np.zeros(len(many.patterns), np.bool_)
    stations = Names()
    for number in np.unique(many.pattern).tolist():
        pattern = many.patterns[number]
        guarantee = pattern.guarantee
        rows[number] = shot_row(make(guarantee.source, guarantee.flow), stations, nics)
        own = [slot for slot in pattern.slots if slot.field == _NEXT_HOP]
        direct[number] = any(slot.end == DESTINATION for slot in own) or _is_direct(places, guarantee)
    return rows, direct


def _is_direct(places: Places, guarantee: Guarantee) -> bool:
    mac = packed_mac(guarantee.flow.next_hop_mac)
    return bool(mac) and any(packed_mac(nic.mac) == mac for nic in places.nics(guarantee.destination))


def makes_no_neighbours(found: Salvo) -> NDArray[np.bool_]:
    """Tell which shots make nobody resolve anybody: frames to the destination that ask for no answer."""
    rows = found.shots.rows
    free: NDArray[np.bool_] = found.direct & (rows["kind"] == Kind.UDP) & ~rows["wants_answer"]
    return free


def introductions(found: Salvo, many: Guarantees) -> tuple[Rows, Numbers]:
    """Return questions by which destinations come to know who asks for their answer, and their guarantees.

    Whoever answers resolves the asker first, by a broadcast to all of the segment. An ARP request or
    solicitation makes its receiver know its sender (RFC 826; RFC 4861, 7.2.3) and may be sent to one alone
    (RFC 1122, 2.3.2.1). Where the flight asks all of a segment anyway, none is needed.
    """
    rows, first = found.shots.rows, found.first
    pair = (many.source[first].astype(np.int64) * len(many.nodes) + many.destination[first]) * 2
    pair += rows["version"] == 6
    asks = np.isin(rows["kind"], (Kind.ARP, Kind.NS))
    answered = (
        np.isin(rows["kind"], _ANSWERED) & rows["wants_answer"] & found.direct & (rows["mac_size"] == 6)
    )
    wanted = np.flatnonzero(answered & ~np.isin(pair, pair[asks]))
    chosen = wanted[np.unique(pair[wanted], return_index=True)[1]]
    made = rows[chosen]
    made["kind"] = np.where(made["version"] == 4, Kind.ARP, Kind.NS)
    made["ttl"], made["size"], made["fragments"] = 255, 0, False
    made["source_port"] = made["destination_port"] = 0
    return made, first[chosen]
