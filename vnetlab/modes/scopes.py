"""Promises of a network beside its pairs: how far broadcasts go, what a forged source gets, who hears whom.

Each mode module picks those that it makes.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.guarantees import Guarantee, Outcome, Protocol, Seen, Special
from vnetlab.modes.packet import Fate, Packet
from vnetlab.modes.pairs import BROADCAST_MAC, first_hop, resolution
from vnetlab.modes.promise import CONNECT, ECHO, SINK, Kind, Label, flow_of, from_fate
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Family, family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import Host, IPAddress, Network

ALL_NODES = IPv6Address("ff02::1")  # RFC 4291, 2.7.1
_LIMITED_BROADCAST = IPv4Address("255.255.255.255")  # RFC 919
_UNSPECIFIED = IPv4Address(0)
_MDNS: dict[Family, IPAddress] = {
    Family.IPV4: IPv4Address("224.0.0.251"),
    Family.IPV6: IPv6Address("ff02::fb"),
}  # RFC 6762
_DHCP_SERVER_PORT = 67  # RFC 2131, 4.1
_MDNS_PORT = 5353
_MDNS_QUERY = Kind(Protocol.UDP, _MDNS_PORT, answer=False)
_DISCOVER = Kind(Protocol.UDP, _DHCP_SERVER_PORT, answer=False)
# An echo to all nodes would be answered by all at once, and each of them first asks all others who sent it.
_GROUP_FLOWS: tuple[tuple[str, Kind, IPAddress, str, Special], ...] = (
    ("broadcast-scope", SINK, _LIMITED_BROADCAST, BROADCAST_MAC, Special.BROADCAST),
    ("multicast-scope", _MDNS_QUERY, _MDNS[Family.IPV4], "", Special.MULTICAST),
    ("multicast-scope", _MDNS_QUERY, _MDNS[Family.IPV6], "", Special.MULTICAST),
    ("multicast-scope", SINK, ALL_NODES, "", Special.MULTICAST),
    ("dhcp-scope", _DISCOVER, _LIMITED_BROADCAST, BROADCAST_MAC, Special.DHCP),
)


def label(network: Network, promise: str, text: str) -> Label:
    """Return the label of a promise that a network makes as a whole."""
    return Label(f"{network.mode.value}.{promise}", f"{network.host}/{network.name}: {text}", network)


def takes_part(host: Host) -> bool:
    """Tell whether a host is a part of the lab on layer 3.

    One that has bridge networks only is not: what it says to those who ask it is its own affair.
    """
    return any(network.lan.host for network in host.networks.values())


def ports_of(world: World, network: Network) -> list[Interface]:
    """Return the VMs' interfaces on a network."""
    return [i for i in world.on_lan.get(network.lan, ()) if i.port and i.network is network]


def outside_interfaces(world: World, network: Network) -> list[Interface]:
    """Return one interface of every node that has none in the network's domain, its host left out."""
    inside = {i.node for i in world.on_lan.get(network.lan, ())} | {network.host}
    return [found[0] for node, found in world.interfaces.items() if node not in inside]


def group_mac(group: IPAddress) -> str:
    """Return the Ethernet address of a multicast group (RFC 1112, 6.4; RFC 2464, 7)."""
    if group.version == 4:
        low = [group.packed[1] & 0x7F, *group.packed[2:]]
        return "01:00:5e:" + ":".join(f"{byte:02x}" for byte in low)
    return "33:33:" + ":".join(f"{byte:02x}" for byte in group.packed[-4:])


def link_local(mac: str) -> IPv6Address:
    """Return the link-local address that a device makes of its MAC (RFC 4291, appendix A)."""
    octets = [int(part, 16) for part in mac.split(":")]
    identifier = [octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]]
    return IPv6Address(bytes([0xFE, 0x80, *[0] * 6, *identifier]))


