"""From a packet's journey to a Guarantee: one place builds them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.guarantees import Flow, Guarantee, Outcome, Protocol, Seen, Special
from vnetlab.modes.journey import answer_returns, travel
from vnetlab.modes.packet import Packet
from vnetlab.modes.rewriting import source_towards
from vnetlab.topology.model import family_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.modes.packet import Fate
    from vnetlab.modes.world import Hop, Interface, World
    from vnetlab.topology.model import IPAddress, Network

# From the range that no service is registered in (RFC 6335, 6): a user's own server is not in the way.
TCP_PORT = 49401
UDP_PORT = 49402
SINK_PORT = 49403


class Label(Struct, frozen=True):
    """Whose promise it is and what it says."""

    id: str
    promise: str
    network: Network | None = None

    @property
    def mode(self) -> str:
        """The mode of the network, or ``segment``."""
        return self.network.mode.value if self.network else "segment"

    @property
    def network_name(self) -> str:
        """``HOST/NETWORK``, or nothing."""
        return f"{self.network.host}/{self.network.name}" if self.network else ""


class Kind(Struct, frozen=True):
    """One of the flows judged for every pair."""

    protocol: Protocol
    port: int = 0
    answer: bool = True


ECHO = Kind(Protocol.ICMP)
CONNECT = Kind(Protocol.TCP, TCP_PORT)
SINK = Kind(Protocol.UDP, SINK_PORT, answer=False)
UDP = Kind(Protocol.UDP, UDP_PORT)
KINDS = (ECHO, CONNECT, SINK, UDP)
ANSWERED = tuple(kind for kind in KINDS if kind.answer)


def own_address(interface: Interface, destination: IPAddress, hop: Hop) -> IPAddress | None:
    """Return the address that a node sends from, or None where its kernel may choose between several."""
    direct = interface.on_link(destination)
    if direct:
        return direct.ip
    family = family_of(destination)
    for address in hop.to.addresses:
        if family_of(address) is family:
            found = source_towards(interface, address.ip)
            if found:
                return found
    only = [a.ip for a in interface.addresses if family_of(a) is family]
    return only[0] if only else None


def promised(
    world: World,
    label: Label,
    destination: str,
    hop: Hop,
    packet: Packet,
    kind: Kind,
    special: Special = Special.NONE,
) -> Guarantee | None:
    """Return what is promised of one flow, or None where its end is a matter of timers."""
    probe = Packet(
        packet.source,
        packet.destination,
        kind.protocol.value,
        kind.port,
        ttl=packet.ttl,
        size=packet.size,
    )
    fate = travel(world, probe, hop)
    if fate.unresolved or (fate.outcome is Outcome.DELIVERED and fate.node != destination):
        return None
    return from_fate(world, label, destination, hop, probe, kind, fate, special)


def every_kind(
    world: World, label: Label, destination: str, hop: Hop, packet: Packet, special: Special
) -> Iterator[Guarantee]:
    """Yield what is promised of each kind of flow on one way.

    The way is the same for all of them but those whose port some host hands on.
    """
    fate = travel(world, packet, hop)
    delivered = fate.outcome is Outcome.DELIVERED
    strange = fate.unresolved or (delivered and fate.node != destination)
    returns = delivered and not strange and answer_returns(world, hop.by.node, fate)
    for kind in KINDS:
        if (kind.protocol.value, kind.port) in world.forwarded:
            guarantee = promised(world, label, destination, hop, packet, kind, special)
            if guarantee:
                yield guarantee
        elif not strange:
            yield from_fate(world, label, destination, hop, packet, kind, fate, special, returns)


def from_fate(
    world: World,
    label: Label,
    destination: str,
    hop: Hop,
    packet: Packet,
    kind: Kind,
    fate: Fate,
    special: Special,
    returns: bool | None = None,
) -> Guarantee:
    """Put a journey and its end into a Guarantee.

    ``returns`` says whether an answer finds its way back, where the caller has worked it out already.
    """
    delivered = fate.outcome is Outcome.DELIVERED
    answered = delivered and kind.answer
    if answered:
        answered = answer_returns(world, hop.by.node, fate) if returns is None else returns
    return Guarantee(
        id=label.id,
        mode=label.mode,
        network=label.network_name,
        source=hop.by.node,
        destination=destination,
        flow=flow_of(world, hop, packet, kind, special),
        expected=fate.outcome,
        promise=label.promise,
        seen=seen_of(world, fate, kind) if delivered else None,
        answered=answered,
        error_from=fate.error_from,
        error_code=fate.error,
    )


def flow_of(world: World, hop: Hop, packet: Packet, kind: Kind, special: Special) -> Flow:
    """Return the flow that puts the packet on the hop; a host's own kernel chooses for itself."""
    by_kernel = hop.by.node in world.topology.hosts and special is Special.NONE
    return Flow(
        family=family_of(packet.destination),
        protocol=kind.protocol,
        destination_address=packet.destination,
        source_address=None if by_kernel else packet.source,
        source_port=world.source_port(hop.by.node) if kind.port else 0,
        destination_port=kind.port,
        answer=kind.answer,
        special=special,
        out_nic="" if by_kernel else hop.by.nic,
        next_hop_mac="" if by_kernel else hop.to.mac,
        ttl=packet.ttl,
        size=packet.size,
    )


def seen_of(world: World, fate: Fate, kind: Kind) -> Seen:
    """Return what the receiver sees; a host sees packets behind its filters, without their frame."""
    assert fate.arrived is not None
    at_host = fate.node in world.topology.hosts
    return Seen(
        nic="" if at_host else fate.arrived.to.nic,
        source_address=fate.packet.source,
        source_mac="" if at_host else fate.arrived.by.mac,
        ttl=fate.packet.ttl,
        source_port_unprivileged=bool(fate.translations) and kind.port > 0,
        destination_address=fate.packet.destination,
        destination_port=fate.packet.port or kind.port,
    )
