"""Where the answers of a guest leave: by its own routes, as those of a kernel do."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from vnetlab.probe.flight import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vnetlab.topology.model import IPAddress, Nic, Route


def way_out(exits: Iterable[Exit], address: bytes) -> Exit | None:
    """Return the exit with the longest prefix that the address is in, if there is one."""
    value, bits = int.from_bytes(address, "big"), len(address) * 8
    best: Exit | None = None
    for one in exits:
        if len(one.prefix) != len(address) or (best and best.length >= one.length):
            continue
        if (value ^ int.from_bytes(one.prefix, "big")) >> (bits - one.length) == 0:
            best = one
    return best


def exits_of(
    nics: tuple[Nic, ...], routes: tuple[Route, ...], macs: Mapping[tuple[str, IPAddress], str]
) -> tuple[Exit, ...]:
    """Return a guest's exits; ``macs`` are those of its neighbours, by NIC and address."""
    found = [
        Exit(a.network.network_address.packed, a.network.prefixlen, nic.name)
        for nic in nics
        for a in nic.addresses
    ]
    for route in routes:
        nic = next(n for n in nics if any(route.via in a.network for a in n.addresses))
        prefix = route.prefix
        hop = packed_mac(macs.get((nic.name, route.via), ""))
        found.append(Exit(prefix.network_address.packed, prefix.prefixlen, nic.name, hop))
    return tuple(found)


@cache
def packed_mac(mac: str) -> bytes:
    """Return the six bytes of a MAC written with colons; none of an empty one."""
    return bytes.fromhex(mac.replace(":", ""))
