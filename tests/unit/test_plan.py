"""The order of steps is what makes a plan safe."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from vnetlab import plan
from vnetlab.state import (
    Address,
    Bridge,
    Link,
    Namespace,
    Neighbour,
    NftChain,
    NftTable,
    State,
    StaticRoute,
    Sysctl,
    Tap,
    Veth,
)

HOST = Namespace(
    "host",
    "host",
    links=(
        Bridge(name="br0", altname="home"),
        Veth(name="p1", altname="vm.eth0", master="br0", peer_namespace="vm", peer="eth0"),
        Tap(name="t1", master="br0", isolated=True),
        Veth(name="up", master="br0", peer_namespace="lan", peer="down"),
    ),
    addresses=(Address("br0", ip_interface("10.0.0.254/24")),),
    sysctls=(
        Sysctl("net/ipv4/conf/br0/forwarding", "1"),
        Sysctl("net/ipv4/conf/all/forwarding", "0"),
        Sysctl("net/ipv4/conf/default/forwarding", "0"),
    ),
    tables=(
        NftTable("netdev", "vnetlab", (NftChain("out", 'type filter hook egress device "br0"', ()),)),
        NftTable("inet", "vnetlab", (NftChain("in", "type filter hook input", ()),)),
    ),
)
VM = Namespace(
    "vm",
    "vm",
    links=(Veth(name="eth0", mac="02:00:00:00:00:01", peer_namespace="host", peer="p1"),),
    addresses=(Address("eth0", ip_interface("10.0.0.1/24")),),
    neighbours=(Neighbour("eth0", ip_address("10.0.0.2"), "02:00:00:00:00:02"),),
    routes=(StaticRoute(ip_network("0.0.0.0/0"), ip_address("10.0.0.254"), "eth0"),),
)
LAN = Namespace(
    "lan",
    "segment",
    links=(
        Bridge(name="switch"),
        Veth(name="down", master="switch", peer_namespace="host", peer="up"),
    ),
)
STATE = State((HOST, VM, LAN))


def steps() -> list[str]:
    return [step.describe() for step in plan.build(STATE).steps]


def before(first: str, second: str) -> bool:
    found = steps()
    return found.index(first) < found.index(second)


def test_the_whole_plan_reads_well() -> None:
    assert steps() == [
        "host: create network namespace of host",
        "vm: create network namespace of vm",
        "lan: create network namespace of segment",
        "host: set net/ipv4/conf/all/forwarding=0, net/ipv4/conf/default/forwarding=0",
        "host: load nftables table inet vnetlab, 0 rules",
        "host: create bridge br0 (home)",
        "lan: create bridge switch",
        "host: create tap t1 on bridge br0",
        "host: create veth p1 (vm.eth0) on bridge br0, other end in vm: eth0",
        "host: create veth up on bridge br0, other end in lan: down",
        "host: name br0 home as well",
        "host: name p1 vm.eth0 as well",
        "host: isolate port t1",
        "host: load nftables table netdev vnetlab, 0 rules",
        "host: set net/ipv4/conf/br0/forwarding=1",
        "lan: attach down to bridge switch",
        *(f"host: set {device} up" for device in ("lo", "br0", "p1", "t1", "up")),
        *(f"vm: set {device} up" for device in ("lo", "eth0")),
        *(f"lan: set {device} up" for device in ("lo", "switch", "down")),
        "host: add address 10.0.0.254/24 to br0",
        "vm: add address 10.0.0.1/24 to eth0",
        "vm: add neighbour 10.0.0.2 at 02:00:00:00:00:02 on eth0",
        "vm: add route to 0.0.0.0/0 via 10.0.0.254 on eth0",
    ]


def test_no_device_is_up_before_the_rules_of_its_namespace() -> None:
    tables = [s for s in steps() if "load nftables" in s]
    ups = [s for s in steps() if s.startswith("host: set ") and s.endswith(" up")]
    assert tables
    assert ups
    assert all(before(table, up) for table in tables for up in ups)


def test_settings_of_a_device_come_between_its_making_and_its_start() -> None:
    setting = "host: set net/ipv4/conf/br0/forwarding=1"
    assert before("host: create bridge br0 (home)", setting)
    assert before(setting, "host: set br0 up")


def test_a_pair_is_made_once_and_from_the_bridges_side() -> None:
    made = [s for s in plan.build(STATE).steps if isinstance(s, plan.CreateVeth)]
    assert [(s.namespace, s.link.name, s.peer.name) for s in made] == [
        ("host", "p1", "eth0"),
        ("host", "up", "down"),
    ]


def test_of_a_setting_given_twice_the_last_counts_in_its_place() -> None:
    settings = (Sysctl("net/a", "1"), Sysctl("net/b", "1"), Sysctl("net/a", "2"))
    (step,) = [
        step
        for step in plan.build(State((Namespace("n", "vm", sysctls=settings),))).steps
        if isinstance(step, plan.SetSysctls)
    ]
    assert step.sysctls == (Sysctl("net/b", "1"), Sysctl("net/a", "2"))


@pytest.mark.parametrize(
    "other",
    [(), (Bridge(name="eth0"),), (Veth(name="eth0", peer_namespace="host", peer="p2"),)],
)
def test_a_veth_needs_its_other_end(other: tuple[Link, ...]) -> None:
    near = Namespace("host", "host", links=(Veth(name="p1", peer_namespace="vm", peer="eth0"),))
    with pytest.raises(ValueError, match=r"veth p1 has no other end vm: eth0|veth eth0 has no"):
        plan.build(State((near, Namespace("vm", "vm", links=other))))


def test_the_same_state_gives_the_same_plan() -> None:
    assert plan.build(STATE) == plan.build(STATE)


def test_nothing_to_do_for_nothing() -> None:
    assert plan.build(State()).steps == ()


def test_a_port_comes_up_before_the_device_behind_it() -> None:
    # So its forwarding tells that both carry packets: nobody asks the device (kernel/ready.py).
    assert before("host: set p1 up", "vm: set eth0 up")