def link_scope(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that broadcasts and multicasts reach the network's own domain and nobody outside it."""
    sender = next(iter(ports_of(world, network)), None)
    if sender is None:
        return
    for promise, kind, group, mac, special in _GROUP_FLOWS:
        about = label(network, promise, "link-scope traffic stays on its own link")
        yield from _to_group(world, about, sender, kind, group, mac or group_mac(group), special)


def _to_group(
    world: World, about: Label, sender: Interface, kind: Kind, group: IPAddress, mac: str, special: Special
) -> Iterator[Guarantee]:
    source = sender.address(family_of(group))
    if source is None or about.network is None:
        return
    start = _UNSPECIFIED if special is Special.DHCP else source.ip
    wire = Hop(sender, replace(sender, mac=mac))
    # Answers to a group are unicast and each from another node: what is promised is the scope alone.
    flow = flow_of(world, wire, Packet(start, group), replace(kind, answer=False), special)
    flow = replace(flow, source_port=68 if special is Special.DHCP else flow.source_port)
    base = Guarantee(
        about.id, about.mode, about.network_name, sender.node, "", flow, Outcome.SILENT, about.promise
    )
    for peer in world.on_lan[sender.lan]:
        if peer.node == sender.node or peer.node in world.topology.hosts or peer.address(flow.family) is None:
            continue
        if peer.port and peer.network is about.network and about.network.port_isolation:
            yield replace(base, destination=peer.node)
            continue
        seen = Seen(peer.nic, start, sender.mac, flow.ttl, destination_address=group)
        yield replace(base, destination=peer.node, expected=Outcome.DELIVERED, seen=seen)
    for outsider in outside_interfaces(world, about.network):
        if outsider.node not in world.topology.hosts:
            yield replace(base, destination=outsider.node)


def forged_source(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that what a VM sends outward under an address that is not its network's arrives nowhere."""
    sender = next(iter(ports_of(world, network)), None)
    if sender is None:
        return
    about = label(network, "forged-source", "a source that is not of the network goes nowhere")
    for target in outsiders(world, network):
        for address in target.addresses:
            hop, _ = first_hop(world, sender.node, target, address.ip)
            mine = sender.address(family_of(address))
            claimed = _somebody_else(world, network, target, family_of(address))
            if hop is None or mine is None or claimed is None or hop.by.lan != sender.lan:
                continue
            for kind in (ECHO, SINK):
                packet = Packet(claimed, address.ip)
                silent = Fate(Outcome.SILENT, network.host, packet)
                yield from_fate(world, about, target.node, hop, packet, kind, silent, Special.FORGED)


def outsiders(world: World, network: Network) -> list[Interface]:
    """Return machines on the segments of the network's host: the first that a leak would reach."""
    segments = {nic.lan for nic in world.topology.hosts[network.host].nics.values()}
    return [
        i
        for i in outside_interfaces(world, network)
        if i.node in world.topology.machines and i.lan in segments
    ]


def _somebody_else(world: World, network: Network, target: Interface, family: Family) -> IPAddress | None:
    """Return an address of the target's own segment that belongs to nobody: the most tempting lie."""
    for address in target.addresses:
        if family_of(address) is not family:
            continue
        taken = {a.ip for i in world.on_lan[target.lan] for a in i.addresses}
        # From the end: derived addresses are anywhere, but the last ones are rarely given out by hand.
        base = int(address.network.broadcast_address)
        candidates = (type(address.ip)(base - n) for n in range(1, 64))
        return next((c for c in candidates if c not in taken and c in address.network), None)
    return None


def alien_source(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that a machine outside gets nothing into the host under an address of a private network."""
    host = world.topology.hosts[network.host]
    about = label(network, "alien-source", "its addresses are no source for anybody outside")
    for machine in outsiders(world, network):
        side = next((i for i in world.interfaces[host.name] if i.lan == machine.lan and not i.network), None)
        vm = next(iter(ports_of(world, network)), None)
        if side is None or vm is None:
            continue
        for address in side.addresses:
            claimed = vm.address(family_of(address))
            if claimed is None:
                continue
            packet = Packet(claimed.ip, address.ip)
            silent = Fate(Outcome.SILENT, host.name, packet)
            kind = SINK
            yield from_fate(world, about, host.name, Hop(machine, side), packet, kind, silent, Special.ALIEN)


def untracked(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that a packet of no connection neither leaves the network, translated or not, nor enters it."""
    about = label(network, "untracked", "what connection tracking does not know goes neither out nor in")
    vm = next(iter(ports_of(world, network)), None)
    if vm is None:
        return
    uplink = next(i for i in world.interfaces[network.host] if i.nic == network.uplink)
    kind = replace(CONNECT, answer=False)
    for machine in outsiders(world, network):
        for address in machine.addresses:
            mine = vm.address(family_of(address))
            if mine is None or machine.lan != uplink.lan:
                continue
            out, _ = first_hop(world, vm.node, machine, address.ip)
            for hop, packet, to in (
                (out, Packet(mine.ip, address.ip), machine),
                (Hop(machine, uplink), Packet(address.ip, mine.ip), vm),
            ):
                silent = Fate(Outcome.SILENT, network.host, packet)
                # A VM that is on the machine's own LAN too needs no host to get there.
                if hop and hop.by in (vm, machine):
                    yield from_fate(world, about, to.node, hop, packet, kind, silent, Special.UNTRACKED)


def no_advertisement(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that a VM's router advertisement (RFC 4861, 4.2) changes no route of its host or of others."""
    sender = next(iter(ports_of(world, network)), None)
    if sender is None:
        return
    about = label(network, "router-advertisement", "a VM's router advertisement changes nobody's routes")
    packet = Packet(link_local(sender.mac), ALL_NODES, ttl=255)
    hop = Hop(sender, replace(sender, mac=group_mac(ALL_NODES)))
    for node in dict.fromkeys((network.host, *(i.node for i in world.on_lan[network.lan]))):
        vm = world.topology.vms.get(node)
        if node == sender.node or (vm and vm.backend == "tap"):
            continue
        silent = Fate(Outcome.SILENT, node, packet)
        kind = Kind(Protocol.ICMP, answer=False)
        yield from_fate(world, about, node, hop, packet, kind, silent, Special.ADVERTISEMENT)


def not_on_lan(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that the host answers no ARP request on its LANs for its address on a private network."""
    about = label(network, "address-not-on-lan", "its host address is not resolved on the LAN")
    for machine in outsiders(world, network):
        for address in network.addresses:
            mine = machine.address(family_of(address))
            if mine:
                yield resolution(about, machine, network.host, mine.ip, address.ip, Outcome.SILENT)


def host_is_absent(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield that nothing of the host answers on the network, whatever address a VM asks for."""
    about = label(network, "host-absent", "the host is not there")
    sender = next(iter(ports_of(world, network)), None)
    if sender is None:
        return
    asked: list[IPAddress] = [*world.own_addresses[network.host], link_local(network.mac)]
    asked += [subnet[1] for subnet in network.subnets]
    own = {a.ip for i in ports_of(world, network) for a in i.addresses}
    for address in sorted(set(asked) - own, key=str):
        mine = sender.address(family_of(address))
        source = link_local(sender.mac) if address.version == 6 else (mine.ip if mine else None)
        if source:
            yield resolution(about, sender, network.host, source, address, Outcome.SILENT)
    packet = Packet(link_local(sender.mac), ALL_NODES)
    hop = Hop(sender, replace(sender, mac=group_mac(ALL_NODES)))
    silent = Fate(Outcome.SILENT, network.host, packet)
    yield from_fate(world, about, network.host, hop, packet, ECHO, silent, Special.MULTICAST)
