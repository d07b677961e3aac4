"""What a device carries, as the kernel describes it, and as it is asked to put it on another one.

Addresses, routes and neighbours stay the bytes of rtnetlink's answers: the next kernel's attributes are
carried along without being known here. Only what a request may not say is taken out. Numbers are those of
linux/if_addr.h, rtnetlink.h and neighbour.h.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.errors import KernelError
from vnetlab.kernel import read_messages
from vnetlab.kernel.netlink import HEADER, NLM_F_ACK, NLM_F_REQUEST, attributes
from vnetlab.policy import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vnetlab.kernel.netlink import Netlink

_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_HOP = struct.Struct("=HBBi")  # struct rtnexthop
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # struct ndmsg
_NUMBER = struct.Struct("=I")
_ATTRIBUTE = struct.Struct("=HH")
_NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE, _NEWNEIGH = 20, 21, 24, 25, 28
_REPLACE, _CREATE, _APPEND = 0x100, 0x400, 0x800
_INET, _INET6 = 2, 10

_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_FLAGS = 1, 2, 3, 8
_NODAD, _NO_PREFIX_ROUTE = 0x02, 0x200
_STATES = 0x01 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80
"""Secondary or temporary, optimistic, failed, deprecated, tentative, permanent: the kernel's to say."""

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6
_RTA_MULTIPATH, _RTA_CACHEINFO, _RTA_TABLE, _RTA_EXPIRES, _RTA_VIA, _RTA_NH_ID = 9, 12, 15, 23, 18, 30
_UNICAST, _ONLINK, _CLONED = 1, 4, 0x200
_TICKS = 100
"""USER_HZ, in which the kernel says how long a route lasts."""

_NDA_DST, _NDA_LLADDR = 1, 2
_REACHABLE, _STALE, _PERMANENT = 0x02, 0x04, 0x80
_KNOWN = _REACHABLE | _STALE | 0x08 | 0x10 | _PERMANENT


class Carried(Struct, frozen=True):
    """Addresses and routes of a device."""

    addresses: tuple[bytes, ...]
    routes: tuple[bytes, ...]

    def encode(self) -> str:
        """Return text for the journal."""
        return json.dumps([[body.hex() for body in part] for part in (self.addresses, self.routes)])

    @classmethod
    def decode(cls, text: str) -> Carried:
        """Read what encode() wrote."""
        addresses, routes = json.loads(text)
        return cls(tuple(map(bytes.fromhex, addresses)), tuple(map(bytes.fromhex, routes)))


def addresses(netlink: Netlink, index: int) -> tuple[bytes, ...]:
    """Return the addresses of a device in their order, link-local ones included; raises KernelError."""
    return tuple(
        bytes(body)
        for _, body in netlink.dump(read_messages.dump(read_messages.GET_ADDRESSES))
        if _ADDRESS.unpack_from(body)[4] == index
    )


def routes(netlink: Netlink, index: int) -> tuple[bytes, ...]:
    """Return the unicast routes by a device, of every table but the kernel's own; raises KernelError."""
    found: list[bytes] = []
    for _, body in netlink.dump(read_messages.dump(read_messages.GET_ROUTES)):
        family, _, _, _, _, _, _, kind, flags = _ROUTE.unpack_from(body)
        parts = attributes(body, _ROUTE.size)
        if family not in (2, _INET6) or kind != _UNICAST or flags & _CLONED:
            continue
        if _table(body, parts) == LOCAL:
            continue
        if family == _INET6 and _RTA_MULTIPATH in parts:
            found += _single(body, parts, index)
        elif index in _devices(parts):
            found.append(bytes(body))
    return tuple(found)


