"""# Bridge mode

The host's NIC acts as a switch: the VMs of a bridge network are machines of the LAN, with addresses of the
LAN, seen by everyone on it under their own MAC and address. The host has its LAN addresses as before.

    office: {mode: bridge, uplink: eth0}

| option | meaning |
| --- | --- |
| `uplink` | the host's NIC that becomes a port of the switch; may be left out where the host has one NIC |
| `port_isolation` | VMs of this network do not reach each other; everyone else reaches them |
| `cascade` | the network may have more VMs than one Linux bridge takes: past 1,000, on several bridges |

Subnets and MTU are those of the uplink's segment.

## What becomes of it in Linux

One bridge for each uplink, shared by all bridge networks that name it. The NIC becomes a port of it, and the
NIC's addresses and routes move to the bridge. The bridge takes the NIC's MAC for good: left to itself it
takes the lowest MAC of its ports, and a VM that joins can change the host's address on the LAN.
The spanning tree protocol and its forward delay are off, so a port forwards at once.
Bridged frames need no forwarding and meet no IP rules (`bridge-nf-call-iptables` is off).

Port isolation is a rule of nftables' bridge family between the ports of this network. The bridge's own
`isolated` flag knows one group for each bridge, and two networks that share an uplink are two.

## Often got wrong

- A bridge network is not part of its host: a VM on it is a LAN machine to the host's other networks too.
- The host does not filter what a VM sends to the LAN, a forged source included: a switch would not either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.modes.base import Objects, Properties, devices
from vnetlab.modes.scopes import link_scope, no_advertisement
from vnetlab.state import NftRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.guarantees import Guarantee
    from vnetlab.modes.base import Context
    from vnetlab.modes.world import World
    from vnetlab.topology.model import Network

PROPERTIES = Properties(outward=True, inward=True, presence=False)


def objects_for(context: Context) -> Objects:
    """Return what a bridge network adds to its host, whose bridge belongs to the uplink."""
    if not context.network.port_isolation or not context.inner_ports:
        return Objects()
    ports = devices(context.inner_ports)
    return Objects(
        bridge_rules=(
            NftRule(
                f"iifname {ports} oifname {ports} drop",
                f"{context.network.name}: port isolation",
            ),
        )
    )


def guarantees_for(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield what a bridge network promises beside its pairs."""
    yield from link_scope(world, network)
    yield from no_advertisement(world, network)
