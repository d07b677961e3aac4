"""Values of a State as rtnetlink requests.

Only encoding: sending them is netlink.py's, the layout of attributes attributes.py's. Constants are those of
linux/if_link.h, linux/neighbour.h and linux/rtnetlink.h. Many machines have the same first device and the
same default route: those are kept.
"""

from __future__ import annotations

from functools import lru_cache
from socket import AF_INET, AF_INET6
from struct import Struct
from typing import TYPE_CHECKING

from vnetlab.kernel.attributes import encoded, mac_bytes
from vnetlab.kernel.netlink import HEADER, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST
from vnetlab.policy import MAIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnetlab.kernel.attributes import Attribute
    from vnetlab.state import Address, Link, Neighbour, StaticRoute
    from vnetlab.topology.model import IPAddress, IPInterface, IPNetwork

_RTM_NEWLINK = 16
_RTM_DELLINK = 17
_RTM_GETLINK = 18
_RTM_NEWADDR = 20
_RTM_DELADDR = 21
_RTM_GETADDR = 22
_RTM_NEWROUTE = 24
_RTM_DELROUTE = 25
_RTM_NEWNEIGH = 28
_RTM_DELNEIGH = 29
_RTM_NEWLINKPROP = 108
_RTM_DELLINKPROP = 109
_NLM_F_REPLACE = 0x100
_NLM_F_EXCL = 0x200
_NLM_F_CREATE = 0x400
_CREATE = NLM_F_REQUEST | NLM_F_ACK | _NLM_F_CREATE | _NLM_F_EXCL
_REPLACE = NLM_F_REQUEST | NLM_F_ACK | _NLM_F_CREATE | _NLM_F_REPLACE
_CHANGE = NLM_F_REQUEST | NLM_F_ACK
_DUMP = NLM_F_REQUEST | NLM_F_DUMP
_SKIP_STATS = 8  # RTEXT_FILTER_SKIP_STATS

_IFF_UP = 0x1
_IFA_F_NODAD = 0x02
_NUD_PERMANENT = 0x80
_RTPROT_STATIC = 4
_RTN_UNICAST = 1
_RT_SCOPE_UNIVERSE = 0
_LINK = Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS = Struct("=BBBBI")  # struct ifaddrmsg
_NEIGHBOUR = Struct("=BxxxiHBB")  # struct ndmsg
_ROUTE = Struct("=BBBBBBBBI")  # struct rtmsg

_ONE_QUEUE: tuple[Attribute, ...] = (("IFLA_NUM_TX_QUEUES", 1), ("IFLA_NUM_RX_QUEUES", 1))
"""The default of a veth is a queue for each CPU that the machine could have."""

_SWITCH: tuple[Attribute, ...] = (
    # A switch that forwards from its first moment (no listening, no learning phase), knows no spanning
    # tree, hides no multicast and shows its frames to no IP firewall.
    ("IFLA_BR_FORWARD_DELAY", 0),
    ("IFLA_BR_STP_STATE", 0),
    ("IFLA_BR_MCAST_SNOOPING", 0),
    ("IFLA_BR_NF_CALL_IPTABLES", 0),
    ("IFLA_BR_NF_CALL_IP6TABLES", 0),
    ("IFLA_BR_NF_CALL_ARPTABLES", 0),
)


def create_bridge(link: Link) -> bytes:
    """Return the request that makes a bridge, down."""
    switch = _nest("IFLA_LINKINFO", _kind("bridge"), _nest("IFLA_INFO_DATA", *_SWITCH))
    return _link(_RTM_NEWLINK, _CREATE, attributes=(*_identity(link), switch))


def create_bare(kind: str, name: str) -> bytes:
    """Return the request that makes a device of any kind, without options."""
    return _link(
        _RTM_NEWLINK, _CREATE, attributes=(("IFLA_IFNAME", name), _nest("IFLA_LINKINFO", _kind(kind)))
    )


