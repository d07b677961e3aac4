"""Whom stations tell where they are before packets fly."""

from __future__ import annotations

from vnetlab.guarantees import Flow, Guarantee, Outcome, Protocol
from vnetlab.probe.exits import packed_mac
from vnetlab.probe.flight import Flight
from vnetlab.probe.places import Places
from vnetlab.probe.trial import plan_flight
from vnetlab.topology.model import Family, Topology

VMS = 6
TEXT = """
name: known
segments: {lan: {subnets: [192.0.2.0/24, "2001:db8::/64"]}}
hosts:
  hv1:
    nics: {eth0: {segment: lan, addresses: [192.0.2.10/24, "2001:db8::10/64"]}}
    networks:
      office: {mode: bridge, uplink: eth0}
      home: {mode: nat, uplink: eth0, subnets: [10.4.0.0/24]}
    vms: {%s, h1: home, h2: home}
  hv2:
    nics: {eth0: {segment: lan}}
    networks: {office: {mode: bridge, uplink: eth0}}
    vms: {%s}
machines: {peer: lan, other: lan}
"""


def topology(vms: int = VMS) -> Topology:
    groups = (", ".join(f"{letter}{i}: office" for i in range(vms)) for letter in "ab")
    return Topology.parse(TEXT % tuple(groups), "known.yaml")


def udp(source: str, destination: str) -> Guarantee:
    address = Places(TOPOLOGY).nics(destination)[0].addresses[0].ip
    flow = Flow(Family.IPV4, Protocol.UDP, address, None, 4000, 7000, answer=False)
    return Guarantee("x", "bridge", "", source, destination, flow, Outcome.DELIVERED, "it is so")


TOPOLOGY = topology()


def told(flight: Flight) -> dict[str, set[str]]:
    """Return whom each station tells where it is, by name; nobody: it tells everybody."""
    names = {packed_mac(nic.mac): vm.name for vm in TOPOLOGY.vms.values() for nic in vm.nics}
    names |= {packed_mac(nic.mac): m.name for m in TOPOLOGY.machines.values() for nic in m.nics}
    return {
        station.name: {names[mac] for point in station.points for mac in point.told}
        for station in flight.stations
    }


def test_one_of_each_bridge_tells_everybody_and_the_others_tell_these() -> None:
    nodes = [f"{letter}{i}" for i in range(VMS) for letter in "ab"] + ["peer", "other"]
    flight = plan_flight(TOPOLOGY, tuple(udp(node, "a0") for node in nodes))
    first = {"a0", "b0", "peer"}
    assert told(flight) == {node: set() if node in first else first for node in nodes}


def test_on_a_link_of_few_everybody_is_told() -> None:
    nodes = ("a0", "a1", "b0", "peer")
    assert told(plan_flight(TOPOLOGY, tuple(udp(node, "a1") for node in nodes))) == {n: set() for n in nodes}


def test_links_are_told_apart() -> None:
    """A NAT network is no part of the LAN, though its host is."""
    nodes = [f"{letter}{i}" for i in range(VMS) for letter in "ab"] + ["h1", "h2", "hv1"]
    found = told(plan_flight(TOPOLOGY, tuple(udp(node, "peer") for node in nodes)))
    assert found["h1"] == found["h2"] == set()
    assert found["a5"] == found["hv1"] == {"a0", "b0", "peer"}
