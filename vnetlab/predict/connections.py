"""What rules may ask about a packet's connection (`nft_ct_get_eval` of the kernel's nft_ct.c)."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from vnetlab.predict.packet import TCP, UDP
from vnetlab.predict.passage import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.predict.conntrack import Entry, Tuple
    from vnetlab.predict.passage import Passage

    Value = int | str | None

_NFPROTO = {4: 2, 6: 10}
_OF_TUPLE = {
    "saddr": "source",
    "daddr": "destination",
    "proto-src": "source_port",
    "proto-dst": "destination_port",
    "protocol": "protocol",
    "l3proto": "version",
}
_TUPLE_VERSIONS = {"ip": 4, "ip6": 6}


def ct_state(passage: Passage) -> Value:
    """Return the bit of the state that conntrack gave a packet (`nft_ct_get_eval`). Raises Unknown."""
    if passage.family in ("bridge", "netdev"):
        raise Unknown("conntrack in the bridge and netdev families")
    if passage.untracked:
        return 64
    if passage.tracked is None:
        return 1
    return passage.tracked.state


def ct_status(passage: Passage) -> Value:
    """Return the status bits of a packet's connection (`enum ip_conntrack_status`).

    Two have no name in nft, IPS_SRC_NAT_DONE and IPS_DST_NAT_DONE; a rule that compares the whole meets them.
    """
    if passage.tracked is None or passage.tracked.entry is None:
        return None
    entry = passage.tracked.entry
    bits = 2 * entry.replied + 4 * entry.assured + 8 * entry.confirmed
    return bits + 16 * entry.snat + 32 * entry.dnat + 128 * entry.source_done + 256 * entry.destination_done


def ct_direction(passage: Passage) -> Value:
    """Return which way of its connection a packet goes."""
    if passage.tracked is None or passage.tracked.entry is None:
        return None
    return int(passage.tracked.is_reply)


def ct_mark(passage: Passage) -> Value:
    """Return the mark of a packet's connection."""
    tracked = passage.tracked
    return None if tracked is None or tracked.entry is None else tracked.entry.mark


def tuple_reader(name: str) -> Callable[[Passage], Value]:
    """Read a tuple of the connection, such as `original ip saddr` (`nft_ct_get_eval`)."""
    words = name.split(" ")
    of_reply = words[0] == "reply"
    field = attrgetter(_OF_TUPLE[words[-1]])
    version = _TUPLE_VERSIONS.get(words[-2]) if len(words) > 1 else None

    def read(passage: Passage) -> Value:
        tracked = passage.tracked
        if tracked is None or tracked.entry is None:
            return None
        entry = tracked.entry
        found = entry.reply if of_reply else entry.original
        if version not in (None, found.version):
            return None
        if words[-1].startswith("proto-"):
            return _tuple_port(entry, found, words[-1])
        value = field(found)
        return _NFPROTO[value] if words[-1] == "l3proto" else value

    return read


def _tuple_port(entry: Entry, found: Tuple, name: str) -> int:
    if found.protocol not in (TCP, UDP):
        raise Unknown(f"`ct {name}` of an ICMP message")
    port = found.source_port if name == "proto-src" else found.destination_port
    if entry.drawn and port == entry.drawn[0]:
        raise Unknown(f"a port that the kernel draws from {entry.drawn[0]}-{entry.drawn[1]}")
    return port
