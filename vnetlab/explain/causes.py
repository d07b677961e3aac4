"""What a deciding hop means: from the rule, route or device of the model to the word of a mode.

A rule says by its comment which network it belongs to and what it is about; what that comes from, the mode
and the topology tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.explain import places
from vnetlab.modes import PROPERTIES
from vnetlab.predict.packet import Packet, Role, address_of, text
from vnetlab.topology.model import Family, Host, Machine, Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.errors import Place
    from vnetlab.explain.lexicon import Lexicon
    from vnetlab.predict.journey import Journey
    from vnetlab.predict.walk import Hop
    from vnetlab.topology.model import Network


class Cause(Struct, frozen=True):
    """Why a packet went no further."""

    text: str
    network: Network | None = None
    place: Place | None = None


class _Case(Struct, frozen=True):
    """A deciding hop with all that explains it."""

    lexicon: Lexicon
    hop: Hop
    journey: Journey
    packet: Packet
    network: Network | None

    @property
    def destination(self) -> str:
        return text(self.packet.version, self.packet.destination)

    @property
    def target(self) -> Network | None:
        """The private network of this host that the packet is for."""
        address = address_of(self.packet.version, self.packet.destination)
        return self.lexicon.network_at(self.hop.namespace, address)

    @property
    def way_out(self) -> str:
        """The device that the host's route leads out of, in words; empty where it was not routed."""
        for hop in reversed(self.journey.hops[: self.journey.hops.index(self.hop)]):
            if hop.namespace == self.hop.namespace and (hop.stage, hop.verdict) == ("route", "forward"):
                device = self.lexicon.device_of_way(hop.object)
                return self.lexicon.device(self.hop.namespace, device)
        return ""

    def because(self, reason: str, option: str = "") -> Cause:
        network = self.network
        if network is None:
            return Cause(reason)
        topology = self.lexicon.topology
        place = places.of_option(topology, network, option) if option else network.place
        return Cause(reason, network, place)

    def of(self, network: Network | None, reason: str) -> Cause:
        return Cause(reason, network, network.place if network else None)


def cause_of(lexicon: Lexicon, hop: Hop, journey: Journey) -> Cause:
    """Return the cause behind a hop that ended a packet."""
    packet = hop.before
    if not isinstance(packet, Packet):
        return Cause(f"{hop.object}: {hop.verdict}")
    chain, found, about = hop.object.partition(": ")
    if not (found and len(chain.split(" ")) == 3):
        return _not_a_chain(_Case(lexicon, hop, journey, packet, None))
    if about == "policy":
        return _policy(_Case(lexicon, hop, journey, packet, None))
    owner, _, what = about.partition(": ")
    host = lexicon.topology.hosts.get(hop.namespace)
    network = host.networks.get(owner) if host and what else None
    case = _Case(lexicon, hop, journey, packet, network)
    for beginning, explain in _RULES:
        if (what or about).startswith(beginning):
            return explain(case)
    return case.because(f"rule `{about}`")


def _isolated(case: _Case) -> Cause:
    return case.because("isolated networks have no path outward: the host is not there")


def _isolated_inward(case: _Case) -> Cause:
    return case.because("isolated networks have no path inward: the host is not there")


def _forged(case: _Case) -> Cause:
    source = text(case.packet.version, case.packet.source)
    return case.because(f"a VM sends from its network's prefixes only: {source} is forged")


def _alien(case: _Case) -> Cause:
    source = text(case.packet.version, case.packet.source)
    return case.because(f"{source} is an address of this network, and nobody elsewhere may send from it")


def _no_part(case: _Case) -> Cause:
    return case.because(
        f"it has no IPv{case.packet.version} subnet, so the host has no part in that family", "subnets"
    )


def _no_path(case: _Case) -> Cause:
    """Explain a flow that VMs begin and that no rule of their network allows."""
    network = case.network
    if network is None:
        return case.because("its mode gives it no path")
    deny = " (in silence, as `deny: drop` says)" if network.deny == "drop" else ""
    target = case.target
    if target is not None and target is not network:
        other = f"network `{target.name}` ({target.mode}) of the same host"
        return case.because(f"{network.mode} networks have no path to {other} unless `reach` opens one{deny}")
    if target is network and network.port_isolation:
        return _ports(case)
    if target is network:
        return case.because(f"the host is no way between VMs of one network{deny}")
    if not PROPERTIES[network.mode].outward:
        return case.because(f"{network.mode} networks have no path outward{deny}")
    out = case.way_out
    if out and out != network.uplink:
        return case.because(
            f"its uplink binds: {network.uplink}, and the route to {case.destination} leaves by {out}{deny}",
            "uplink",
        )
    return case.because(
        f"its uplink {network.uplink} has no IPv{case.packet.version} address to translate to{deny}", "uplink"
    )


def _other_address(case: _Case) -> Cause:
    return case.because(
        f"{case.destination} is an address of the host that is hidden from VMs of this network"
    )


def _hidden(case: _Case) -> Cause:
    return case.because(f"the host's address {case.destination} on it is hidden from everybody else")


def _nowhere(case: _Case) -> Cause:
    return case.because(f"the host has no route to {case.destination}")


def _inbound(case: _Case) -> Cause:
    network = case.network
    uplink = network.uplink if network else "its uplink"
    return case.because(f"its uplink binds: outsiders come in by {uplink} only", "uplink")


def _ports(case: _Case) -> Cause:
    return case.because("its VMs do not reach each other (port_isolation)", "port_isolation")


def _leaf(case: _Case) -> Cause:
    return case.because("the host is on the hub of the network, and on none of its leaf bridges", "cascade")


