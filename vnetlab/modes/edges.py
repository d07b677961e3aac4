"""Promises at the edges of what a network is: the last address that is its own, the first that is not.

A network's VMs are its whole prefix, whoever has an address in it; one beside it is a stranger's. Rules that
are off by one address, one bit or one port keep every promise about the VMs that are there.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.guarantees import Guarantee, Outcome, Protocol, Special
from vnetlab.modes.journey import travel
from vnetlab.modes.packet import Fate, Packet
from vnetlab.modes.promise import CONNECT, ECHO, SINK, UDP, Kind, from_fate, promised
from vnetlab.modes.scopes import label, outsiders, ports_of
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Family, family_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from vnetlab.modes.promise import Label
    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import IPAddress, IPNetwork, Network

PRIVILEGED_PORT = 1023
"""The last source port that a translation must not choose (RFC 6056, 2.1; RFC 4787, REQ-3)."""
NOWHERE: dict[Family, tuple[IPAddress, IPAddress]] = {
    # Shared address space (RFC 6598) and benchmarks (RFC 2544); documentation (RFC 9637) and unassigned.
    Family.IPV4: (IPv4Address("100.127.255.253"), IPv4Address("198.19.255.253")),
    Family.IPV6: (IPv6Address("3fff:fff:ffff::fffd"), IPv6Address("fcff:ffff:ffff::fffd")),
}
"""Addresses of nobody, one in each half of each family's space."""
LINK_LOCAL_END = IPv6Address("febf:ffff:ffff:ffff:ffff:ffff:ffff:fffd")
BEYOND_LINK_LOCAL = IPv6Address("fec0::fffd")
"""The last addresses of fe80::/10 (RFC 4291, 2.5.6), and one behind it."""


def nowhere(world: World, family: Family) -> tuple[IPAddress, ...]:
    """Return the addresses of nobody that no prefix of the topology has either."""
    return tuple(n for n in NOWHERE[family] if not any(n in prefix for prefix in world.prefixes))


def beside(prefix: IPNetwork) -> tuple[IPAddress, ...]:
    """Return the addresses right before and right behind a prefix, where there are such."""
    before, behind = int(prefix.network_address) - 1, int(prefix.broadcast_address) + 1
    kind = type(prefix.network_address)
    low, high = (1 << 24, 0xDFFFFFFF) if prefix.version == 4 else (1 << 120, (0xFF << 120) - 1)
    return tuple(kind(n) for n in (before, behind) if low <= n <= high)


def group_addresses(world: World) -> frozenset[IPAddress]:
    """Return the directed broadcasts and router anycasts, which more than one node may have."""
    return world.group_addresses


def last(prefix: IPNetwork, taken: Container[IPAddress] = ()) -> IPAddress:
    """Return the last address of a prefix that a node may have, and that is not taken.

    The very last is a broadcast's in IPv4; in IPv6 the last 128 are anycasts (RFC 2526, 2).
    """
    reserved = {4: 1, 6: 128}[prefix.version] if prefix.num_addresses > 256 or prefix.version == 4 else 0
    end = int(prefix.broadcast_address) - (reserved if prefix.max_prefixlen - prefix.prefixlen > 1 else 0)
    first = int(prefix.network_address)
    return next((a for n in range(end, first, -1) if (a := ip_address(n)) not in taken), ip_address(end))


