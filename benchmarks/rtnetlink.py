"""rtnetlink by hand: messages packed with struct, and a socket that sends many in one call.

Standard library only, and nothing of vnetlab: the floor that vnetlab is measured against must not share its
code. Constants are those of linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h and linux/veth.h.
"""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import ip_address, ip_interface, ip_network

NEWLINK, DELLINK, NEWADDR, NEWROUTE, NEWLINKPROP = 16, 17, 20, 24, 108
_REQUEST_ACK = 0x5
_CREATE = _REQUEST_ACK | 0x600  # NLM_F_CREATE | NLM_F_EXCL
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_U32 = struct.Struct("=I")
_NESTED = 0x8000
_ONE_QUEUE = struct.pack("=HHIHHI", 8, 31, 1, 8, 32, 1)  # IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES
_IFNAME, _MAC, _MTU, _MASTER, _LINKINFO, _NET_NS_FD = 3, 1, 4, 10, 18, 28
_PROP_LIST, _ALT_IFNAME, _INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 52, 53, 1, 2, 1
_IFF_UP = 1
_BATCH = 100


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute with its padding."""
    return _ATTRIBUTE.pack(len(value) + 4, kind) + value + bytes(-len(value) % 4)


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, _U32.pack(value))


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(len(body) + 16, kind, flags, 0, 0) + body


def _identity(name: str, mac: str, mtu: int) -> bytes:
    return _text(_IFNAME, name) + attribute(_MAC, bytes.fromhex(mac.replace(":", ""))) + _number(_MTU, mtu)


def bridge(name: str, mac: str, mtu: int) -> bytes:
    """Return the request that makes a bridge: no STP, no delay, no snooping, no netfilter calls."""
    options = _number(1, 0) + _number(5, 0) + attribute(23, b"\0")  # FORWARD_DELAY, STP_STATE, MCAST_SNOOPING
    options += b"".join(attribute(kind, b"\0") for kind in (36, 37, 38))  # NF_CALL_*TABLES
    info = _text(_INFO_KIND, "bridge") + attribute(_INFO_DATA | _NESTED, options)
    body = _LINK.pack(0, 0, 0, 0, 0) + _identity(name, mac, mtu) + attribute(_LINKINFO | _NESTED, info)
    return _message(NEWLINK, _CREATE, body)


def veth(near: tuple[str, str, int], far: tuple[str, str, int], far_space: int, master: int) -> bytes:
    """Return the request that makes a pair; an end is name, MAC and MTU, the far one in another namespace."""
    other = _LINK.pack(0, 0, 0, 0, 0) + _identity(*far) + _ONE_QUEUE + _number(_NET_NS_FD, far_space)
    data = attribute(_INFO_DATA | _NESTED, attribute(_VETH_INFO_PEER | _NESTED, other))
    info = attribute(_LINKINFO | _NESTED, _text(_INFO_KIND, "veth") + data)
    joined = _number(_MASTER, master) if master else b""
    return _message(
        NEWLINK, _CREATE, _LINK.pack(0, 0, 0, 0, 0) + _identity(*near) + _ONE_QUEUE + joined + info
    )


def up(index: int, master: int = 0) -> bytes:
    """Return the request that sets a device up, and first makes it a port where a master is given."""
    joined = _number(_MASTER, master) if master else b""
    return _message(NEWLINK, _REQUEST_ACK, _LINK.pack(0, 0, index, _IFF_UP, _IFF_UP) + joined)


def delete(index: int) -> bytes:
    """Return the request that deletes a device."""
    return _message(DELLINK, _REQUEST_ACK, _LINK.pack(0, 0, index, 0, 0))


def altname(index: int, name: str) -> bytes:
    """Return the request that gives a device one more name."""
    names = attribute(_PROP_LIST | _NESTED, _text(_ALT_IFNAME, name))
    return _message(NEWLINKPROP, _CREATE, _LINK.pack(0, 0, index, 0, 0) + names)


def address(index: int, text: str) -> bytes:
    """Return the request that adds an address, without duplicate address detection."""
    interface = ip_interface(text)
    length = interface.network.prefixlen
    packed = interface.ip.packed
    if interface.version == 6:
        return _message(
            NEWADDR, _CREATE, _ADDRESS.pack(socket.AF_INET6, length, 2, 0, index) + attribute(1, packed)
        )
    wide = attribute(4, interface.network.broadcast_address.packed)
    body = _ADDRESS.pack(socket.AF_INET, length, 0, 0, index) + attribute(1, packed) + attribute(2, packed)
    return _message(NEWADDR, _CREATE, body + wide)


def route(index: int, prefix: str, via: str) -> bytes:
    """Return the request that adds a static unicast route to the main table."""
    network = ip_network(prefix)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, network.prefixlen, 0, 0, 254, 4, 0, 1, 0)
    body += attribute(5, ip_address(via).packed) + _number(4, index)  # RTA_GATEWAY, RTA_OIF
    if network.prefixlen:
        body += attribute(1, network.network_address.packed)  # RTA_DST
    return _message(NEWROUTE, _CREATE, body)


def send(messages: list[bytes]) -> None:
    """Send all in the namespace that the thread is in, and wait for every acknowledgement.

    Raises OSError for the first refusal.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as connection:
        connection.setsockopt(270, 10, 1)  # SOL_NETLINK, NETLINK_CAP_ACK
        for at in range(0, len(messages), _BATCH):
            batch = messages[at : at + _BATCH]
            connection.sendto(b"".join(batch), (0, 0))
            left = len(batch)
            while left:
                left -= _acknowledged(connection.recv(1 << 16))


def _acknowledged(data: bytes) -> int:
    at = count = 0
    while at < len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        (number,) = struct.unpack_from("=i", data, at + 16)
        if kind == 2 and number:
            raise OSError(-number, os.strerror(-number))
        count += kind == 2
        at += (length + 3) & ~3
    return count
