"""# Host-only mode

The VMs of a host-only network reach each other and their host's address on the network, and nothing else.
The host reaches them. No outsider does, whatever routes it adds.

    bench: {mode: host-only, subnets: [10.30.0.0/24, "fd00:30::/64"]}

| option | meaning |
| --- | --- |
| `subnets` | prefixes of the network, of either family; required |
| `reach` | other networks of the host to which its VMs may begin flows |
| `port_isolation` | its VMs do not reach each other either |
| `cascade` | the network may have more VMs than one Linux bridge takes: past 1,000, on several bridges |
| `deny` | `reject` (ICMP administratively prohibited, the default) or `drop`, for flows that VMs begin |
| `mtu` | of the network, 1500 by default |

## What becomes of it in Linux

A bridge with the network's addresses. Forwarding is on for the bridge only so that the forward chain can
answer a denied flow with an ICMP error; the chain lets nothing through. A NAT or routed network beside it
changes nothing about that: the chain's policy is drop, and each network opens its own paths only.

## Often got wrong

- Elsewhere (libvirt, for one) a network called "isolated" has a host address: that is this mode.
- Forwarding that was switched on for another network turns a host-only network into a routed one, where
  the rules name what is forbidden rather than what is allowed.
- An outsider's flow is dropped in silence: an ICMP error would tell that the network is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.modes.base import Objects, Properties, Rules
from vnetlab.modes.presence import own_subnets, present, reach_rules, vm_begun_denied
from vnetlab.modes.scopes import alien_source, forged_source, link_scope, no_advertisement, not_on_lan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.guarantees import Guarantee
    from vnetlab.modes.base import Context
    from vnetlab.modes.world import World
    from vnetlab.topology.model import Network

PROPERTIES = Properties(outward=False, inward=False, presence=True)


def objects_for(context: Context) -> Objects:
    """Return what a host-only network adds to its host."""
    return present(
        context,
        answers_on=(),
        rules=Rules(
            forward=reach_rules(context) + own_subnets(context),
            forward_deny=vm_begun_denied(context),
        ),
    )


def guarantees_for(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield what a host-only network promises beside its pairs."""
    yield from link_scope(world, network)
    yield from forged_source(world, network)
    yield from alien_source(world, network)
    yield from not_on_lan(world, network)
    yield from no_advertisement(world, network)
