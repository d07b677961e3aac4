"""Answers of rtnetlink dumps as values of a State. Only decoding: asking is read.py's.

Numbers are those of linux/if_link.h, if_addr.h, rtnetlink.h, neighbour.h, fib_rules.h and net_namespace.h.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Interface, ip_address, ip_interface, ip_network
from socket import AF_INET
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from vnetlab.kernel import switch_messages
from vnetlab.kernel.netlink import HEADER, NLM_F_DUMP, NLM_F_REQUEST, attributes, number_of, text_of
from vnetlab.policy import LOCAL, MAIN, TableRoute
from vnetlab.state import Address, Neighbour, StaticRoute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vnetlab.switching import Option
    from vnetlab.topology.model import IPAddress, IPNetwork

GET_LINKS, GET_ADDRESSES, GET_ROUTES, GET_NEIGHBOURS, GET_RULES = 18, 22, 26, 30, 34
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg, as long as struct fib_rule_hdr
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # struct ndmsg
_TRAFFIC = struct.Struct("=QQ")
_FIXED = {GET_LINKS: _LINK, GET_ADDRESSES: _ADDRESS, GET_ROUTES: _ROUTE, GET_NEIGHBOURS: _NEIGHBOUR}

_IFF_UP = 0x1
_NUD_NOARP, _NUD_PERMANENT = 0x40, 0x80
_BY_KERNEL, _UNICAST = 2, 1
_NOTHING = memoryview(b"")

_IFLA_OPERSTATE, _IF_OPER_UP = 16, 6  # linux/if.h
_IFLA_AF_SPEC = 26
_DEVCONF = {2: ("ipv4", 1), 10: ("ipv6", 2)}  # AF_INET: IFLA_INET_CONF; AF_INET6: IFLA_INET6_CONF
_PORT_STATE, _PORT_FORWARDS, _PORT_ISOLATED = 1, 3, 33


def dump(kind: int) -> bytes:
    """Return the request for everything of a kind in the namespace."""
    fixed = _FIXED.get(kind, _ROUTE).size
    return HEADER.pack(HEADER.size + fixed, kind, NLM_F_REQUEST | NLM_F_DUMP, 0, 0) + bytes(fixed)


class Found(Struct, frozen=True):
    """A device as the kernel shows it; indices still stand for other devices."""

    index: int
    name: str
    altname: str
    kind: str
    mac: str
    mtu: int
    up: bool
    master: int
    isolated: bool
    peer: int
    """Index of a veth's other end, in its own namespace."""
    peer_space: int | None
    """That namespace's number as seen from here; None: here."""
    options: tuple[Option, ...]
    blocked: bool
    """A port with carrier that forwards nothing."""
    settings: Mapping[str, tuple[int, ...]]
    """The kernel's array of settings by family, as far as it has the device (`struct ipv4_devconf`, ...)."""


def link(body: memoryview) -> Found:
    """Decode a device."""
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = attributes(body, _LINK.size)
    info = attributes(found.get(18, _NOTHING), 0)
    port = attributes(info.get(5, _NOTHING), 0) if text_of(info.get(4)) == "bridge" else {}
    kind = text_of(info.get(1))
    bridge = attributes(info.get(2, _NOTHING), 0) if kind == "bridge" else {}
    # A tap has carrier, and so forwards, only while its guest has it open.
    forwards = kind == "tun" or _byte(port, _PORT_STATE, _PORT_FORWARDS) == _PORT_FORWARDS
    return Found(
        index,
        text_of(found.get(3)),
        text_of(attributes(found.get(52, _NOTHING), 0).get(53)),
        kind,
        bytes(found.get(1, _NOTHING)).hex(":"),
        number_of(found, 4),
        bool(flags & _IFF_UP) and forwards,
        number_of(found, 10),
        bool(_byte(port, _PORT_ISOLATED, 0)),
        number_of(found, 5),
        number_of(found, 37) if 37 in found else None,
        switch_messages.of_bridge(bridge) if bridge else switch_messages.of_port(port),
        not forwards and _byte(found, _IFLA_OPERSTATE, 0) == _IF_OPER_UP,
        dict(_settings(found.get(_IFLA_AF_SPEC, _NOTHING))),
    )


