"""Requests as a general decoder of rtnetlink, of another hand, reads them."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_address
from typing import Any

import pytest
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from vnetlab import switching
from vnetlab.kernel import messages, switch_messages
from vnetlab.state import Address, Bridge, Neighbour, StaticRoute, Veth
from vnetlab.switching import Option

BRIDGE = Bridge(name="vb0", altname="hv1.office", mac="02:00:00:00:00:01", mtu=1400)
PORT = Veth(name="vp0", mac="fe:00:00:00:00:02", mtu=9000, master="vb0", peer_namespace="web", peer="eth0")
NIC = Veth(name="eth0", mac="02:00:00:00:00:03", mtu=9000, peer_namespace="hv1", peer="vp0")


def decoded(request: bytes) -> Any:
    (message,) = MarshalRtnl().parse(request)
    assert message["header"]["length"] == len(request)
    return message


def test_bridge() -> None:
    message = decoded(messages.create_bridge(BRIDGE))
    info = message.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA")
    assert message["header"]["type"] == 16
    assert message["header"]["flags"] == 0x605  # request, acknowledge, create, exclusive
    assert message.get_attr("IFLA_IFNAME") == "vb0"
    assert message.get_attr("IFLA_MTU") == 1400
    assert message.get_attr("IFLA_ADDRESS") == BRIDGE.mac
    assert info.get_attr("IFLA_INFO_KIND") == "bridge"
    for name in ("FORWARD_DELAY", "STP_STATE", "MCAST_SNOOPING", "NF_CALL_IPTABLES", "NF_CALL_IP6TABLES"):
        assert data.get_attr(f"IFLA_BR_{name}") == 0
    assert data.get_attr("IFLA_BR_NF_CALL_ARPTABLES") == 0
    assert len(data["attrs"]) == 6


def test_veth() -> None:
    message = decoded(messages.create_veth(PORT, NIC, 7, 5))
    info = message.get_attr("IFLA_LINKINFO")
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    assert message.get_attr("IFLA_MASTER") == 5
    for end, link in ((message, PORT), (peer, NIC)):
        assert end.get_attr("IFLA_IFNAME") == link.name
        assert end.get_attr("IFLA_MTU") == 9000
        assert end.get_attr("IFLA_ADDRESS") == link.mac
        assert end.get_attr("IFLA_NUM_TX_QUEUES") == end.get_attr("IFLA_NUM_RX_QUEUES") == 1
    assert peer.get_attr("IFLA_NET_NS_FD") == 7
    assert decoded(messages.create_veth(PORT, NIC, 7, 0)).get_attr("IFLA_MASTER") is None


def test_links_change() -> None:
    up = decoded(messages.set_up(9))
    assert (up["index"], up["flags"], up["change"]) == (9, 1, 1)
    down = decoded(messages.set_down(9))
    assert (down["index"], down["flags"], down["change"]) == (9, 0, 1)
    assert decoded(messages.set_master(9, 4)).get_attr("IFLA_MASTER") == 4
    assert decoded(messages.set_mac(9, NIC.mac)).get_attr("IFLA_ADDRESS") == NIC.mac
    assert decoded(messages.set_mtu(9, 1280)).get_attr("IFLA_MTU") == 1280
    assert decoded(messages.delete_link(9))["header"]["type"] == 17
    identity = decoded(messages.set_identity(PORT, 9))
    assert (identity.get_attr("IFLA_IFNAME"), identity.get_attr("IFLA_MTU")) == (None, 9000)
    names = decoded(messages.add_altname(9, "web.eth0")).get_attr("IFLA_PROP_LIST")
    assert names.get_attr("IFLA_ALT_IFNAME") == "web.eth0"


@pytest.mark.parametrize("isolated", [True, False])
def test_port_isolation(isolated: bool) -> None:
    info = decoded(messages.set_isolated(9, isolated)).get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_SLAVE_KIND") == "bridge"
    assert info.get_attr("IFLA_INFO_SLAVE_DATA").get_attr("IFLA_BRPORT_ISOLATED") == int(isolated)


def test_options_of_bridges_and_ports() -> None:
    """Read back by our own decoder in the tests of the kernel; here by another one."""
    for name in switching.BRIDGE:
        info = decoded(switch_messages.set_bridge(9, Option(name, 1))).get_attr("IFLA_LINKINFO")
        assert info.get_attr("IFLA_INFO_KIND") == "bridge"
        ((found, value),) = info.get_attr("IFLA_INFO_DATA")["attrs"]
        assert (found.removeprefix("IFLA_BR_").lower(), value) == (name, 1)
    for name in switching.PORT:
        info = decoded(switch_messages.set_port(9, Option(name, 1))).get_attr("IFLA_LINKINFO")
        ((found, value),) = info.get_attr("IFLA_INFO_SLAVE_DATA")["attrs"]
        said = found.removeprefix("IFLA_BRPORT_").lower()
        other = {"mode": "hairpin", "unicast_flood": "flood", "proxyarp": "proxy_arp"}
        assert (other.get(said, said), value) == (name, 1)


@pytest.mark.parametrize(
    ("text", "flags", "broadcast"),
    [("10.0.0.9/22", 0, "10.0.3.255"), ("10.0.0.9/31", 0, None), ("fd00::9/64", 2, None)],
)
def test_address(text: str, flags: int, broadcast: str | None) -> None:
    interface = IPv6Interface(text) if ":" in text else IPv4Interface(text)
    message = decoded(messages.add_address(Address("eth0", interface), 3))
    assert (message["index"], message["flags"]) == (3, flags)
    assert message["prefixlen"] == interface.network.prefixlen
    assert message.get_attr("IFA_ADDRESS") == str(interface.ip)
    assert message.get_attr("IFA_BROADCAST") == broadcast
    assert message.get_attr("IFA_LOCAL") == (str(interface.ip) if broadcast or flags == 0 else None)
    assert decoded(messages.remove_address(Address("eth0", interface), 3))["header"]["type"] == 21


def test_route() -> None:
    route = StaticRoute(IPv4Network("10.9.0.0/16"), ip_address("10.0.0.1"), "eth0")
    message = decoded(messages.add_route(route, 3))
    assert (message["dst_len"], message["table"], message["proto"], message["type"]) == (16, 254, 4, 1)
    assert message.get_attr("RTA_DST") == "10.9.0.0"
    assert message.get_attr("RTA_GATEWAY") == "10.0.0.1"
    assert message.get_attr("RTA_OIF") == 3
    default = StaticRoute(IPv6Network("::/0"), IPv6Address("fd00::1"), "eth0")
    six = decoded(messages.add_route(default, 3))
    assert (six["family"], six["dst_len"], six.get_attr("RTA_DST")) == (10, 0, None)
    assert six.get_attr("RTA_GATEWAY") == "fd00::1"
    removed = decoded(messages.remove_route(route, 3))
    assert (removed["header"]["type"], removed["proto"]) == (25, 0)


def test_neighbour() -> None:
    neighbour = Neighbour("eth0", ip_address("10.0.0.7"), NIC.mac)
    message = decoded(messages.add_neighbour(neighbour, 3))
    assert (message["family"], message["ifindex"], message["state"]) == (2, 3, 0x80)
    assert message.get_attr("NDA_DST") == "10.0.0.7"
    assert message.get_attr("NDA_LLADDR") == NIC.mac


def test_dumps_ask_for_everything() -> None:
    assert decoded(messages.dump_links())["header"]["type"] == 18
    assert decoded(messages.dump_addresses())["header"]["flags"] == 0x301
