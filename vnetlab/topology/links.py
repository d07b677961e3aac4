"""Who is on a node's links: the MAC of every address there, as the node would resolve it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vnetlab.topology.model import IPAddress, Nic, Topology


def macs_on_links(topology: Topology, nics: tuple[Nic, ...]) -> dict[tuple[str, IPAddress], str]:
    """Return the MAC of every address in the broadcast domains of the NICs, by NIC name and address."""
    sides = [(n.lan, n.mac, n.addresses) for n in topology.networks if n.lan.host]
    sides += [(n.lan, n.mac, n.addresses) for host in topology.hosts.values() for n in host.nics.values()]
    sides += [(n.lan, n.mac, n.addresses) for machine in topology.machines.values() for n in machine.nics]
    sides += [(n.lan, n.mac, n.addresses) for vm in topology.vms.values() for n in vm.nics]
    own = {nic.lan: nic.name for nic in nics}
    return {
        (own[lan], address.ip): mac for lan, mac, addresses in sides if lan in own for address in addresses
    }
