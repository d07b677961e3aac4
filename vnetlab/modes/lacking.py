"""Promises at the edges of networks: where no route leads, families that are lacking, ways by the host."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from itertools import pairwise
from typing import TYPE_CHECKING

from vnetlab.guarantees import Flow, Guarantee, Outcome, Protocol, Special
from vnetlab.modes.edges import beside, group_addresses
from vnetlab.modes.journey import travel
from vnetlab.modes.packet import Fate, Packet
from vnetlab.modes.promise import ECHO, SINK, TCP_PORT, Label, from_fate
from vnetlab.modes.scopes import label, link_local, ports_of, takes_part
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Family, Mode, family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import IPAddress, Network

_NOWHERE = (ip_address("198.18.0.1"), ip_address("2001:2::1"))
"""Addresses for benchmarks, which no network outside a laboratory has (RFC 2544, C.2.2; RFC 5180, 8)."""
_OFTEN = tuple(ip_address(f"198.18.0.{n}") for n in range(2, 5))
"""Further ones, so that a router is asked more often at once than a kernel would answer by itself.

Linux's routing says `no route` five times in a row to one sender, then once a second (`ip_error` of the
kernel's net/ipv4/route.c, with `error_burst` and `error_cost`)."""
_KINDS = (ECHO, SINK)


def lacking(world: World) -> Iterator[Guarantee]:
    """Yield what is promised at the edges of every network and router."""
    for network in world.topology.networks:
        if world.properties[network.mode].presence:
            yield from _by_way_of_host(world, network)
            yield from _absent_families(world, network)
            yield from _directed_broadcast(world, network)
        if network.mode is Mode.NAT:
            yield from _untracked_from_host(world, network)
    yield from _no_routes(world)


def _host_side(world: World, network: Network) -> Interface:
    return next(i for i in world.interfaces[network.host] if i.network is network)