def _leak(case: _Case) -> Cause:
    return case.because("nothing leaves a NAT network untranslated")


def _untracked(case: _Case) -> Cause:
    return case.because("it belongs to no connection, and would leave untranslated")


def _outsider_nowhere(case: _Case) -> Cause:
    """Explain what comes in from a segment for an address without a route, of an isolated network for one."""
    address = address_of(case.packet.version, case.packet.destination)
    target = case.lexicon.network_at(case.hop.namespace, address)
    if target and not PROPERTIES[target.mode].presence:
        return case.of(target, "isolated networks have no path inward: the host is not there")
    return Cause(f"the host has no route to {case.destination}, and tells no outsider so")


def _router_nowhere(case: _Case) -> Cause:
    return Cause(f"it has no route to {case.destination}")


_RULES: tuple[tuple[str, Callable[[_Case], Cause]], ...] = (
    ("frame of a VM to the host", _isolated),
    ("frame of the host to the VMs", _isolated_inward),
    ("frame to the host by leaf", _leaf),
    ("forged source", _forged),
    ("its addresses as source from elsewhere", _alien),
    ("has no ipv", _no_part),
    ("VM to where its mode gives no path", _no_path),
    ("VM to other addresses of the host", _other_address),
    ("its host address is not for others", _hidden),
    ("VM to where the host has no route", _nowhere),
    ("from where its mode gives no path", _inbound),
    ("port isolation", _ports),
    ("nothing leaves untranslated", _leak),
    ("what conntrack does not know", _untracked),
    ("outsider to where the host has no route", _outsider_nowhere),
    ("no route", _router_nowhere),
)


def _policy(case: _Case) -> Cause:
    """Explain the forward chain's last word: what no rule allows."""
    target = case.target
    if target is None:
        return Cause("a host is a router for its networks only, and opens no path between its LANs")
    if case.packet.role is not Role.REQUEST:
        return case.of(target, "no rule lets the answer back in")
    if target.mode is Mode.NAT:
        return case.of(target, "nobody outside may begin a flow to its VMs, but for the ports of `forwards`")
    return case.of(target, f"{target.mode} networks have no path inward")


def _not_a_chain(case: _Case) -> Cause:
    hop = case.hop
    if hop.stage == "bridge" and hop.object.endswith("are isolated"):
        network = case.lexicon.network_behind(hop.namespace, hop.object.split(" ")[0])
        return _ports(_Case(case.lexicon, hop, case.journey, case.packet, network))
    if hop.verdict == "no route":
        return _no_route(case)
    if hop.verdict == "unresolved":
        return _unresolved(case)
    if hop.stage == "route" and hop.object.endswith("does not forward"):
        return _no_router(case)
    if hop.stage == "mtu" or hop.object.endswith("bytes"):
        limit = case.lexicon.words(hop.namespace, hop.object)
        place = places.of_mtu(case.lexicon.topology, hop.namespace, limit.partition(" takes ")[0])
        return Cause(f"{limit}, and the packet has {case.packet.size} and may not be cut", place=place)
    return Cause(case.lexicon.words(hop.namespace, hop.object))


def _no_route(case: _Case) -> Cause:
    topology, node = case.lexicon.topology, case.hop.namespace
    reason = f"it has no route to {case.destination}"
    machine = topology.machines.get(node)
    if isinstance(machine, Machine) and places.routes_none(topology, machine):
        return Cause(f"{reason} (`routes: none`)", place=places.of_machine(topology, machine))
    found = topology.machines.get(node) or topology.vms.get(node) or topology.hosts.get(node)
    return Cause(reason, place=found.place if found else None)


def _unresolved(case: _Case) -> Cause:
    asked = "ARP" if case.packet.version == 4 else "neighbour discovery"
    what = case.lexicon.words(case.hop.namespace, case.hop.object)
    return Cause(f"{what}: {asked} gets no answer")


def _no_router(case: _Case) -> Cause:
    topology, name = case.lexicon.topology, case.hop.namespace
    came_by = case.lexicon.device(name, case.hop.object.partition(" ")[0])
    node = topology.node(name)
    if not isinstance(node, Host):
        return Cause("it is no router, and the packet is not for it", place=node.place)
    target = case.target
    family = Family.IPV4 if case.packet.version == 4 else Family.IPV6
    if target and target.uplink and target.uplink != came_by:
        reason = f"its uplink binds: outsiders come in by {target.uplink}, not by {came_by}"
        return Cause(reason, target, places.of_option(topology, target, "uplink"))
    if target:
        return case.of(target, f"{target.mode} networks have no path inward")
    return Cause(f"the host routes no {family} that comes in by {came_by}: no network has it as uplink")


def openings(lexicon: Lexicon, journey: Journey) -> tuple[str, ...]:
    """Return what in the file lets a request go where its mode alone would not: forwards and ``reach``."""
    found: dict[str, None] = {}
    for hop in journey.hops:
        host = lexicon.topology.hosts.get(hop.namespace)
        if host is None or hop.before.role is not Role.REQUEST or hop.verdict not in ("dnat", "accept"):
            continue
        owner, _, what = hop.object.partition(": ")[2].partition(": ")
        network = host.networks.get(owner)
        if network is None:
            continue
        for forward in network.forwards if hop.verdict == "dnat" else ():
            if what.startswith(f"forward {forward.protocol} {forward.port} to "):
                port = f"{forward.protocol} {forward.port}"
                at = places.shown(forward.place)
                found[f"network `{owner}` forwards {port} to {forward.to} ({at})"] = None
        if what.startswith("reach "):
            place = places.shown(places.of_option(lexicon.topology, network, "reach"))
            found[f"network `{owner}` may {what} ({place})"] = None
    return tuple(found)
