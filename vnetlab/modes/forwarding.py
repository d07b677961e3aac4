"""Promises of forwarded ports: who gets through to the VM, by which way, and who does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.guarantees import Guarantee, Outcome, Protocol, Seen, Special
from vnetlab.modes.journey import travel
from vnetlab.modes.packet import Packet
from vnetlab.modes.pairs import first_hop
from vnetlab.modes.promise import Kind, Label, flow_of, from_fate, own_address, promised
from vnetlab.modes.world import Hop
from vnetlab.topology.model import family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import Forward, IPAddress, Network


def forward_guarantees(world: World, network: Network) -> Iterator[Guarantee]:
    """Yield what is promised of every forwarded port of a network."""
    host = world.topology.hosts[network.host]
    uplink = next(i for i in world.interfaces[host.name] if i.nic == network.uplink)
    for forward in network.forwards:
        vm = next(i for i in world.interfaces[forward.to] if i.network is network)
        for address in uplink.addresses:
            if vm.address(family_of(address)) is None:
                continue
            for source in world.interfaces:
                if source == host.name:
                    yield _from_host(world, network, forward, vm, address.ip)
                elif source != forward.to:
                    yield from _from(world, network, forward, source, uplink, address.ip)
        yield from _not_directly(world, network, forward, vm, uplink)


def _kind(forward: Forward) -> Kind:
    return Kind(Protocol(forward.protocol), forward.port)


def _label(network: Network, forward: Forward, promise: str, text: str) -> Label:
    name = f"{network.host}/{network.name}"
    about = f"{name}: {forward.protocol} port {forward.port} of the uplink {text}"
    return Label(f"{network.mode.value}.{promise}", about, network)


def _from(
    world: World, network: Network, forward: Forward, source: str, uplink: Interface, address: IPAddress
) -> Iterator[Guarantee]:
    hop, special = first_hop(world, source, uplink, address)
    sender = own_address(hop.by, address, hop) if hop else None
    if hop is None or sender is None:
        return
    packet = Packet(sender, address, forward.protocol, forward.port)
    fate = travel(world, packet, hop)
    if fate.unresolved:
        return
    if fate.outcome is Outcome.DELIVERED and fate.node == forward.to:
        hairpin = hop.by.network is network
        promise = "forward-hairpin" if hairpin else "forward"
        about = _label(network, forward, promise, f"is handed to {forward.to}")
        yield from_fate(world, about, forward.to, hop, packet, _kind(forward), fate, special)
        return
    about = _label(network, forward, "forward-not-for-others", f"is not {forward.to}'s for {source}")
    if fate.outcome is Outcome.DELIVERED:
        # The host itself hears it, on a port where nothing listens (RFC 9293, 3.5.2; RFC 1122, 4.1.3.1).
        refused = replace(fate, outcome=Outcome.REFUSED)
        guarantee = from_fate(world, about, fate.node, hop, packet, _kind(forward), refused, special)
        yield replace(guarantee, answered=False)
        return
    yield from_fate(world, about, forward.to, hop, packet, _kind(forward), fate, special)


def _from_host(
    world: World, network: Network, forward: Forward, vm: Interface, address: IPAddress
) -> Guarantee:
    """Promise the host's own flow: translated on its way out, from its address on the network."""
    side = next(i for i in world.interfaces[network.host] if i.network is network)
    family = family_of(address)
    own, target = side.address(family), vm.address(family)
    assert own is not None
    assert target is not None
    about = _label(network, forward, "forward-from-host", f"is handed to {forward.to}, for the host too")
    kind = _kind(forward)
    return Guarantee(
        id=about.id,
        mode=about.mode,
        network=about.network_name,
        source=network.host,
        destination=forward.to,
        flow=flow_of(world, Hop(side, vm), Packet(own.ip, address), kind, Special.NONE),
        expected=Outcome.DELIVERED,
        promise=about.promise,
        seen=Seen(vm.nic, own.ip, side.mac, 64, False, target.ip, forward.to_port),
        answered=True,
    )


def _not_directly(
    world: World, network: Network, forward: Forward, vm: Interface, uplink: Interface
) -> Iterator[Guarantee]:
    """Promise that a forward gives no way to the VM's own address and port."""
    about = _label(network, forward, "forward-not-direct", f"gives no way to {forward.to}'s own address")
    kind = Kind(Protocol(forward.protocol), forward.to_port)
    for machine in world.on_lan[uplink.lan]:
        if machine.node not in world.topology.machines:
            continue
        for address in vm.addresses:
            mine = machine.address(family_of(address))
            if mine:
                packet = Packet(mine.ip, address.ip)
                guarantee = promised(
                    world, about, forward.to, Hop(machine, uplink), packet, kind, Special.CRAFTED
                )
                if guarantee:
                    yield guarantee