def _by_way_of_host(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield what becomes of a packet that a VM sends to its host, for another VM or its own other address."""
    side = _host_side(world, network)
    about = label(network, "by-way-of-host", "the host hands on between its VMs only what its subnets need")
    ports = ports_of(world, network)
    for sender, target in [*pairwise(ports), *((port, port) for port in ports)][:1]:
        for address in target.addresses:
            own = sender.address(family_of(address))
            if own is None or own == address:
                continue
            packet = Packet(own.ip, address.ip)
            fate = travel(world, packet, Hop(sender, side))
            if not fate.unresolved:
                # A kernel answers nobody who speaks under its own address.
                for kind in _KINDS if target is not sender else (SINK,):
                    yield from_fate(
                        world, about, target.node, Hop(sender, side), packet, kind, fate, Special.EDGE
                    )


def _absent_families(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that the host has no part in a family of which the network has no subnet."""
    sender = next(iter(ports_of(world, network)), None)
    side = _host_side(world, network)
    for family in Family:
        target = _lan_address(world, network.host, family)
        if sender is None or target is None or family in network.families():
            continue
        about = label(
            network, f"no-{family}", f"has no {family} subnet, and the host hears no {family} there"
        )
        packet = Packet(_link_local(sender.mac, family), target)
        silent = Fate(Outcome.SILENT, network.host, packet)
        for kind in _KINDS:
            yield from_fate(world, about, network.host, Hop(sender, side), packet, kind, silent, Special.EDGE)


def _lan_address(world: World, host: str, family: Family) -> IPAddress | None:
    sides = (i for i in world.interfaces[host] if i.network is None)
    return next((own.ip for side in sides if (own := side.address(family))), None)


def _link_local(mac: str, family: Family) -> IPAddress:
    """Return the address that a machine gives itself of its MAC (RFC 3927, 2.1; RFC 4291, appendix A)."""
    if family is Family.IPV6:
        return link_local(mac)
    octets = bytes.fromhex(mac.replace(":", ""))
    return IPv4Address(bytes([169, 254, 1 + octets[4] % 254, octets[5]]))


def _directed_broadcast(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that no VM broadcasts on a LAN of its host (RFC 2644)."""
    sender = next(iter(ports_of(world, network)), None)
    own = sender.address(Family.IPV4) if sender else None
    if sender is None or own is None:
        return
    side = _host_side(world, network)
    about = label(network, "directed-broadcast", "its VMs do not broadcast on the LANs of the host")
    for nic in world.interfaces[network.host]:
        lan = nic.address(Family.IPV4) if nic.network is None else None
        machine = next((i for i in world.on_lan[nic.lan] if i.node in world.topology.machines), None)
        if lan is None or machine is None:
            continue
        packet = Packet(own.ip, lan.network.broadcast_address)
        silent = Fate(Outcome.SILENT, network.host, packet)
        yield from_fate(world, about, machine.node, Hop(sender, side), packet, SINK, silent, Special.EDGE)


def _untracked_from_host(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that the host's own packets of no connection do not leave under a source of the network.

    Nothing translates them: what follows the translation has to stop them.
    """
    about = label(
        network, "untracked-from-host", "nothing leaves under its addresses, not even from its host"
    )
    side = _host_side(world, network)
    uplink = next(i for i in world.interfaces[network.host] if i.nic == network.uplink)
    for family in Family:
        own = side.address(family)
        for machine in world.on_lan[uplink.lan]:
            address = machine.address(family)
            if own is None or address is None or machine.node not in world.topology.machines:
                continue
            flow = Flow(
                family,
                Protocol.TCP,
                address.ip,
                own.ip,
                world.source_port(network.host),
                TCP_PORT,
                answer=False,
                special=Special.UNTRACKED,
            )
            yield Guarantee(
                about.id,
                about.mode,
                about.network_name,
                network.host,
                machine.node,
                flow,
                Outcome.SILENT,
                about.promise,
            )
            break


def _no_routes(world: World) -> Iterator[Guarantee]:
    """Yield how a destination is denied that a host or router has no route to."""
    for node in (*world.topology.hosts, *world.topology.machines):
        if node not in world.topology.hosts and not world.is_router(node):
            continue
        addresses = (*_NOWHERE, *(() if node in world.topology.hosts else _unrouted(world, node)))
        for side in _asked_sides(world, node):
            sender = next((i for i in world.on_lan[side.lan] if i.node != node and i.addresses), None)
            for address in addresses:
                own = sender.address(family_of(address)) if sender else None
                if sender is None or own is None or world.way(node, address):
                    continue
                yield from _no_route(world, Hop(sender, side), Packet(own.ip, address))


def _unrouted(world: World, router: str) -> Iterator[IPAddress]:
    """Yield what else a router is asked for in vain: often, and right beside its links' prefixes."""
    yield from _OFTEN
    groups = group_addresses(world)
    links = dict.fromkeys(a.network for side in world.interfaces[router] for a in side.addresses)
    yield from (address for link in links for address in beside(link) if address not in groups)


def _asked_sides(world: World, node: str) -> Iterator[Interface]:
    """Yield where a node is asked: every network of a host and its LANs; of a router one segment."""
    host = world.topology.hosts.get(node)
    if host is None:
        yield from world.interfaces[node][:1]
        return
    if not takes_part(host):
        return
    for side in world.interfaces.get(node, ()):
        if side.network is None or world.properties[side.network.mode].presence:
            yield side


def _no_route(world: World, hop: Hop, packet: Packet) -> Iterator[Guarantee]:
    fate = travel(world, packet, hop)
    witness = _witness(world, hop)
    if witness is None or fate.outcome is Outcome.DELIVERED:
        return
    network = hop.to.network
    text = f"{hop.to.node} hands on nothing to where it has no route"
    about = label(network, "no-route", text) if network else Label("segment.no-route", text)
    for kind in _KINDS:
        yield from_fate(world, about, witness, hop, packet, kind, fate, Special.EDGE)


def _witness(world: World, hop: Hop) -> str | None:
    """Return who must not see it: a host itself, else a neighbour of the router, on another segment first."""
    if hop.to.node in world.topology.hosts:
        return hop.to.node
    sides = sorted(world.interfaces[hop.to.node], key=lambda side: side.lan == hop.to.lan)
    near = [other.node for side in sides for other in world.on_lan[side.lan]]
    return next((node for node in (*near, *world.interfaces) if node not in (hop.to.node, hop.by.node)), None)
