"""Packets that tell two States apart, far more than any suite promises anything about.

From every NIC as crafted frames to whoever decides there, and from every kernel by its own routes; sources
and destinations from every node and from the edges of every prefix; every protocol with the ports that rules
name and their neighbours; fragments, short TTLs, sizes around each MTU, low source ports, link-scope groups,
ARP and ND for every address, router advertisements. Not to the group of all routers: who forwards shows it
by forwarding.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from vnetlab.guarantees import Flow, Protocol, Special
from vnetlab.predict.packet import BROADCAST_MAC, group_mac, link_local
from vnetlab.topology.model import Family

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from vnetlab.mutate.domains import End
    from vnetlab.topology.model import IPAddress

SOURCE_PORT = 50000
LOW_PORTS = (1023, 1024)
"""Either side of the border of the privileged ports."""
_FAMILIES = {4: Family.IPV4, 6: Family.IPV6}
_ALL_NODES = IPv6Address("ff02::1")
_GROUPS: tuple[IPAddress, ...] = (
    IPv4Address("255.255.255.255"),
    IPv4Address("224.0.0.1"),
    IPv4Address("224.0.0.251"),
    IPv4Address("239.1.2.3"),
    _ALL_NODES,
    IPv6Address("ff02::fb"),
    IPv6Address("ff05::1:3"),
)


class Shot(NamedTuple):
    """A packet of the battery."""

    node: str
    flow: Flow


class Battery:
    """The packets of one lab."""

    def __init__(
        self, domains: tuple[tuple[End, ...], ...], ports: Iterable[int], mtus: Collection[int]
    ) -> None:
        self._domains = domains
        self._ends = tuple(end for domain in domains for end in domain)
        self._ports = sorted(set(ports))
        self._sizes = sorted({*mtus, max(mtus) + 1})
        self._anycasts = {IPv6Address("fe80::")} | {
            a.network.network_address for end in self._ends for a in end.addresses if a.version == 6
        }
        """Addresses of every router (RFC 4291, 2.6.1): who answers to them, nobody promises."""
        self._no_sources = self._anycasts | {
            a.network.broadcast_address for end in self._ends for a in end.addresses if a.version == 4
        }
        """Nobody may send under one of these (RFC 1122, 3.2.1.3; RFC 4291, 2.6)."""
        self._owned = tuple(dict.fromkeys(a.ip for end in self._ends for a in end.addresses))

    def base(self, points: tuple[IPAddress, ...]) -> Iterator[Shot]:
        """Yield the packets that every fault is put to; ``points`` are the edges of all prefixes."""
        yield from self.towards(points)
        yield from self.of_kinds(self._owned, self._kinds())
        yield from self.under(points)
        yield from self._misdirected()
        yield from self._groups()
        yield from self.resolutions(self._owned)

    def towards(self, targets: Iterable[IPAddress]) -> Iterator[Shot]:
        """Yield an echo request from everywhere to each target."""
        return self.of_kinds(targets, (Flow(Family.IPV4, Protocol.ICMP, _ALL_NODES),))

    def of_kinds(self, targets: Iterable[IPAddress], kinds: Iterable[Flow]) -> Iterator[Shot]:
        """Yield these kinds of flow from everywhere, under the sender's own address, to each target."""
        # A link-local address that nobody has is a matter of its link alone.
        wanted = tuple(
            t
            for t in dict.fromkeys(targets)
            if t not in self._anycasts and not (t.version == 6 and t.is_link_local)
        )
        flows = tuple(kinds)
        for domain in self._domains:
            for end in domain:
                for target in wanted:
                    own = end.own(target.version)
                    if own is None or own.ip == target:
                        continue
                    for flow in flows:
                        to = replace(flow, family=_FAMILIES[target.version], destination_address=target)
                        yield from self._sent(domain, end, to, own.ip)

    def about_ports(self, ports: Iterable[int]) -> Iterator[Shot]:
        """Yield TCP and UDP from everywhere to these ports, and those beside them, of everyone."""
        near = sorted({p + d for p in ports for d in (-1, 0, 1) if 0 < p + d < 1 << 16})
        return self.of_kinds(self._owned, [kind(port) for port in near for kind in (_tcp, _udp)])

    def _sent(self, domain: tuple[End, ...], end: End, flow: Flow, source: IPAddress) -> Iterator[Shot]:
        if not end.guest:
            yield Shot(end.node, flow)
        if end.kind == "host":
            return  # its kernel is what is asked about; frames past it are nobody's doing
        for mac in _hearers(domain, end, flow.destination_address):
            crafted = replace(flow, source_address=source, out_nic=end.device, next_hop_mac=mac)
            yield Shot(end.node, crafted)

    def under(self, sources: Iterable[IPAddress]) -> Iterator[Shot]:
        """Yield an echo request under each source, from everywhere to hosts, routers and one of each link."""
        targets = self._representative_targets()
        for domain in self._domains:
            for end in domain:
                for source in sources:
                    if end.own(source.version) is None or source in self._no_sources:
                        continue
                    for target in targets[source.version]:
                        yield from self._forged(domain, end, source, target)

    def _forged(
        self, domain: tuple[End, ...], end: End, source: IPAddress, target: IPAddress
    ) -> Iterator[Shot]:
        if target in (a.ip for a in end.addresses):
            return
        echo = Flow(_FAMILIES[source.version], Protocol.ICMP, target, source)
        if end.kind == "host":
            yield Shot(end.node, echo)
            return
        for mac in _hearers(domain, end, target):
            yield Shot(end.node, replace(echo, out_nic=end.device, next_hop_mac=mac))

    def _misdirected(self) -> Iterator[Shot]:
        """Yield frames to nodes that are no routers, for somebody else."""
        targets = self._representative_targets()
        for domain in self._domains:
            for end in domain:
                for other in domain:
                    if end.node == other.node or other.forwards or end.kind == "host":
                        continue
                    for target in (
                        *targets[4][:3],
                        *targets[6][:3],
                        *(a.ip for e in domain for a in e.addresses),
                    ):
                        own = end.own(target.version)
                        if own and target not in (own.ip, *(a.ip for a in other.addresses)):
                            flow = _udp(49403, answer=False)
                            yield Shot(
                                end.node,
                                replace(
                                    flow,
                                    family=_FAMILIES[target.version],
                                    destination_address=target,
                                    source_address=own.ip,
                                    out_nic=end.device,
                                    next_hop_mac=other.mac,
                                ),
                            )

    def _representative_targets(self) -> dict[int, tuple[IPAddress, ...]]:
        """Return, by family, the address of every host and router, and of one other end of each domain."""
        found: dict[int, dict[IPAddress, None]] = {4: {}, 6: {}}
        for domain in self._domains:
            plain = next((e for e in domain if not e.forwards), None)
            for end in domain:
                if end.forwards or end is plain:
                    for address in end.addresses:
                        found[address.version][address.ip] = None
        return {version: tuple(addresses) for version, addresses in found.items()}

    def _kinds(self) -> Iterator[Flow]:
        for port in self._ports:
            yield _tcp(port)
            yield _udp(port)
        for port in LOW_PORTS:
            yield replace(_tcp(49401), source_port=port)
            yield replace(_udp(49402), source_port=port)
        yield _tcp(49401)
        yield _udp(49402)
        yield replace(_tcp(49401), special=Special.UNTRACKED)
        yield replace(_udp(49402), special=Special.FRAGMENTS, size=3000)
        yield _udp(49403, answer=False)
        for ttl in (1, 2, 3, 64):
            yield Flow(Family.IPV4, Protocol.ICMP, _ALL_NODES, ttl=ttl)
        for size in self._sizes:
            yield replace(_udp(49403, answer=False), size=size)

    def _groups(self) -> Iterator[Shot]:
        for end in self._ends:
            if end.kind == "host":
                continue
            for group in _GROUPS:
                own = end.own(group.version)
                if own is None:
                    continue
                mac = group_mac(group.version, int(group))
                family = _FAMILIES[group.version]
                for flow in (
                    Flow(family, Protocol.ICMP, group),
                    replace(_udp(67, answer=False), family=family),
                ):
                    yield Shot(
                        end.node,
                        replace(
                            flow,
                            destination_address=group,
                            source_address=own.ip,
                            out_nic=end.device,
                            next_hop_mac=mac,
                            answer=False,
                        ),
                    )
            yield from self._advertisement(end)

    def _advertisement(self, end: End) -> Iterator[Shot]:
        source = IPv6Address(link_local(end.mac))
        mac = group_mac(6, int(_ALL_NODES))
        flow = Flow(
            Family.IPV6, Protocol.ICMP, _ALL_NODES, source, answer=False, special=Special.ADVERTISEMENT,
            out_nic=end.device, next_hop_mac=mac, ttl=255,
        )  # fmt: skip
        yield Shot(end.node, flow)
        echo = replace(flow, special=Special.NONE, ttl=64)
        for target in {IPv6Address(link_local(e.mac)) for d in self._domains if end in d for e in d}:
            for hearer in _hearers(self._domain(end), end, target):
                yield Shot(
                    end.node, replace(echo, destination_address=target, next_hop_mac=hearer, answer=True)
                )

    def _domain(self, end: End) -> tuple[End, ...]:
        return next(domain for domain in self._domains if end in domain)

    def resolutions(self, targets: Iterable[IPAddress]) -> Iterator[Shot]:
        """Yield an ARP or ND question from every NIC for each target."""
        for end in self._ends:
            for target in targets:
                own = end.own(target.version)
                if own is None or end.guest or own.ip == target:
                    continue
                family = _FAMILIES[target.version]
                mac = BROADCAST_MAC if target.version == 4 else ""
                flow = Flow(family, Protocol.RESOLUTION, target, own.ip, out_nic=end.device, next_hop_mac=mac)
                if target.version == 6:
                    group = 0xFF02 << 112 | 1 << 32 | 0xFF << 24 | int(target) & 0xFFFFFF
                    flow = replace(flow, next_hop_mac=group_mac(6, group))
                yield Shot(end.node, flow)


def _tcp(port: int) -> Flow:
    return Flow(Family.IPV4, Protocol.TCP, _ALL_NODES, source_port=SOURCE_PORT, destination_port=port)


def _udp(port: int, *, answer: bool = True) -> Flow:
    return Flow(
        Family.IPV4, Protocol.UDP, _ALL_NODES, source_port=SOURCE_PORT, destination_port=port, answer=answer
    )


def _hearers(domain: tuple[End, ...], end: End, target: IPAddress) -> Iterator[str]:
    """Yield the MACs that a frame may go to: everyone who forwards, and whoever has the address."""
    for other in domain:
        if other.node == end.node:
            continue
        if other.forwards or any(a.ip == target for a in other.addresses):
            yield other.mac