def create_veth(link: Link, peer: Link, peer_namespace: int, master: int) -> bytes:
    """Return the request that makes a veth pair, both ends down.

    ``peer_namespace`` is an open descriptor that must stay open until the request is sent; ``master``
    is the index of the bridge that the near end joins, or 0.
    """
    far = _nest("VETH_INFO_PEER", *_identity(peer), *_ONE_QUEUE, ("IFLA_NET_NS_FD", peer_namespace))
    pair = _nest("IFLA_LINKINFO", _kind("veth"), _nest("IFLA_INFO_DATA", far))
    joined = (("IFLA_MASTER", master),) if master else ()
    attributes = (*_identity(link), *_ONE_QUEUE, *joined, pair)
    return _link(_RTM_NEWLINK, _CREATE, attributes=attributes)


def set_identity(link: Link, index: int) -> bytes:
    """Return the request that gives an existing device its MAC and MTU."""
    return _link(_RTM_NEWLINK, _CHANGE, index, attributes=_identity(link)[1:])


def delete_link(index: int) -> bytes:
    """Return the request that deletes a device; of a veth pair both ends."""
    return _link(_RTM_DELLINK, _CHANGE, index)


def set_mac(index: int, mac: str) -> bytes:
    """Return the request that gives a device another MAC."""
    return _link(_RTM_NEWLINK, _CHANGE, index, attributes=(("IFLA_ADDRESS", mac_bytes(mac)),))


def set_mtu(index: int, mtu: int) -> bytes:
    """Return the request that gives a device another MTU."""
    return _link(_RTM_NEWLINK, _CHANGE, index, attributes=(("IFLA_MTU", mtu),))


def set_master(index: int, bridge: int) -> bytes:
    """Return the request that makes a device a port of a bridge; of none where that is 0."""
    return _link(_RTM_NEWLINK, _CHANGE, index, attributes=(("IFLA_MASTER", bridge),))


def set_isolated(index: int, isolated: bool) -> bytes:
    """Return the request that isolates a bridge port from the other isolated ones, or ends that."""
    flag = _nest("IFLA_INFO_SLAVE_DATA", ("IFLA_BRPORT_ISOLATED", int(isolated)))
    port = _nest("IFLA_LINKINFO", ("IFLA_INFO_SLAVE_KIND", "bridge"), flag)
    return _link(_RTM_NEWLINK, _CHANGE, index, attributes=(port,))


def change_link(index: int, *attributes: Attribute) -> bytes:
    """Return the request that gives a device these attributes."""
    return _link(_RTM_NEWLINK, _CHANGE, index, attributes=attributes)


def add_altname(index: int, name: str) -> bytes:
    """Return the request that gives a device one more name."""
    names = _nest("IFLA_PROP_LIST", ("IFLA_ALT_IFNAME", name))
    return _link(_RTM_NEWLINKPROP, _CREATE, index, attributes=(names,))


def remove_altname(index: int, name: str) -> bytes:
    """Return the request that takes a further name from a device."""
    names = _nest("IFLA_PROP_LIST", ("IFLA_ALT_IFNAME", name))
    return _link(_RTM_DELLINKPROP, _CHANGE, index, attributes=(names,))


@lru_cache
def set_up(index: int) -> bytes:
    """Return the request that sets a device up."""
    return _link(_RTM_NEWLINK, _CHANGE, index, flags=_IFF_UP, mask=_IFF_UP)


def set_down(index: int) -> bytes:
    """Return the request that sets a device down."""
    return _link(_RTM_NEWLINK, _CHANGE, index, mask=_IFF_UP)


def add_address(address: Address, index: int) -> bytes:
    """Return the request that adds an address, usable at once."""
    return _address(address, index, _RTM_NEWADDR, _CREATE)


def remove_address(address: Address, index: int) -> bytes:
    """Return the request that removes an address."""
    return _address(address, index, _RTM_DELADDR, _CHANGE)


def _address(address: Address, index: int, kind: int, request: int) -> bytes:
    interface = address.address
    length, packed = interface.network.prefixlen, interface.packed
    flags = _IFA_F_NODAD if interface.version == 6 else 0
    header = _ADDRESS.pack(_family(interface), length, flags, 0, index)
    values: list[Attribute] = [("IFA_ADDRESS", packed)]
    if interface.version == 4:
        values.append(("IFA_LOCAL", packed))
        if length < 31:  # a /31 has no broadcast address (RFC 3021)
            values.append(("IFA_BROADCAST", interface.network.broadcast_address.packed))
    return _message(kind, request, header, values)


