"""# NAT mode

The VMs of a NAT network go out under the address of their host's uplink (RFC 3022, RFC 4787). Answers and
ICMP errors come back to them; nobody outside can begin a flow, but for the ports that `forwards` opens.
IPv6 is translated too.

    home:
      mode: nat
      uplink: eth0
      subnets: [10.40.0.0/24, "fd00:40::/64"]
      forwards: [{protocol: tcp, port: 8080, to: web, to_port: 80}]

| option | meaning |
| --- | --- |
| `uplink` | the host's NIC it uses; may be left out where the host has one NIC |
| `subnets` | prefixes of the network, of either family; required |
| `forwards` | ports of the uplink's addresses that are handed to a VM |
| `reach` | other networks of the host to which its VMs may begin flows, untranslated |
| `port_isolation` | its VMs do not reach each other, neither by the bridge nor by way of the host |
| `cascade` | the network may have more VMs than one Linux bridge takes: past 1,000, on several bridges |
| `deny` | `reject` (ICMP administratively prohibited, the default) or `drop`, for denied flows |
| `mtu` | of the network, 1500 by default |

## What becomes of it in Linux

A bridge with the network's addresses; masquerade towards the uplink, onto ports from 1024 up; a stateful
filter, since masquerade alone keeps nobody out. A second filter behind the translation drops what would
leave untranslated. Flows to the host's own addresses and within the network are never translated.

A forward works for whoever comes in by the uplink, for the VMs of the same network (then the VM sees the
host's address on the network as the source, or its answer would go straight to the asker) and for the host.
A VM on other networks too sees the host's address whoever asks: its answer might leave by another of them.
A forward gives no way to the VM's own address and port.

## Often got wrong

- Masquerade is no filter: a LAN machine with a static route through the host walks in.
- Two NAT networks of one host reach each other as soon as forwarding is on.
- A packet that conntrack calls invalid is not translated; it must be dropped, or it leaves with the VM's
  private address.
- The uplink binds: where the host's route to a destination leaves by another NIC, the flow is denied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.modes.base import IP, Objects, Properties, Rules, devices, members, of_family
from vnetlab.modes.forwarding import forward_guarantees
from vnetlab.modes.presence import (
    established,
    own_subnets,
    present,
    reach_rules,
    vm_begun_denied,
)
from vnetlab.modes.scopes import (
    alien_source,
    forged_source,
    link_scope,
    no_advertisement,
    not_on_lan,
    untracked,
)
from vnetlab.modes.ways import same_port, way_errors
from vnetlab.state import NftRule
from vnetlab.topology.model import family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.guarantees import Guarantee
    from vnetlab.modes.base import Context
    from vnetlab.modes.world import World
    from vnetlab.topology.model import Family, Forward, IPAddress, Network

PROPERTIES = Properties(outward=True, inward=False, presence=True)


def objects_for(context: Context) -> Objects:
    """Return what a NAT network adds to its host."""
    filters = Rules(
        forward=(*_filter(context), *reach_rules(context), *own_subnets(context)),
        forward_deny=vm_begun_denied(context),
    )
    return present(
        context,
        answers_on=context.reachable,
        rules=filters + _translation(context) + _forwards(context),
    )


def _translated_families(context: Context) -> Iterator[tuple[Family, str, str]]:
    """Yield family, nft keyword and prefixes where the uplink has an address to translate to."""
    for family, ip in IP.items():
        subnets = of_family(context.network.subnets, family)
        outside = of_family(context.uplink_addresses, family)
        if subnets and outside:
            yield family, ip, members(subnets)


def _filter(context: Context) -> Iterator[NftRule]:
    name, device, uplink = context.network.name, context.device, context.uplink_device
    yield NftRule(
        f'iifname "{device}" ct state invalid drop',
        f"{name}: what conntrack does not know would leave untranslated",
    )
    yield established(device, uplink, name)
    for _, ip, subnets in _translated_families(context):
        yield NftRule(
            f'iifname "{device}" oifname "{uplink}" {ip} saddr {subnets} accept',
            f"{name}: VM to the LAN and beyond",
        )


def _translation(context: Context) -> Rules:
    name, uplink = context.network.name, context.uplink_device
    translate: list[NftRule] = []
    leak: list[NftRule] = []
    for _, ip, subnets in _translated_families(context):
        source = f'oifname "{uplink}" {ip} saddr {subnets}'
        translate += [
            NftRule(
                f"{source} meta l4proto {{ tcp, udp }} masquerade to :1024-65535",
                f"{name}: under the uplink's address, from an unprivileged port",
            ),
            NftRule(f"{source} masquerade", f"{name}: under the uplink's address"),
        ]
        leak.append(NftRule(f"{source} drop", f"{name}: nothing leaves untranslated"))
    return Rules(srcnat=tuple(translate), leak=tuple(leak))


def _forwards(context: Context) -> Rules:
    rules = Rules()
    for forward in context.network.forwards:
        for target in context.vm_addresses[forward.to]:
            family = family_of(target)
            outside = [a.ip for a in of_family(context.uplink_addresses, family)]
            first = of_family(context.vm_addresses[forward.to], family)[0]
            if outside and target == first:
                rules += _forward(context, forward, target.ip, outside)
    hairpin = tuple(_hairpin(context)) if context.network.forwards else ()
    return rules + Rules(srcnat=hairpin)


def _forward(context: Context, forward: Forward, target: IPAddress, outside: list[IPAddress]) -> Rules:
    network, device = context.network, context.device
    ip = IP[family_of(target)]
    entries = [context.uplink_device] + ([] if network.port_isolation else [device])
    socket = f"[{target}]:{forward.to_port}" if ip == "ip6" else f"{target}:{forward.to_port}"
    match = f"{ip} daddr {members(outside)} {forward.protocol} dport {forward.port}"
    about = f"{network.name}: forward {forward.protocol} {forward.port} to {forward.to}"
    return Rules(
        dstnat=(NftRule(f"iifname {devices(entries)} {match} dnat {ip} to {socket}", about),),
        srcnat=_back_this_way(context, forward, target),
        dstnat_local=(NftRule(f"{match} dnat {ip} to {socket}", f"{about}, from the host"),),
        forward=(
            NftRule(
                f'iifname {devices(entries)} oifname "{device}" {ip} daddr {target} '
                f"{forward.protocol} dport {forward.to_port} ct status dnat accept",
                about,
            ),
            *(
                ()
                if network.port_isolation
                else (
                    NftRule(
                        f'iifname "{device}" oifname "{device}" {ip} saddr {target} '
                        f"{forward.protocol} sport {forward.to_port} "
                        "ct state established ct status dnat accept",
                        f"{about}, answers to the same network",
                    ),
                )
            ),
        ),
    )


def _back_this_way(context: Context, forward: Forward, target: IPAddress) -> tuple[NftRule, ...]:
    """Return the rule that keeps answers of a VM on several networks from leaving by another one."""
    if forward.to not in context.elsewhere:
        return ()
    ip = IP[family_of(target)]
    return (
        NftRule(
            f'oifname "{context.device}" ct status dnat {ip} daddr {target} '
            f"{forward.protocol} dport {forward.to_port} masquerade",
            f"{context.network.name}: {forward.to} is on other networks too, and is to answer by this one",
        ),
    )


def _hairpin(context: Context) -> Iterator[NftRule]:
    for family, ip, _ in _translated_families(context):
        sources = [
            *of_family(context.network.subnets, family),
            *(a.ip for a in of_family(context.uplink_addresses, family)),
        ]
        yield NftRule(
            f'oifname "{context.device}" ct status dnat {ip} saddr {members(sources)} masquerade',
            f"{context.network.name}: forwards used from inside answer by way of the host",
        )


def guarantees_for(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield what a NAT network promises beside its pairs."""
    yield from forward_guarantees(world, network)
    yield from same_port(world, network)
    yield from untracked(world, network)
    yield from way_errors(world, network)
    yield from link_scope(world, network)
    yield from forged_source(world, network)
    yield from alien_source(world, network)
    yield from not_on_lan(world, network)
    yield from no_advertisement(world, network)
