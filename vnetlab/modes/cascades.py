"""What a network promises whose VMs may be spread over several bridges: its host is on one of them only.

Every bridge is an interface of its host. So a frame to everybody comes to the host by each bridge that it
crosses, and rules that know the network by one of these would let it in by another. Under a source that no
network has it is let in by none.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.guarantees import Outcome, Special
from vnetlab.modes.edges import nowhere
from vnetlab.modes.packet import Fate, Packet
from vnetlab.modes.pairs import BROADCAST_MAC
from vnetlab.modes.promise import SINK, from_fate
from vnetlab.modes.scopes import label, ports_of
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.guarantees import Guarantee
    from vnetlab.modes.world import World
    from vnetlab.topology.model import Network

_EVERYBODY = IPv4Address("255.255.255.255")  # RFC 919


def one_host_side(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that no frame of a VM gets round the rules by a bridge that the host is not on.

    One VM's frames to everybody cross all bridges, where port isolation does not end them at the first. A
    bridge network has no such rules: its host hears all that is on the LAN.
    """
    if not (network.cascade and network.lan.host):
        return
    about = label(network, "one-host-side", "its host is on one of its bridges and no other")
    forged = nowhere(world, Family.IPV4)
    senders = ports_of(world, network) if forged else []
    for sender in senders if network.port_isolation else senders[:1]:
        packet = Packet(forged[-1], _EVERYBODY)
        hop = Hop(sender, replace(sender, mac=BROADCAST_MAC))
        silent = Fate(Outcome.SILENT, network.host, packet)
        yield from_fate(world, about, network.host, hop, packet, SINK, silent, Special.FORGED)
