"""Promises about what a host itself sends: to itself, and under its addresses on private networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.guarantees import Guarantee, Outcome, Seen, Special
from vnetlab.modes.edges import beside, beyond_uplink, last, nowhere
from vnetlab.modes.journey import travel
from vnetlab.modes.packet import Fate, Packet
from vnetlab.modes.promise import CONNECT, ECHO, SINK, Label, from_fate
from vnetlab.modes.scopes import label, ports_of
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Family, Mode, family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.promise import Kind
    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import Host, IPAddress, Network


def host_flows(world: World) -> Iterator[Guarantee]:
    """Yield what is promised of the flows that hosts begin under each of their addresses."""
    for host in world.topology.hosts.values():
        yield from _to_itself(world, host)
        for side in world.interfaces.get(host.name, ()):
            network = side.network
            if network and world.properties[network.mode].presence:
                yield from _to_neighbours(world, host, side, network)
                if network.mode.value == "nat":
                    yield from _outward(world, side, network)
                    yield from _from_uplink(world, side, network)


def _to_itself(world: World, host: Host) -> Iterator[Guarantee]:
    about = Label("node.itself", f"{host.name} reaches itself by every address")
    for side in world.interfaces.get(host.name, ()):
        for address in side.addresses:
            packet = Packet(address.ip, address.ip)
            there = Fate(Outcome.DELIVERED, host.name, packet, Hop(side, side))
            guarantee = from_fate(
                world, about, host.name, Hop(side, side), packet, ECHO, there, Special.NONE, returns=True
            )
            yield replace(guarantee, seen=None)


def _to_neighbours(world: World, host: Host, side: Interface, network: Network) -> Iterator[Guarantee]:
    """Yield that the host reaches another network's VM under its address on this one, and is answered."""
    about = label(network, "host-address-outward", "its host may use its address there towards its other VMs")
    for other in host.networks.values():
        if other is network or not world.properties[other.mode].presence:
            continue
        out = next((i for i in world.interfaces[host.name] if i.network is other), None)
        for target in ports_of(world, other):
            for address in side.addresses:
                there = target.address(family_of(address))
                if out and there and len(world.interfaces[target.node]) == 1:
                    yield _sent(world, about, Hop(out, target), address.ip, there.ip, ECHO, answered=True)
            return


def _outward(world: World, side: Interface, network: Network) -> Iterator[Guarantee]:
    """Yield that nothing of the prefix leaves untranslated, the host's own included, and nothing else is."""
    uplink = next((i for i in world.interfaces[network.host] if i.nic == network.uplink), None)
    for machine in beyond_uplink(world, network)[:1]:
        for address in side.addresses:
            outside = uplink.address(family_of(address)) if uplink else None
            target = machine.address(family_of(address))
            if uplink and outside and target and machine.lan == uplink.lan:
                yield from _under(world, network, Hop(uplink, machine), address.ip, outside.ip, target.ip)


def _under(
    world: World, network: Network, hop: Hop, own: IPAddress, outside: IPAddress, target: IPAddress
) -> Iterator[Guarantee]:
    mine = label(network, "host-translated", "its host's own flows under its address are translated too")
    other = label(network, "host-untranslated", "what its host sends under other addresses is not translated")
    leak = label(network, "host-untracked", "nothing under its prefix leaves untranslated, whoever sends it")
    subnet = next(s for s in network.subnets if own in s)
    translated = _sent(world, mine, hop, own, target, ECHO, answered=True)
    assert translated.seen is not None
    yield replace(translated, seen=replace(translated.seen, source_address=outside))
    networks = world.topology.hosts[network.host].networks.values()
    translated_too = [s for n in networks if n.mode is Mode.NAT for s in n.subnets]
    for source in beside(subnet):
        if source not in world.own_addresses[network.host] and not any(source in s for s in translated_too):
            yield _sent(world, other, hop, source, target, SINK, answered=False)
    for source in (own, last(subnet, world.taken)):
        flow = _sent(world, leak, hop, source, target, replace(CONNECT, answer=False), answered=False)
        untracked = replace(flow.flow, special=Special.UNTRACKED)
        yield replace(flow, flow=untracked, expected=Outcome.SILENT, seen=None)


