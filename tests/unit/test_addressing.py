"""Derived MACs and addresses: stable, distinct, inside of their subnets."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from vnetlab.topology.load import parse

if TYPE_CHECKING:
    from vnetlab.topology.model import Topology


def lab(names: list[str], subnets: str = "10.0.0.0/24, 'fd00::/64'") -> Topology:
    vms = "".join(f"      {name}: home\n" for name in names)
    return parse(
        f"hosts:\n  HV:\n    networks: {{home: {{mode: host-only, subnets: [{subnets}]}}}}\n    vms:\n{vms}"
    )


def addresses(topology: Topology) -> dict[str, tuple[str, ...]]:
    return {vm.name: (vm.nics[0].mac, *map(str, vm.nics[0].addresses)) for vm in topology.vms.values()}


NAMES = st.lists(st.from_regex(r"\Av[a-z]{1,6}\Z"), min_size=2, max_size=30, unique=True)


@settings(max_examples=50, deadline=None)
@given(NAMES)
def test_an_appended_vm_changes_nothing_of_the_others(names: list[str]) -> None:
    before, after = addresses(lab(names[:-1])), addresses(lab(names))
    assert {name: after[name] for name in before} == before


@settings(max_examples=50, deadline=None)
@given(NAMES)
def test_everything_is_distinct_and_inside(names: list[str]) -> None:
    topology = lab(names)
    nics = [vm.nics[0] for vm in topology.vms.values()]
    network = topology.networks[0]
    taken = [a.ip for nic in nics for a in nic.addresses] + [a.ip for a in network.addresses]
    assert len(set(taken)) == len(taken)
    assert len({nic.mac for nic in nics} | {network.mac}) == len(nics) + 1
    for nic in nics:
        assert re.fullmatch(r"02(:[0-9a-f]{2}){5}", nic.mac)
        assert [a.network for a in nic.addresses] == list(network.subnets)


def test_macs_do_not_depend_on_the_order() -> None:
    forward, backward = addresses(lab(["a", "b", "c"])), addresses(lab(["c", "b", "a"]))
    assert {k: v[0] for k, v in forward.items()} == {k: v[0] for k, v in backward.items()}


def test_known_values_stay() -> None:
    """Other files and people's notes name these addresses; a change of the hash is a break."""
    assert addresses(lab(["web"])) == {
        "web": ("02:b3:72:57:ab:3a", "10.0.0.3/24", "fd00::f5a8:b73b:4d10:370/64"),
    }


def test_a_subnet_can_be_filled_to_the_last_address() -> None:
    topology = lab([f"v{i}" for i in range(5)], "10.0.0.0/29")
    used = {a.ip for vm in topology.vms.values() for a in vm.nics[0].addresses}
    assert used == {ip_address(f"10.0.0.{i}") for i in range(2, 7)}


def test_point_to_point_prefixes() -> None:
    topology = lab(["a"], "10.0.0.0/31, 'fd00::/127'")
    assert [str(a) for a in topology.networks[0].addresses] == ["10.0.0.0/31", "fd00::/127"]
    assert [str(a) for a in topology.vms["a"].nics[0].addresses] == ["10.0.0.1/31", "fd00::1/127"]


def test_long_ipv6_prefixes_have_slots() -> None:
    topology = lab(["a", "b"], "'fd00::/126'")
    used = {str(vm.nics[0].addresses[0].ip) for vm in topology.vms.values()}
    assert used == {"fd00::2", "fd00::3"}


def test_short_ipv6_prefixes_keep_to_their_first_64_bits() -> None:
    (nic,) = lab(["a"], "'fd00::/48'").vms["a"].nics
    assert int(nic.addresses[0].ip) >> 64 == 0xFD00 << 48


def test_fixed_addresses_come_first() -> None:
    preferred = addresses(lab(["a"]))["a"][1]
    text = f"""
hosts:
  hv:
    networks: {{home: {{mode: host-only, subnets: [10.0.0.0/24, "fd00::/64"]}}}}
    vms:
      a: home
      b: {{network: home, address: {preferred}}}
"""
    found = addresses(parse(text))
    assert found["b"][1] == preferred
    assert found["a"][1] != preferred


def test_a_vm_added_on_a_bridge_moves_no_machine() -> None:
    text = """
segments: {{lan: {{subnets: 192.0.2.0/28}}}}
hosts: {{hv: {{nics: {{eth0: lan}}, networks: {{office: bridge}}, vms: {{{}}}}}}}
machines: {{m1: lan, m2: lan, m3: lan, m4: lan}}
"""
    few = parse(text.format("a: office"))
    many = parse(text.format("z: office, y: office, x: office, w: office, a: office"))
    assert few.machines == many.machines
    assert few.hosts["hv"].nics == many.hosts["hv"].nics
