"""# Isolated mode

The VMs of an isolated network reach each other and nobody else. The host is not there: it has no address, it
answers no ARP request and no neighbour solicitation, no frame passes between it and the network.

    vault: {mode: isolated, subnets: [10.10.0.0/24]}

| option | meaning |
| --- | --- |
| `subnets` | prefixes that the VMs' addresses are taken from; any prefix, used elsewhere or not |
| `port_isolation` | its VMs do not reach each other either |
| `cascade` | the network may have more VMs than one Linux bridge takes: past 1,000, on several bridges |
| `mtu` | of the network, 1500 by default |

## What becomes of it in Linux

A bridge without addresses. That alone isolates nothing: a bridge is an interface of its host, Linux accepts a
packet for any of its addresses on any interface, and answers ARP likewise; and every interface that is up
gets a link-local IPv6 address. So IPv6 is off on the bridge, and two chains at its netdev ingress and egress
hooks drop whatever would pass between the bridge and the host's stack, ARP and IPv6 included.

## Often got wrong

- libvirt's "isolated" network has a host address: it is `host-only` here.
- A test with ping proves nothing: a one-way datagram may still be delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.modes.base import Objects, Properties
from vnetlab.modes.scopes import forged_source, host_is_absent, link_scope, no_advertisement
from vnetlab.names import altname
from vnetlab.state import Bridge, NftChain, NftRule, Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.guarantees import Guarantee
    from vnetlab.modes.base import Context
    from vnetlab.modes.world import World
    from vnetlab.topology.model import Network

PROPERTIES = Properties(outward=False, inward=False, presence=False)


def objects_for(context: Context) -> Objects:
    """Return what an isolated network adds to its host."""
    network, device = context.network, context.device
    return Objects(
        bridge=Bridge(
            name=device,
            altname=altname(network.host, network.name),
            mac=network.mac,
            mtu=network.mtu,
        ),
        sysctls=(
            Sysctl(f"net/ipv4/conf/{device}/forwarding", "0"),
            Sysctl(f"net/ipv6/conf/{device}/disable_ipv6", "1"),
        ),
        netdev_chains=(
            _wall(context, "ingress", "frame of a VM to the host"),
            _wall(context, "egress", "frame of the host to the VMs"),
        ),
    )


def _wall(context: Context, hook: str, about: str) -> NftChain:
    return NftChain(
        name=f"{context.device}-{hook}",
        hook=f'type filter hook {hook} device "{context.device}" priority -500; policy drop;',
        rules=(NftRule("drop", f"{context.network.name}: {about}"),),
        about=f"{context.network.name}: the host is not there",
    )


def guarantees_for(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield what an isolated network promises beside its pairs."""
    yield from host_is_absent(world, network)
    yield from link_scope(world, network)
    yield from forged_source(world, network)
    yield from no_advertisement(world, network)
