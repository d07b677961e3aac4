"""Derived routes: who sends what where, and what the file's own routes change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vnetlab.topology.load import parse

if TYPE_CHECKING:
    from vnetlab.topology.model import Topology

LAB = """
segments:
  lan: {subnets: [192.0.2.0/24, "2001:db8:1::/64"]}
  mid: {subnets: [203.0.113.0/24]}
  far: {subnets: [198.51.100.0/24, "2001:db8:2::/64"]}
hosts:
  hv1:
    nics: {eth0: {segment: lan, addresses: [192.0.2.10, "2001:db8:1::10"]}}
    networks:
      office: bridge
      dmz: {mode: routed, subnets: [10.20.0.0/24, "fd00:20::/64"]}
      home: {mode: nat, subnets: [10.40.0.0/24]}
      bench: {mode: host-only, subnets: [10.30.0.0/24]}
      vault: {mode: isolated, subnets: [10.50.0.0/24]}
    vms:
      desk: office
      www: dmz
      web: home
      tool: bench
      safe: vault
      kiosk: [bench, home]
      both: [office, vault]
      nat-first: [home, office]
      bridge-first: [office, home]
      own: {network: home, routes: [{to: default, via: 10.40.0.9}, {to: 10.7.0.0/16, via: 10.40.0.8}]}
  hv2:
    nics: {eth0: {segment: lan, addresses: [192.0.2.20]}}
    networks:
      lab: {mode: routed, subnets: [10.21.0.0/24]}
machines:
  peer: {segment: lan, address: 192.0.2.50}
  mute: {segment: lan, routes: none}
  gw:
    router: true
    segments: {lan: {addresses: [192.0.2.1, "2001:db8:1::1"]}, mid: {address: 203.0.113.1}}
  core:
    router: true
    segments: {mid: {address: 203.0.113.2}, far: {addresses: [198.51.100.1, "2001:db8:2::1"]}}
  remote: {segment: far, addresses: [198.51.100.9, "2001:db8:2::9"]}
"""


@pytest.fixture(scope="module")
def lab() -> Topology:
    return parse(LAB)


def routes(topology: Topology, name: str) -> dict[str, str]:
    return {str(route.prefix): str(route.via) for route in topology.node(name).routes}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("www", {"0.0.0.0/0": "10.20.0.1", "::/0": "fd00:20::1"}),
        ("web", {"0.0.0.0/0": "10.40.0.1"}),
        ("tool", {"0.0.0.0/0": "10.30.0.1"}),
        ("safe", {}),
        ("mute", {}),
    ],
)
def test_private_and_mute_nodes(lab: Topology, node: str, expected: dict[str, str]) -> None:
    assert routes(lab, node) == expected


def test_outward_networks_come_before_host_only_ones(lab: Topology) -> None:
    assert routes(lab, "kiosk") == {"0.0.0.0/0": "10.40.0.1"}


LAN_NODE = {
    "0.0.0.0/0": "192.0.2.1",
    "10.20.0.0/24": "192.0.2.10",
    "10.21.0.0/24": "192.0.2.20",
    "fd00:20::/64": "2001:db8:1::10",
}


@pytest.mark.parametrize("node", ["desk", "both", "bridge-first"])
def test_a_vm_on_a_bridge_network_is_a_lan_machine(lab: Topology, node: str) -> None:
    assert routes(lab, node) == LAN_NODE


def test_a_vm_whose_nat_network_comes_first_has_specifics_for_its_bridge_nic(
    lab: Topology,
) -> None:
    assert routes(lab, "nat-first") == {
        "0.0.0.0/0": "10.40.0.1",
        "10.20.0.0/24": "192.0.2.10",
        "10.21.0.0/24": "192.0.2.20",
        "198.51.100.0/24": "192.0.2.1",
        "203.0.113.0/24": "192.0.2.1",
        "fd00:20::/64": "2001:db8:1::10",
    }


def test_an_address_family_that_a_node_lacks_has_no_routes(lab: Topology) -> None:
    expected = {prefix: via for prefix, via in LAN_NODE.items() if ":" not in prefix}
    assert routes(lab, "peer") == expected


def test_a_hosts_own_routed_network_is_connected(lab: Topology) -> None:
    assert routes(lab, "hv1") == {"0.0.0.0/0": "192.0.2.1", "10.21.0.0/24": "192.0.2.20"}
    assert routes(lab, "hv2") == {"0.0.0.0/0": "192.0.2.1", "10.20.0.0/24": "192.0.2.10"}


def test_routers_have_specifics_only(lab: Topology) -> None:
    assert routes(lab, "gw") == {
        "10.20.0.0/24": "192.0.2.10",
        "10.21.0.0/24": "192.0.2.20",
        "198.51.100.0/24": "203.0.113.2",
        "fd00:20::/64": "2001:db8:1::10",
    }
    assert routes(lab, "core") == {
        "10.20.0.0/24": "203.0.113.1",
        "10.21.0.0/24": "203.0.113.1",
        "192.0.2.0/24": "203.0.113.1",
    }


def test_no_way_in_a_family_that_the_routers_do_not_share(lab: Topology) -> None:
    assert routes(lab, "remote") == {"0.0.0.0/0": "198.51.100.1"}


def test_own_routes_win(lab: Topology) -> None:
    assert routes(lab, "own") == {"0.0.0.0/0": "10.40.0.9", "10.7.0.0/16": "10.40.0.8"}


def test_a_host_is_no_router_between_segments() -> None:
    text = """
segments: {a: {subnets: 192.0.2.0/24}, b: {subnets: 198.51.100.0/24}}
hosts: {hv: {nics: {eth0: a, eth1: b}, networks: {dmz: {mode: routed, uplink: eth1, subnets: 10.0.0.0/24}}}}
machines: {m: a, n: b}
"""
    topology = parse(text)
    address = topology.hosts["hv"].nics["eth1"].addresses[0].ip
    assert routes(topology, "m") == {}
    assert routes(topology, "n") == {"10.0.0.0/24": str(address)}
    assert routes(topology, "hv") == {}


def test_equal_ways_are_told_apart_by_name() -> None:
    text = """
segments: {a: {subnets: 192.0.2.0/24}, b: {subnets: 198.51.100.0/24}}
machines:
  r2: {segments: {a: {address: 192.0.2.2}, b: }, router: true}
  r1: {segments: {a: {address: 192.0.2.1}, b: }, router: true}
  m: a
"""
    assert routes(parse(text), "m") == {"0.0.0.0/0": "192.0.2.1"}


def test_the_default_router_is_the_one_that_serves_most() -> None:
    text = """
segments:
  a: {subnets: 192.0.2.0/24}
  b: {subnets: 10.1.0.0/24}
  c: {subnets: 10.2.0.0/24}
  d: {subnets: 10.3.0.0/24}
machines:
  r1: {segments: {a: {address: 192.0.2.1}, b: }, router: true}
  r2: {segments: {a: {address: 192.0.2.2}, c: , d: }, router: true}
  m: a
"""
    assert routes(parse(text), "m") == {"0.0.0.0/0": "192.0.2.2", "10.1.0.0/24": "192.0.2.1"}


def test_every_next_hop_is_on_link(lab: Topology) -> None:
    for node in lab.nodes():
        nics = node.nics if isinstance(node.nics, tuple) else tuple(node.nics.values())
        connected = [address.network for nic in nics for address in nic.addresses]
        for route in node.routes:
            assert any(route.via in prefix for prefix in connected), (node.name, route)
