"""# Routed mode

The host is the router of a routed network: its VMs keep their own addresses, and machines outside reach
them by static routes through the host's LAN address. Both sides may begin a flow.

    dmz: {mode: routed, uplink: eth0, subnets: [10.20.0.0/24, "fd00:20::/64"]}

| option | meaning |
| --- | --- |
| `uplink` | the host's NIC it uses; may be left out where the host has one NIC |
| `subnets` | prefixes of the network, of either family; required |
| `reach` | private networks of the host to which its VMs may begin flows |
| `port_isolation` | its VMs do not reach each other, neither by the bridge nor by way of the host |
| `cascade` | the network may have more VMs than one Linux bridge takes: past 1,000, on several bridges |
| `deny` | `reject` (ICMP administratively prohibited, the default) or `drop`, for denied flows |
| `mtu` | of the network, 1500 by default |

## What becomes of it in Linux

A bridge with the network's addresses, forwarding on for the bridge and the uplink, and two rules without
state: from the network to the uplink, and back. Two routed networks of one host reach each other. The
routers and machines of the topology file get the return routes; a machine with `routes: none` has none, so
what it is sent arrives, and its answers have no way back.

## Often got wrong

- The uplink binds: where the host's route to a destination leaves by another NIC, the flow is denied.
- A source address that is not of the network is dropped in silence: an ICMP error would go to whoever the
  address belongs to.
- Routed is not public to private networks: a NAT or host-only network of the same host has no path to it
  unless the file says `reach`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.modes.base import IP, Objects, Properties, Rules, deny, devices, members, of_family
from vnetlab.modes.presence import own_subnets, present, reach_rules, vm_begun_denied
from vnetlab.modes.scopes import alien_source, forged_source, link_scope, no_advertisement
from vnetlab.modes.ways import way_errors
from vnetlab.state import NftRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.guarantees import Guarantee
    from vnetlab.modes.base import Context
    from vnetlab.modes.world import World
    from vnetlab.topology.model import Network

PROPERTIES = Properties(outward=True, inward=True, presence=True)


def objects_for(context: Context) -> Objects:
    """Return what a routed network adds to its host."""
    name, device = context.network.name, context.device
    denied_inbound = NftRule(
        f'oifname "{device}" {deny(context.network)}', f"{name}: from where its mode gives no path"
    )
    return present(
        context,
        answers_on=context.reachable,
        rules=Rules(
            forward=_both_ways(context) + _neighbours(context) + reach_rules(context) + own_subnets(context),
            forward_deny=vm_begun_denied(context),
            forward_deny_inbound=(denied_inbound,),
        ),
    )


def _both_ways(context: Context) -> tuple[NftRule, ...]:
    name, device, uplink = context.network.name, context.device, context.uplink_device
    rules: list[NftRule] = []
    for family, ip in IP.items():
        subnets = of_family(context.network.subnets, family)
        if subnets:
            rules += [
                NftRule(
                    f'iifname "{device}" oifname "{uplink}" {ip} saddr {members(subnets)} accept',
                    f"{name}: VM to the LAN and beyond",
                ),
                NftRule(
                    f'iifname "{uplink}" oifname "{device}" {ip} daddr {members(subnets)} accept',
                    f"{name}: the LAN and beyond to VM",
                ),
            ]
    return tuple(rules)


def _neighbours(context: Context) -> tuple[NftRule, ...]:
    """Return the way to the host's other public networks; each writes its own direction."""
    if not context.public_devices:
        return ()
    return (
        NftRule(
            f'iifname "{context.device}" oifname {devices(context.public_devices)} accept',
            f"{context.network.name}: to the host's other routed networks",
        ),
    )


def guarantees_for(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield what a routed network promises beside its pairs."""
    yield from link_scope(world, network)
    yield from forged_source(world, network)
    yield from alien_source(world, network)
    yield from way_errors(world, network)
    yield from no_advertisement(world, network)
