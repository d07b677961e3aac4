"""Packets of the plain shapes, read by columns: which shot is each, and is it the shot or its answer?

It says of every packet that it takes what `reading.Reader` would say; the others it leaves to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vnetlab.probe.flight import What
from vnetlab.probe.frames import ANSWER, NUMBER
from vnetlab.probe.reading import DHCP_PORTS, FIN, ICMP, ICMP6, SYN, TCP, TCP_FLAGS, UDP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Mask = NDArray[np.bool_]
    Numbers = NDArray[np.int64]

_SYN_ACK, _RST_ACK = 0x12, 0x14
_NEED = {UDP: 16, TCP: 14, ICMP: 16, ICMP6: 16}
"""Bytes of transport header and tag that are looked at."""
_ECHO = {ICMP: (8, 0), ICMP6: (128, 129)}


class Read(NamedTuple):
    """Packets of one shape, a value for each."""

    at: int
    """Where their transport header begins."""
    size: int
    """Bytes of an address."""
    packets: Numbers
    """Their numbers among those that were given."""
    shot: Numbers
    what: Numbers
    source_port: Numbers
    destination_port: Numbers


class _Told(NamedTuple):
    """What transport headers say."""

    plain: Mask
    """The others are for the Reader."""
    mine: Mask
    shot: Numbers
    what: Numbers
    source_port: Numbers
    destination_port: Numbers


def read(data: Bytes, lengths: NDArray[Any], nonce: int, shots: int) -> tuple[list[Read], Mask]:
    """Return the packets of the flight of that nonce, and which packets are of no plain shape."""
    found: list[Read] = []
    rest = np.ones(len(data), np.bool_)
    for of, at, size, protocol in _shapes(data):
        numbers = np.flatnonzero(of & (lengths >= at + _NEED[protocol]))
        if not len(numbers):
            continue
        told = _TOLD[protocol](data[numbers], at, nonce, protocol)
        rest[numbers[told.plain]] = False
        keep = told.plain & told.mine & (told.shot < shots)
        columns = (column[keep] for column in told[2:])
        found.append(Read(at, size, numbers[keep], *columns))
    return found, rest


def _shapes(data: Bytes) -> Iterator[tuple[Mask, int, int, int]]:
    """Yield which packets are of a shape, where their transport begins, address bytes and protocol."""
    kind = _u16(data, 12)
    whole = (data[:, 14] == 0x45) & (_u16(data, 20) & 0x3FFF == 0)
    four, six = (kind == 0x0800) & whole, kind == 0x86DD
    for protocol in (UDP, TCP, ICMP):
        yield four & (data[:, 23] == protocol), 34, 4, protocol
    for protocol in (UDP, TCP, ICMP6):
        yield six & (data[:, 20] == protocol), 54, 16, protocol


def _udp(data: Bytes, at: int, nonce: int, _: int) -> _Told:
    source, destination = _u16(data, at), _u16(data, at + 2)
    tag = _u32(data, at + 12)
    plain = ~np.isin(destination, DHCP_PORTS)
    what = np.where(tag & ANSWER, What.ANSWER, What.REQUEST)
    return _Told(plain, _u32(data, at + 8) == nonce, tag & NUMBER, what, source, destination)


def _tcp(data: Bytes, at: int, nonce: int, _: int) -> _Told:
    flags = data[:, at + 13] & TCP_FLAGS
    asks = (flags == SYN) | (flags == FIN)
    told = np.where(asks, _u32(data, at + 4), _u32(data, at + 8) - 1)
    what = np.where(asks, What.REQUEST, np.where(flags == _SYN_ACK, What.ANSWER, What.RESET))
    mine = asks | (flags == _SYN_ACK) | (flags == _RST_ACK)
    shot = (told - nonce) & 0xFFFF_FFFF
    return _Told(np.ones(len(data), np.bool_), mine, shot, what, _u16(data, at), _u16(data, at + 2))


def _echo(data: Bytes, at: int, nonce: int, protocol: int) -> _Told:
    request, answer = _ECHO[protocol]
    kind = data[:, at]
    what = np.where(kind == request, What.REQUEST, What.ANSWER)
    plain = (kind == request) | (kind == answer)
    none = np.zeros(len(data), np.int64)
    return _Told(plain, _u32(data, at + 8) == nonce, _u32(data, at + 12), what, _u16(data, at + 4), none)


_TOLD = {UDP: _udp, TCP: _tcp, ICMP: _echo, ICMP6: _echo}


def _u16(data: Bytes, at: int) -> Numbers:
    return data[:, at].astype(np.int64) << 8 | data[:, at + 1]


def _u32(data: Bytes, at: int) -> Numbers:
    return _u16(data, at) << 16 | _u16(data, at + 2)