def _settings(families: memoryview) -> Iterator[tuple[str, tuple[int, ...]]]:
    for number, body in attributes(families, 0).items():
        if number in _DEVCONF:
            family, kind = _DEVCONF[number]
            array = attributes(body, 0).get(kind)
            if array is not None:
                yield family, struct.unpack(f"={len(array) // 4}i", array)


def traffic(body: memoryview) -> tuple[str, int, int]:
    """Return a device's name, and the frames that came in and went out by it (`struct rtnl_link_stats64`)."""
    found = attributes(body, _LINK.size)
    received, sent = _TRAFFIC.unpack_from(found[23])
    return text_of(found.get(3)), received, sent


def address(body: memoryview, names: Mapping[int, str]) -> Address:
    """Decode an address."""
    _, prefix, _, _, index = _ADDRESS.unpack_from(body)
    found = attributes(body, _ADDRESS.size)
    return Address(names.get(index, ""), ip_interface((bytes(found.get(2) or found[1]), prefix)))


def of_device(body: memoryview) -> int:
    """Return the index of the device that an address is of."""
    index: int = _ADDRESS.unpack_from(body)[4]
    return index


def automatic_address(mac: str) -> IPv6Interface:
    """Return the link-local address that a device makes of its MAC (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]])
    return IPv6Interface((bytes([0xFE, 0x80, 0, 0, 0, 0, 0, 0]) + identifier, 64))


def route(body: memoryview, names: Mapping[int, str]) -> StaticRoute | TableRoute | str | None:
    """Decode a route of the table `main`, or of one that only policy rules lead to.

    Returns None for one of the kernel's own, and a description of one that a State cannot hold.
    """
    family, length, _, _, table, protocol, _, kind, _ = _ROUTE.unpack_from(body)
    if protocol == _BY_KERNEL:
        return None
    found = attributes(body, _ROUTE.size)
    table = number_of(found, 15, table)
    prefix = network(family, found.get(1), length)
    if table == LOCAL or kind != _UNICAST or 5 not in found or 4 not in found:
        return f"route to {prefix} of table {table} and type {kind}"
    made = StaticRoute(prefix, _ip(found[5]), names.get(number_of(found, 4), ""))
    metric = number_of(found, 6)
    made = made if metric == made.priority else replace(made, metric=metric)
    return made if table == MAIN else TableRoute(table, made)


def destination(body: memoryview, names: Mapping[int, str]) -> tuple[IPNetwork, str] | None:
    """Decode where a route of any table leads to, and by which device.

    Returns None for the table `local`, which has the machine's own addresses.
    """
    family, length, _, _, table, *_ = _ROUTE.unpack_from(body)
    found = attributes(body, _ROUTE.size)
    table = number_of(found, 15, table)
    if family not in (2, 10) or table == LOCAL:
        return None
    return network(family, found.get(1), length), names.get(number_of(found, 4), "")


def network(family: int, data: memoryview | None, length: int) -> IPNetwork:
    """Return a prefix of routes and rules; the kernel leaves out the one of no length."""
    return ip_network((bytes(data or bytes(4 if family == AF_INET else 16)), length))


def neighbour(body: memoryview, names: Mapping[int, str]) -> Neighbour | None:
    """Decode a permanent neighbour; None for any other."""
    state = _NEIGHBOUR.unpack_from(body)[2]
    return _neighbour(body, names) if state & _NUD_PERMANENT else None


def learned_neighbour(body: memoryview, names: Mapping[int, str]) -> Neighbour | None:
    """Decode a neighbour that was learned by a device among these; None for any other."""
    _, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
    given = state & (_NUD_PERMANENT | _NUD_NOARP)
    return _neighbour(body, names) if index in names and not given else None


def _neighbour(body: memoryview, names: Mapping[int, str]) -> Neighbour | None:
    family, index, *_ = _NEIGHBOUR.unpack_from(body)
    found = attributes(body, _NEIGHBOUR.size)
    if family not in (2, 10) or 1 not in found or 2 not in found:
        return None
    return Neighbour(names.get(index, ""), _ip(found[1]), bytes(found[2]).hex(":"))


def _ip(data: memoryview) -> IPAddress:
    return ip_address(bytes(data))


def _byte(found: Mapping[int, memoryview], kind: int, default: int) -> int:
    data = found.get(kind)
    return data[0] if data else default