def add_neighbour(neighbour: Neighbour, index: int) -> bytes:
    """Return the request that adds a permanent neighbour entry, in the place of one that was learned."""
    return _neighbour(neighbour, index, _RTM_NEWNEIGH, _REPLACE)


def remove_neighbour(neighbour: Neighbour, index: int) -> bytes:
    """Return the request that removes a neighbour entry."""
    return _neighbour(neighbour, index, _RTM_DELNEIGH, _CHANGE)


def _neighbour(neighbour: Neighbour, index: int, kind: int, request: int) -> bytes:
    header = _NEIGHBOUR.pack(_family(neighbour.address), index, _NUD_PERMANENT, 0, 0)
    values = (("NDA_DST", neighbour.address.packed), ("NDA_LLADDR", mac_bytes(neighbour.mac)))
    return _message(kind, request, header, values)


@lru_cache
def add_route(route: StaticRoute, index: int) -> bytes:
    """Return the request that adds a static unicast route to the main table."""
    return _route(route, index, _RTM_NEWROUTE, _CREATE)


def change_route(route: StaticRoute, index: int) -> bytes:
    """Return the request that puts a route in the place of another one to its prefix."""
    return _route(route, index, _RTM_NEWROUTE, _REPLACE)


def remove_route(route: StaticRoute, index: int) -> bytes:
    """Return the request that removes a route of the main table, whoever made it."""
    return _route(route, index, _RTM_DELROUTE, _CHANGE)


def _route(route: StaticRoute, index: int, kind: int, request: int) -> bytes:
    length = route.prefix.prefixlen
    protocol = 0 if kind == _RTM_DELROUTE else _RTPROT_STATIC
    header = _ROUTE.pack(
        _family(route.prefix), length, 0, 0, MAIN, protocol, _RT_SCOPE_UNIVERSE, _RTN_UNICAST, 0
    )
    values: list[Attribute] = [("RTA_GATEWAY", route.via.packed), ("RTA_OIF", index)]
    # Without one the kernel takes the first of several that differ in nothing else.
    if route.metric or (kind == _RTM_DELROUTE and route.priority):
        values.append(("RTA_PRIORITY", route.priority))
    if length:
        values.append(("RTA_DST", route.prefix.network_address.packed))
    return _message(kind, request, header, values)


@lru_cache
def dump_links() -> bytes:
    """Return the request for all devices of the namespace, without their counters."""
    return _link(_RTM_GETLINK, _DUMP, attributes=(("IFLA_EXT_MASK", _SKIP_STATS),))


@lru_cache
def dump_addresses() -> bytes:
    """Return the request for all addresses of the namespace."""
    return _message(_RTM_GETADDR, _DUMP, _ADDRESS.pack(0, 0, 0, 0, 0))


def _link(
    kind: int,
    request: int,
    index: int = 0,
    attributes: tuple[Attribute, ...] = (),
    flags: int = 0,
    mask: int = 0,
) -> bytes:
    return _message(kind, request, _LINK.pack(0, 0, index, flags, mask), attributes)


def _identity(link: Link) -> tuple[Attribute, ...]:
    mac = (("IFLA_ADDRESS", mac_bytes(link.mac)),) if link.mac else ()
    return (("IFLA_IFNAME", link.name), ("IFLA_MTU", link.mtu), *mac)


def _kind(name: str) -> Attribute:
    return ("IFLA_INFO_KIND", name)


def _nest(name: str, *attributes: Attribute) -> Attribute:
    return (name, attributes)


def _family(address: IPAddress | IPInterface | IPNetwork) -> int:
    return AF_INET if address.version == 4 else AF_INET6


def _message(kind: int, request: int, header: bytes, attributes: Iterable[Attribute] = ()) -> bytes:
    body = header + encoded(attributes)
    return HEADER.pack(HEADER.size + len(body), kind, request, 0, 0) + body
