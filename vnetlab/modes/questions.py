"""One flow that somebody asks about, with what the modes promise of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vnetlab.guarantees import Flow, Guarantee, Outcome, Protocol, Special
from vnetlab.modes.journey import travel
from vnetlab.modes.labels import label_for
from vnetlab.modes.packet import Packet
from vnetlab.modes.pairs import first_hop
from vnetlab.modes.promise import Kind, Label, from_fate, own_address
from vnetlab.modes.world import Hop
from vnetlab.topology.model import Vm, family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.world import Interface, World
    from vnetlab.topology.model import Family, IPAddress


class Question(Struct, frozen=True):
    """What becomes of a packet from a node to another one, or to an address."""

    source: str
    destination: str = ""
    """A node; empty where the question is about an address."""
    address: IPAddress | None = None
    protocol: Protocol = Protocol.ICMP
    port: int = 0
    source_address: IPAddress | None = None
    """One to pretend; None: the sender's own."""
    source_port: int = 0
    """0: chosen."""
    ttl: int = 64
    size: int = 0
    """Whole packet in bytes; 0: as small as it comes."""


def asked(world: World, question: Question, family: Family) -> Guarantee | None:
    """Return the flow in question and its promise; None where the family gives no way to put it."""
    for target, goal in _targets(world, question, family):
        hop, special = _first_hop(world, question.source, target, goal)
        if hop:
            return _promise(world, question, hop, special, target, goal)
    address = question.address
    if address is None or family_of(address) is not family:
        return None
    if not any(own.address(family) for own in world.interfaces.get(question.source, ())):
        return None
    return _to_nobody(world, question, address)


def _first_hop(
    world: World, source: str, target: Interface, address: IPAddress
) -> tuple[Hop | None, Special]:
    """Return the first frame: as every probe sends it, but to a neighbour always straight."""
    natural = world.hop(source, address)
    if natural and natural.to is target:
        return natural, Special.NONE
    network = target.network
    if network and network.host == source and target.port and not world.properties[network.mode].presence:
        side = next(i for i in world.interfaces[source] if i.network is network)
        return Hop(side, target), Special.CRAFTED
    return first_hop(world, source, target, address)


def _targets(world: World, question: Question, family: Family) -> Iterator[tuple[Interface, IPAddress]]:
    """Yield the interfaces in question, those on a link of the sender's first."""
    mine = {i.lan for i in world.interfaces.get(question.source, ())}
    if question.address is None:
        found = [i for i in world.interfaces.get(question.destination, ()) if i.address(family)]
        for target in sorted(found, key=lambda i: i.lan not in mine):
            own = target.address(family)
            assert own is not None
            yield target, own.ip
        return
    every = [i for interfaces in world.interfaces.values() for i in interfaces]
    for target in sorted(every, key=lambda i: i.lan not in mine):
        if any(question.address == own.ip for own in target.addresses):
            yield target, question.address


def _promise(
    world: World, question: Question, hop: Hop, special: Special, target: Interface, address: IPAddress
) -> Guarantee:
    sender = question.source_address or own_address(hop.by, address, hop)
    packet = _packet(question, sender or _any_address(world, hop, address), address)
    fate = travel(world, packet, hop)
    receiver = fate.node if fate.outcome is Outcome.DELIVERED else target.node
    if question.source_address:
        special = Special.FORGED
    label = label_for(world, hop.by, target)
    kind = Kind(question.protocol, question.port)
    promise = from_fate(world, label, receiver, hop, packet, kind, fate, special)
    promise = replace(promise, flow=_sent(world, question, promise.flow, as_frame=_isolated(hop)))
    return _unsent(promise, hop) if question.size > hop.by.mtu else promise


def _unsent(promise: Guarantee, hop: Hop) -> Guarantee:
    """Return that a packet does not even leave its sender, of which no mode promises anything."""
    text = f"{hop.by.node} itself sends no more than {hop.by.mtu} bytes by {hop.by.nic}"
    return replace(promise, id="", expected=Outcome.SILENT, promise=text, seen=None, answered=False)


def _isolated(hop: Hop) -> bool:
    """Tell ports that do not even resolve each other: only a frame shows what becomes of the packet."""
    network = hop.by.network
    return bool(network and network.port_isolation and hop.by.port and hop.to.network is network)


def _any_address(world: World, hop: Hop, address: IPAddress) -> IPAddress:
    """Return an address of the sender, where it may choose between several or has none on that link."""
    own = hop.by.address(family_of(address))
    every = sorted(world.own_addresses[hop.by.node], key=str)
    return own.ip if own else next((a for a in every if a.version == address.version), address)


def _to_nobody(world: World, question: Question, address: IPAddress) -> Guarantee:
    """Return the flow to an address that nobody in the file has."""
    label = Label("", f"nobody in the file has {address}")
    hop = world.hop(question.source, address)
    if hop:
        own = question.source_address or own_address(hop.by, address, hop) or hop.by.addresses[0].ip
        packet = _packet(question, own, address)
        fate = travel(world, packet, hop)
        special = Special.FORGED if question.source_address else Special.NONE
        kind = Kind(question.protocol, question.port)
        promise = from_fate(world, label, question.destination, hop, packet, kind, fate, special)
        return replace(promise, flow=_sent(world, question, promise.flow))
    flow = Flow(
        family_of(address), question.protocol, address, question.source_address, question.source_port,
        question.port, ttl=question.ttl, size=question.size,
    )  # fmt: skip
    silent = Outcome.SILENT
    return Guarantee("", "segment", "", question.source, question.destination, flow, silent, label.promise)


def _packet(question: Question, source: IPAddress, destination: IPAddress) -> Packet:
    port, protocol = question.port, question.protocol.value
    return Packet(source, destination, protocol, port, ttl=question.ttl, size=question.size)


def _sent(world: World, question: Question, flow: Flow, *, as_frame: bool = False) -> Flow:
    """Return the flow as it is sent: by the sender's own kernel, where it has one and the way is its own."""
    node = world.topology.node(question.source)
    flow = replace(flow, source_port=question.source_port or flow.source_port)
    if as_frame or flow.special is not Special.NONE or (isinstance(node, Vm) and node.backend == "tap"):
        return flow
    return replace(flow, out_nic="", next_hop_mac="")