def _single(body: memoryview, parts: Mapping[int, memoryview], index: int) -> Iterator[bytes]:
    """Yield the routes by a device of those that IPv6 shows as one: to it each is a route of its own."""
    kept = {k: v for k, v in parts.items() if k not in (_RTA_MULTIPATH, _RTA_OIF)}
    for flags, device, hop in _hops(parts[_RTA_MULTIPATH]):
        if device == index:
            fixed = bytearray(body[: _ROUTE.size])
            _NUMBER.pack_into(fixed, 8, flags & _ONLINK)
            own = {**kept, _RTA_OIF: memoryview(_NUMBER.pack(index)), **attributes(hop, 0)}
            yield bytes(fixed) + _attributes(own)


def check(device: str, carried: Carried) -> None:
    """Raise KernelError for a route that cannot be carried to another device."""
    for body in carried.routes:
        parts = attributes(memoryview(body), _ROUTE.size)
        if _RTA_NH_ID in parts or _RTA_MULTIPATH in parts:
            raise KernelError(
                f"{device} has a route with several next hops, or one by a next hop object (`ip nexthop`), "
                "which cannot be moved onto a bridge; write it as a plain route, or take another mode"
            )


def address_key(body: bytes) -> tuple[int, int, bytes, bytes]:
    """Return what tells an address from the others of a device."""
    family, prefix, *_ = _ADDRESS.unpack_from(body)
    parts = attributes(memoryview(body), _ADDRESS.size)
    return family, prefix, bytes(parts.get(_IFA_LOCAL, b"")), bytes(parts.get(_IFA_ADDRESS, b""))


def route_key(body: bytes) -> tuple[object, ...]:
    """Return what tells a route from the others of a device."""
    family, length, _, tos, *_ = _ROUTE.unpack_from(body)
    parts = attributes(memoryview(body), _ROUTE.size)
    told = (_RTA_DST, _RTA_GATEWAY, _RTA_VIA, _RTA_PRIORITY)
    return family, length, tos, _table(memoryview(body), parts), *(bytes(parts.get(k, b"")) for k in told)


def has_gateway(body: bytes) -> bool:
    """Tell whether a route leads over a next hop, to which there has to be one already."""
    parts = attributes(memoryview(body), _ROUTE.size)
    return _RTA_GATEWAY in parts or _RTA_VIA in parts


def is_lasting(body: bytes) -> bool:
    """Tell whether an address has no lifetime, so that nobody has to renew it."""
    flags = attributes(memoryview(body), _ADDRESS.size).get(_IFA_FLAGS)
    return bool(flags and _NUMBER.unpack(flags)[0] & 0x80)


def add_address(body: bytes, index: int) -> bytes:
    """Return the request that puts an address on a device, usable at once."""
    family, prefix, _, scope, _ = _ADDRESS.unpack_from(body)
    parts = dict(attributes(memoryview(body), _ADDRESS.size))
    flags = _NUMBER.unpack(parts[_IFA_FLAGS])[0] if _IFA_FLAGS in parts else body[2]
    flags = flags & ~_STATES | (_NODAD if family == _INET6 else 0)
    parts[_IFA_FLAGS] = memoryview(_NUMBER.pack(flags))
    parts.pop(_IFA_LABEL, None)  # it has to begin with the device's name
    fixed = _ADDRESS.pack(family, prefix, flags & 0xFF, scope, index)
    return _request(_NEWADDR, _CREATE | _REPLACE, fixed, parts)


def lend_address(body: bytes, index: int) -> bytes:
    """Return the request that puts an IPv4 address on a device too, with no route but the one to itself."""
    _, _, _, scope, _ = _ADDRESS.unpack_from(body)
    parts = attributes(memoryview(body), _ADDRESS.size)
    own = parts.get(_IFA_LOCAL) or parts[_IFA_ADDRESS]
    kept = {_IFA_ADDRESS: own, _IFA_LOCAL: own, _IFA_FLAGS: memoryview(_NUMBER.pack(_NO_PREFIX_ROUTE))}
    return _request(_NEWADDR, _CREATE | _REPLACE, _ADDRESS.pack(_INET, 32, 0, scope, index), kept)


def is_ipv4(body: bytes) -> bool:
    """Tell whether an address is one of IPv4."""
    return body[0] == _INET


