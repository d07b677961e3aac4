"""Where the answers of a guest leave: by its own routes, as those of a kernel do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.probe.flight import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vnetlab.topology.model import IPAddress, Nic, Route, Topology


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
    nics: tuple[Nic, ...], routes: tuple[Route, ...], macs: Mapping[tuple[str, IPAddress], bytes]
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
        hop = macs.get((nic.name, route.via), b"")
        found.append(Exit(prefix.network_address.packed, prefix.prefixlen, nic.name, hop))
    return tuple(found)


def neighbours(topology: Topology, nics: tuple[Nic, ...]) -> dict[tuple[str, IPAddress], bytes]:
    """Return the MAC of every address on the guest's links, as it would have learned them."""
    sides = [(n.lan, n.mac, n.addresses) for n in topology.networks if n.lan.host]
    sides += [(n.lan, n.mac, n.addresses) for h in topology.hosts.values() for n in h.nics.values()]
    sides += [(n.lan, n.mac, n.addresses) for machine in topology.machines.values() for n in machine.nics]
    sides += [(n.lan, n.mac, n.addresses) for vm in topology.vms.values() for n in vm.nics]
    own = {nic.lan: nic.name for nic in nics}
    return {
        (own[lan], address.ip): bytes.fromhex(mac.replace(":", ""))
        for lan, mac, addresses in sides
        if lan in own
        for address in addresses
    }
