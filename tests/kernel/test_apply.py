"""Plans carried out in a kernel: what is there afterwards, what passes, and what an error says."""

from __future__ import annotations

import socket
import subprocess
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import taps

from vnetlab import plan
from vnetlab.errors import KernelError, LabLost
from vnetlab.kernel import ready, sysctl
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.apply import apply
from vnetlab.kernel.ready import wait_ready
from vnetlab.state import (
    Address,
    Bridge,
    Namespace,
    Neighbour,
    NftChain,
    NftRule,
    NftTable,
    State,
    StaticRoute,
    Sysctl,
    Tap,
    Veth,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.kernel.holder import Holder
    from vnetlab.kernel.spaces import Spaces

pytestmark = pytest.mark.kernel

NO_DAD = tuple(Sysctl(f"net/ipv6/conf/{scope}/accept_dad", "0") for scope in ("all", "default"))


def machine(number: int, gateway: str = "10.0.0.254") -> Namespace:
    return Namespace(
        f"m{number}",
        "vm",
        links=(
            Veth(
                name="eth0",
                mac=f"02:00:00:00:00:0{number}",
                mtu=1400,
                peer_namespace="hub",
                peer=f"p{number}",
            ),
        ),
        addresses=(
            Address("eth0", ip_interface(f"10.0.0.{number}/24")),
            Address("eth0", ip_interface(f"fd00::{number}/64")),
        ),
        routes=(
            StaticRoute(ip_network("0.0.0.0/0"), ip_address(gateway), "eth0"),
            StaticRoute(ip_network("2001:db8::/32"), ip_address("fd00::fe"), "eth0"),
        ),
        neighbours=(Neighbour("eth0", ip_address("10.0.0.9"), "02:00:00:00:00:99"),),
        sysctls=NO_DAD,
    )


def hub(tables: tuple[NftTable, ...] = (), isolated: tuple[int, ...] = ()) -> Namespace:
    ports = tuple(
        Veth(
            name=f"p{number}",
            altname=f"machine-{number}.eth0",
            mtu=1400,
            master="br0",
            isolated=number in isolated,
            peer_namespace=f"m{number}",
            peer="eth0",
        )
        for number in (1, 2, 3)
    )
    bridge = Bridge(name="br0", altname="a bridge", mac="02:00:00:00:00:fe", mtu=1400)
    return Namespace("hub", "host", links=(bridge, *ports), sysctls=NO_DAD, tables=tables)


def lan(tables: tuple[NftTable, ...] = (), isolated: tuple[int, ...] = ()) -> State:
    return State((hub(tables, isolated), machine(1), machine(2), machine(3)))


def rules(*chains: NftChain, family: str = "bridge") -> tuple[NftTable, ...]:
    return (NftTable(family, "test", chains),)


def show(spaces: Spaces, wanted: tuple[str, str]) -> str:
    namespace, command = wanted
    with spaces.inside(namespace):
        done = subprocess.run(command.split(), capture_output=True, text=True, check=True)
    return done.stdout


def read(spaces: Spaces, wanted: tuple[str, str]) -> str:
    namespace, path = wanted
    with spaces.inside(namespace):
        return Path(path).read_text().strip()


def receives(spaces: Spaces, way: tuple[str, str, str]) -> bool:
    """Send one datagram; tell whether it arrives."""
    source, destination, address = way
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with spaces.inside(destination):
        receiver = socket.socket(family, socket.SOCK_DGRAM)
        receiver.bind((address, 7))
    with spaces.inside(source):
        sender = socket.socket(family, socket.SOCK_DGRAM)
    with sender, receiver:
        receiver.settimeout(0.3)
        sender.sendto(b"x", (address, 7))
        try:
            return receiver.recv(9) == b"x"
        except TimeoutError:
            return False


def wait_briefly(spaces: Spaces, state: State) -> None:
    ready.DEADLINE = 0.1
    wait_ready(spaces, state)


@pytest.fixture
def agent(holder: Holder) -> Iterator[Agent]:
    with Agent(holder) as inside:
        yield inside


def build(agent: Agent, state: State) -> None:
    agent.call(apply, plan.build(state))
    agent.call(wait_ready, state)


def test_a_lan_carries_packets_as_soon_as_it_is_ready(agent: Agent) -> None:
    build(agent, lan())
    assert agent.call(receives, ("m1", "m2", "10.0.0.2"))
    assert agent.call(receives, ("m2", "m3", "fd00::3"))


def test_isolated_ports_are_isolated_from_each_other_only(agent: Agent) -> None:
    build(agent, lan(isolated=(1, 2)))
    assert agent.call(receives, ("m1", "m3", "10.0.0.3"))
    assert not agent.call(receives, ("m1", "m2", "10.0.0.2"))


def test_objects_are_what_the_state_says(agent: Agent) -> None:
    build(agent, lan())
    bridge = agent.call(show, ("hub", "ip -d link show br0"))
    for word in (
        "02:00:00:00:00:fe",
        "mtu 1400",
        "forward_delay 0 ",
        "stp_state 0",
        "mcast_snooping 0",
        "nf_call_iptables 0 nf_call_ip6tables 0 nf_call_arptables 0",
        "altname a bridge",
    ):
        assert word in bridge
    port = agent.call(show, ("hub", "ip -d link show machine-2.eth0"))
    for word in ("p2@", "master br0", "state forwarding", "isolated off", "numtxqueues 1 numrx"):
        assert word in port
    device = agent.call(show, ("m1", "ip -d link show eth0"))
    for word in ("02:00:00:00:00:01", "mtu 1400", "numtxqueues 1 numrxqueues 1", "state UP"):
        assert word in device
    assert "10.0.0.1/24 brd 10.0.0.255 scope global" in agent.call(show, ("m1", "ip addr"))
    assert "fd00::1/64 scope global nodad" in agent.call(show, ("m1", "ip addr"))
    assert "default via 10.0.0.254 dev eth0 proto static" in agent.call(show, ("m1", "ip route"))
    assert "2001:db8::/32 via fd00::fe" in agent.call(show, ("m1", "ip -6 route"))
    neighbours = agent.call(show, ("m1", "ip neigh show nud permanent"))
    assert "10.0.0.9 dev eth0 lladdr 02:00:00:00:00:99" in neighbours


def test_both_ends_can_be_bridge_ports(agent: Agent) -> None:
    near = Namespace(
        "a",
        "host",
        links=(
            Bridge(name="br0"),
            Veth(name="up", master="br0", peer_namespace="b", peer="down"),
        ),
    )
    far = Namespace(
        "b",
        "segment",
        links=(
            Bridge(name="sw"),
            Veth(name="down", master="sw", isolated=True, peer_namespace="a", peer="up"),
        ),
    )
    build(agent, State((near, far)))
    assert "master br0" in agent.call(show, ("a", "ip link show up"))
    assert "isolated on" in agent.call(show, ("b", "bridge -d link show dev down"))


def test_tables_are_loaded_and_hold(agent: Agent) -> None:
    drop = NftChain(
        "pass",
        "type filter hook forward priority -200; policy drop;",
        (NftRule("iifname p1 accept", "one"), NftRule("ether type arp accept", "resolution")),
    )
    build(agent, lan(rules(drop)))
    assert agent.call(receives, ("m1", "m2", "10.0.0.2"))
    assert not agent.call(receives, ("m2", "m1", "10.0.0.1"))
    listing = agent.call(show, ("hub", "nft list ruleset"))
    assert 'iifname "p1" counter packets' in listing
    assert 'comment "one"' in listing


def test_tables_of_devices_find_their_devices(agent: Agent) -> None:
    wall = NftChain("wall", 'type filter hook egress device "br0" priority 0; policy drop;', ())
    build(agent, lan(rules(wall, family="netdev")))
    assert 'device "br0"' in agent.call(show, ("hub", "nft list ruleset"))


def test_settings_keep_their_order(agent: Agent) -> None:
    settings = (
        Sysctl("net/ipv6/conf/default/disable_ipv6", "0"),
        Sysctl("net/ipv6/conf/all/disable_ipv6", "0"),
        Sysctl("net/ipv6/conf/default/disable_ipv6", "1"),
        Sysctl("net/ipv4/conf/br0/forwarding", "1"),
        Sysctl("net/bridge/no-such-setting", "1"),
    )
    build(agent, State((Namespace("n", "vm", links=(Bridge(name="br0"),), sysctls=settings),)))
    assert agent.call(read, ("n", "/proc/sys/net/ipv6/conf/br0/disable_ipv6")) == "1"
    assert agent.call(read, ("n", "/proc/sys/net/ipv6/conf/lo/disable_ipv6")) == "0"
    assert agent.call(read, ("n", "/proc/sys/net/ipv4/conf/br0/forwarding")) == "1"


@pytest.mark.parametrize(
    ("namespace", "says"),
    [
        (
            Namespace(
                "n",
                "vm",
                links=(Bridge(name="br0"),),
                routes=(StaticRoute(ip_network("10.1.0.0/16"), ip_address("10.9.9.9"), "br0"),),
            ),
            r"n: add route to 10\.1\.0\.0/16 via 10\.9\.9\.9 on br0: Network is unreachable",
        ),
        (
            Namespace("n", "vm", links=(Bridge(name="a", mac="01:00:00:00:00:00"),)),
            "n: create bridge a: Cannot assign requested address",
        ),
        (
            Namespace("n", "vm", addresses=(Address("eth9", ip_interface("10.0.0.1/8")),)),
            r"n: add address 10\.0\.0\.1/8 to eth9: no device eth9",
        ),
        (
            Namespace("n", "vm", sysctls=(Sysctl("net/ipv4/no_such_key", "1"),)),
            "net/ipv4/no_such_key: the kernel has no such setting",
        ),
        (
            Namespace("n", "vm", sysctls=(Sysctl("net/ipv4/ip_forward", "yes"),)),
            "net/ipv4/ip_forward=yes: Invalid argument",
        ),
        (
            Namespace("n", "vm", tables=rules(NftChain("x", "", (NftRule("nonsense", "y"),)))),
            "(?s)nftables refused table bridge test.*nonsense counter",
        ),
    ],
)
def test_an_error_names_the_step(agent: Agent, namespace: Namespace, says: str) -> None:
    with pytest.raises(KernelError, match=says):
        agent.call(apply, plan.build(State((namespace,))))


def test_the_first_of_many_refused_requests_is_named(agent: Agent) -> None:
    links = tuple(Bridge(name=f"b{n}", mac="01:00:00:00:00:00" if n > 3 else "") for n in range(9))
    with pytest.raises(KernelError, match="create bridge b4"):
        agent.call(apply, plan.build(State((Namespace("n", "vm", links=links),))))


def test_more_requests_than_one_batch(agent: Agent) -> None:
    links = tuple(Bridge(name=f"b{number}") for number in range(250))
    build(agent, State((Namespace("n", "vm", links=links),)))
    assert agent.call(show, ("n", "ip -o link")).count("state") == 251


def test_not_ready_names_who(agent: Agent) -> None:
    state = lan()
    steps = plan.build(state).steps
    without = tuple(
        step for step in steps if step != plan.LinkUp("m2", "eth0") and not isinstance(step, plan.AddRoute)
    )
    agent.call(apply, plan.Plan(without))
    with pytest.raises(KernelError, match=r"hub: p2, to eth0 of m2, has no carrier$"):
        agent.call(wait_briefly, state)


@pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="no /dev/net/tun")
@taps.needed
def test_a_tap_stays_and_is_not_waited_for(agent: Agent) -> None:
    try:
        Path("/dev/net/tun").open("rb+", buffering=0).close()
    except PermissionError:
        pytest.skip("/dev/net/tun is closed to this user")
    tap = Tap(name="t0", altname="guest.eth0", mtu=1400, master="br0")
    build(agent, State((Namespace("n", "host", links=(Bridge(name="br0", mtu=1400), tap)),)))
    shown = agent.call(show, ("n", "ip -d link show t0"))
    for word in ("tun type tap", "persist on", "master br0", "mtu 1400", "altname guest.eth0"):
        assert word in shown


def test_optional_settings_are_few() -> None:
    assert all(key.startswith("net/") and key.count("/") > 1 for key in sysctl.OPTIONAL)


def test_a_lab_lost_while_it_is_made(holder: Holder) -> None:
    with Agent(holder) as inside:
        holder.end()
        with pytest.raises(LabLost):
            inside.call(apply, plan.build(lan()))