def _from_uplink(world: World, side: Interface, network: Network) -> Iterator[Guarantee]:
    """Yield that the host speaks to a VM under its LAN address without translation, where it chooses that."""
    about = label(network, "host-own-source", "its host speaks to its VMs under whatever address it has")
    uplink = next((i for i in world.interfaces[network.host] if i.nic == network.uplink), None)
    for target in ports_of(world, network)[:1]:
        for address in uplink.addresses if uplink else ():
            there = target.address(family_of(address))
            if there and len(world.interfaces[target.node]) == 1:
                yield _sent(world, about, Hop(side, target), address.ip, there.ip, ECHO, answered=True)


def _sent(
    world: World,
    about: Label,
    hop: Hop,
    source: IPAddress,
    target: IPAddress,
    kind: Kind,
    *,
    answered: bool,
) -> Guarantee:
    """Return the promise that a packet of the host's own kernel, under this source, is delivered."""
    packet = Packet(source, target)
    there = Fate(Outcome.DELIVERED, hop.to.node, packet, hop)
    guarantee = from_fate(world, about, hop.to.node, hop, packet, kind, there, Special.NONE, returns=answered)
    flow = replace(guarantee.flow, source_address=source, out_nic="", next_hop_mac="")
    seen = Seen(hop.to.nic, source, hop.by.mac, 64, destination_address=target)
    return replace(guarantee, flow=flow, seen=seen, answered=answered)


def any_source(world: World) -> Iterator[Guarantee]:
    """Yield that a host hears any source on its LANs: reverse paths (RFC 3704) are not what it filters by.

    Asked is under an address that no route leads to, or that its route to leads by another NIC.
    """
    for host in world.topology.hosts.values():
        about = Label(
            "node.any-source", f"{host.name} takes packets by any of its NICs, whatever their way back"
        )
        sides = [i for i in world.interfaces.get(host.name, ()) if i.network is None]
        for near in sides:
            machine = next((i for i in world.on_lan[near.lan] if i.node in world.topology.machines), None)
            far = next((i for i in sides if i.lan != near.lan), None)
            for family in Family:
                own, there = near.address(family), far.address(family) if far else None
                source = (
                    last(there.network, world.taken) if there else next(iter(nowhere(world, family)), None)
                )
                if machine and own and source and machine.address(family):
                    packet = Packet(source, own.ip)
                    hop = Hop(machine, near)
                    fate = Fate(Outcome.DELIVERED, host.name, packet, hop)
                    yield from_fate(
                        world, about, host.name, hop, packet, SINK, fate, Special.CRAFTED, returns=False
                    )


def absent_hosts(world: World) -> Iterator[Guarantee]:
    """Yield that a host has no address on an isolated network, neither for itself nor for its LANs.

    Asked is for the first address that no VM there has: the one that a host takes, where it takes one.
    """
    for network in world.topology.networks:
        if world.properties[network.mode].presence or not network.lan.host:
            continue
        about = label(network, "host-address-absent", "its host has no address there")
        taken = {a.ip for i in world.on_lan.get(network.lan, ()) for a in i.addresses}
        for subnet in network.subnets:
            free = next((a for a in subnet.hosts() if a not in taken), None)
            if free is not None and subnet.version == 4:
                yield from _not_the_host(world, about, network.host, free)


def _not_the_host(world: World, about: Label, host: str, address: IPAddress) -> Iterator[Guarantee]:
    family = family_of(address)
    for near in world.interfaces[host]:
        own = near.address(family)
        if near.network is not None or own is None or world.way(host, address) is not None:
            continue
        packet = Packet(own.ip, address)
        silent = Fate(Outcome.SILENT, host, packet)
        hop = Hop(near, near)
        guarantee = from_fate(world, about, host, hop, packet, ECHO, silent, Special.VACANT)
        yield replace(
            guarantee, flow=replace(guarantee.flow, source_address=None, out_nic="", next_hop_mac="")
        )
        break
    for near in world.interfaces[host]:
        machine = next((i for i in world.on_lan[near.lan] if i.node in world.topology.machines), None)
        own = machine.address(family) if machine else None
        if near.network is not None or machine is None or own is None:
            continue
        packet = Packet(own.ip, address)
        silent = Fate(Outcome.SILENT, host, packet)
        fate = travel(world, packet, Hop(machine, near))
        # Whatever the host says of it, it does not hear it itself.
        fate = silent if fate.unresolved or fate.outcome is Outcome.DELIVERED else fate
        yield from_fate(world, about, host, Hop(machine, near), packet, SINK, fate, Special.VACANT)
        break