def remove_address(body: bytes, index: int) -> bytes:
    """Return the request that takes an address from a device."""
    family, prefix, _, scope, _ = _ADDRESS.unpack_from(body)
    parts = attributes(memoryview(body), _ADDRESS.size)
    kept = {k: v for k, v in parts.items() if k in (_IFA_ADDRESS, _IFA_LOCAL)}
    return _request(_DELADDR, 0, _ADDRESS.pack(family, prefix, 0, scope, index), kept)


def put_route(body: bytes, index: int) -> bytes:
    """Return the request that has a route lead by a device too, behind its twin by another one."""
    return _route(_NEWROUTE, _CREATE | _APPEND, body, index)


def remove_route(body: bytes, index: int) -> bytes:
    """Return the request that takes a route of a device away."""
    return _route(_DELROUTE, 0, body, index)


def neighbours(netlink: Netlink, near: int, far: int) -> Iterator[bytes]:
    """Yield requests that tell a device which neighbours another one knows; raises KernelError."""
    for _, body in netlink.dump(read_messages.dump(read_messages.GET_NEIGHBOURS)):
        family, index, state, flags, kind = _NEIGHBOUR.unpack_from(body)
        parts = attributes(body, _NEIGHBOUR.size)
        if index != near or not state & _KNOWN or family not in (2, _INET6) or _NDA_LLADDR not in parts:
            continue
        known = state if state & (_PERMANENT | _REACHABLE) else _STALE
        kept = {k: v for k, v in parts.items() if k in (_NDA_DST, _NDA_LLADDR)}
        yield _request(
            _NEWNEIGH, _CREATE | _REPLACE, _NEIGHBOUR.pack(family, far, known, flags & 0x80, kind), kept
        )


def _route(kind: int, how: int, body: bytes, index: int) -> bytes:
    family, length, source, tos, table, protocol, scope, route, flags = _ROUTE.unpack_from(body)
    parts = dict(attributes(memoryview(body), _ROUTE.size))
    parts[_RTA_OIF] = memoryview(_NUMBER.pack(index))
    lasts = parts.pop(_RTA_CACHEINFO, None)
    if lasts and family == _INET6:
        (ticks,) = struct.unpack_from("=i", lasts, 8)  # rta_expires of struct rta_cacheinfo
        if ticks > 0:
            parts[_RTA_EXPIRES] = memoryview(_NUMBER.pack(max(1, ticks // _TICKS)))
    fixed = _ROUTE.pack(family, length, source, tos, table, protocol, scope, route, flags & _ONLINK)
    return _request(kind, how, fixed, parts)


def _request(kind: int, how: int, fixed: bytes, parts: Mapping[int, memoryview]) -> bytes:
    body = fixed + _attributes(parts)
    flags = NLM_F_REQUEST | NLM_F_ACK | how
    return HEADER.pack(HEADER.size + len(body), kind, flags, 0, 0) + body


def _attributes(parts: Mapping[int, memoryview]) -> bytes:
    return b"".join(
        _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), number) + bytes(value) + bytes(-len(value) % 4)
        for number, value in parts.items()
    )


def _table(body: memoryview, parts: Mapping[int, memoryview]) -> int:
    return int(_NUMBER.unpack(parts[_RTA_TABLE])[0]) if _RTA_TABLE in parts else int(body[4])


def _devices(parts: Mapping[int, memoryview]) -> Iterator[int]:
    if _RTA_OIF in parts:
        yield _NUMBER.unpack(parts[_RTA_OIF])[0]
    yield from (device for _, device, _ in _hops(parts.get(_RTA_MULTIPATH, memoryview(b""))))


def _hops(hops: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield flags, device and attributes of each next hop (struct rtnexthop)."""
    while len(hops) >= _HOP.size:
        length, flags, _, device = _HOP.unpack_from(hops)
        if length < _HOP.size:
            return
        yield flags, device, hops[_HOP.size : length]
        hops = hops[(length + 3) & ~3 :]