def edges(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield what is promised at the edges of a network on which its host is present."""
    side = next((i for i in world.interfaces[network.host] if i.network is network), None)
    sender = next(iter(ports_of(world, network)), None)
    if side is None or sender is None:
        return
    for subnet in network.subnets:
        own = next((a.ip for a in side.addresses if a.ip in subnet), None)
        if own is not None and sender.address(family_of(subnet)):
            yield from _sources_inside(world, network, Hop(sender, side), subnet, own)
            yield from _outward(world, network, Hop(sender, side), subnet)
            yield from _reaching(world, network, Hop(sender, side), subnet)
            yield from _hairpins(world, network, side, subnet)
            yield from _sources_outside(world, network, side, subnet)
            yield from _vacant(world, network, side, subnet)
            yield from _beside(world, network, subnet)


def _beside(world: World, network: Network, subnet: IPNetwork) -> Iterator[Guarantee]:
    """Yield what becomes of an outsider's packets to addresses beside the prefix."""
    about = label(network, "beside", "what is beside its prefix is no part of it")
    somebodys = world.taken | group_addresses(world)
    for machine in beyond_uplink(world, network)[:1]:
        near = next(
            (i for i in world.interfaces[network.host] if i.lan == machine.lan and not i.network), None
        )
        own = machine.address(family_of(subnet))
        if near is None or own is None:
            continue
        for target in (each for each in beside(subnet) if each not in somebodys):
            packet = Packet(own.ip, target)
            if travel(world, packet, Hop(machine, near)).outcome in (Outcome.REJECTED, Outcome.SILENT):
                yield from vacant(world, about, network.host, Hop(machine, near), packet, Special.CRAFTED)


def _sources_inside(
    world: World, network: Network, hop: Hop, subnet: IPNetwork, own: IPAddress
) -> Iterator[Guarantee]:
    """Yield which sources a VM may speak to its host under."""
    family = family_of(subnet)
    mine = label(network, "source-edge", "its VMs are its whole prefix, and no address beside it")
    sources: list[IPAddress] = [
        last(subnet, world.taken),
        *beside(subnet),
        *nowhere(world, family)[:1],
    ]
    if family is Family.IPV6:
        sources.append(BEYOND_LINK_LOCAL)
        packet = Packet(LINK_LOCAL_END, own)
        there = Fate(Outcome.DELIVERED, network.host, packet, hop)
        yield from_fate(world, mine, network.host, hop, packet, SINK, there, Special.CRAFTED, returns=False)
    for source in sources:
        if source in world.own_addresses[network.host]:
            continue
        yield from one(world, mine, network.host, hop, Packet(source, own), SINK, Special.CRAFTED)


def one(
    world: World, about: Label, node: str, hop: Hop, packet: Packet, kind: Kind, special: Special
) -> Iterator[Guarantee]:
    """Yield what is promised of one packet; an error about a source not the sender's own is not for it."""
    guarantee = promised(world, about, node, hop, packet, kind, special)
    if guarantee is None:
        return
    if guarantee.expected is Outcome.REJECTED and packet.source not in world.own_addresses[hop.by.node]:
        guarantee = replace(guarantee, expected=Outcome.SILENT, error_from=None, error_code="")
    yield guarantee


def _outward(world: World, network: Network, hop: Hop, subnet: IPNetwork) -> Iterator[Guarantee]:
    """Yield that the last address of the prefix goes where the VM's own goes, and no unprivileged port."""
    about = label(network, "source-edge-outward", "its whole prefix goes where its VMs may go")
    family = family_of(subnet)
    for machine in beyond_uplink(world, network):
        target = machine.address(family)
        if target is None:
            continue
        packet = Packet(last(subnet, world.taken), target.ip)
        # Two kinds: what has ports is translated by a rule of its own.
        for kind in (SINK, replace(ECHO, answer=False)):
            yield from one(world, about, machine.node, hop, packet, kind, Special.CRAFTED)
        yield from _from_low_ports(world, network, hop, machine, target.ip)
        return


def _reaching(world: World, network: Network, hop: Hop, subnet: IPNetwork) -> Iterator[Guarantee]:
    """Yield that the last address of the prefix goes to the networks that the VM's own may begin flows to."""
    about = label(network, "source-edge-reach", "what `reach` opens is open to its whole prefix")
    networks = world.topology.hosts[network.host].networks
    for name in network.reach:
        target = next(iter(ports_of(world, networks[name])), None)
        there = target.address(family_of(subnet)) if target else None
        if target and there:
            packet = Packet(last(subnet, world.taken), there.ip)
            yield from one(world, about, target.node, hop, packet, SINK, Special.CRAFTED)


def _hairpins(world: World, network: Network, side: Interface, subnet: IPNetwork) -> Iterator[Guarantee]:
    """Yield that forwards are for the whole prefix, used from inside."""
    about = label(network, "forward-edge", "its forwards are for its whole prefix")
    uplink = world.topology.hosts[network.host].nics.get(network.uplink)
    outside = uplink.address(family_of(subnet)) if uplink else None
    for forward in network.forwards:
        sender = next((i for i in ports_of(world, network) if i.node != forward.to), None)
        if sender and outside and sender.address(family_of(subnet)):
            kind = Kind(Protocol(forward.protocol), forward.port, answer=False)
            packet = Packet(last(subnet, world.taken), outside.ip)
            yield from one(world, about, forward.to, Hop(sender, side), packet, kind, Special.CRAFTED)


def beyond_uplink(world: World, network: Network) -> list[Interface]:
    """Return the machines outside, those on the network's uplink first."""
    uplink = world.topology.hosts[network.host].nics.get(network.uplink)
    return sorted(outsiders(world, network), key=lambda m: uplink is None or m.lan != uplink.lan)


def _from_low_ports(
    world: World, network: Network, hop: Hop, machine: Interface, target: IPAddress
) -> Iterator[Guarantee]:
    own = hop.by.address(family_of(target))
    if network.mode.value != "nat" or own is None:
        return
    about = label(network, "source-port", "it goes out from ports of 1024 and above, whatever the VM's is")
    for kind in (CONNECT, UDP):
        for guarantee in one(world, about, machine.node, hop, Packet(own.ip, target), kind, Special.CRAFTED):
            yield replace(guarantee, flow=replace(guarantee.flow, source_port=PRIVILEGED_PORT))


def _sources_outside(
    world: World, network: Network, side: Interface, subnet: IPNetwork
) -> Iterator[Guarantee]:
    """Yield that nobody outside speaks under the prefix, and anybody under an address beside it."""
    about = label(
        network, "alien-source-edge", "its prefix is no source for others; what is beside it may be"
    )
    family = family_of(subnet)
    for machine in outsiders(world, network):
        near = next(
            (i for i in world.interfaces[network.host] if i.lan == machine.lan and not i.network), None
        )
        own = near.address(family) if near else None
        if near is None or own is None:
            continue
        for source in (last(subnet, world.taken), *beside(subnet)):
            if source not in world.own_addresses[network.host] and source not in own.network:
                packet = Packet(source, own.ip)
                hop = Hop(machine, near)
                yield from one(world, about, network.host, hop, packet, SINK, Special.CRAFTED)
        return


def vacant(
    world: World, about: Label, node: str, hop: Hop, packet: Packet, special: Special = Special.VACANT
) -> Iterator[Guarantee]:
    """Yield what becomes of a packet whose destination nobody has."""
    fate = travel(world, packet, hop)
    if fate.unresolved:
        fate = replace(fate, outcome=Outcome.SILENT, error="", error_from=None)
    yield from_fate(world, about, node, hop, packet, SINK, fate, special)


def _vacant(world: World, network: Network, side: Interface, subnet: IPNetwork) -> Iterator[Guarantee]:
    """Yield that an address of the network that nobody has is treated as those that somebody has."""
    about = label(network, "vacant", "an address that nobody has is treated like its neighbours")
    family, target = family_of(subnet), last(subnet, world.taken)
    if world.owner(network.lan, target) is not None:
        return
    for machine in outsiders(world, network):
        near = next(
            (i for i in world.interfaces[network.host] if i.lan == machine.lan and not i.network), None
        )
        own = machine.address(family)
        if near is None or own is None or near.nic != network.uplink:
            continue
        yield from vacant(world, about, network.host, Hop(machine, near), Packet(own.ip, target))
        break
    for other in world.topology.hosts[network.host].networks.values():
        sender = next(iter(ports_of(world, other)), None)
        gate = next((i for i in world.interfaces[network.host] if i.network is other), None)
        own = sender.address(family) if sender else None
        if sender and gate and own:
            yield from vacant(world, about, network.host, Hop(sender, gate), Packet(own.ip, target))
