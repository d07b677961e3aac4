"""Many frames at once: Scapy's templates with the columns of many shots patched in by numpy.

The same bytes as `frames.Frames` makes of each shot; it makes those of the odd ones (fragments,
advertisements, DHCP, controls).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vnetlab.probe.batch import Batch
from vnetlab.probe.flight import Kind
from vnetlab.probe.frames import ARP_ETHERTYPE, ETHERTYPES, FIRST_PORT, NUMBER, PORTS, WANTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from vnetlab.probe.columns import Numbers, Rows
    from vnetlab.probe.frames import Frames
    from vnetlab.probe.shape import Template

    Bytes = NDArray[np.uint8]

PATCHED = (Kind.UDP, Kind.TCP, Kind.FIN, Kind.ICMP, Kind.ARP, Kind.NS)
ETHER = 14
_SOLICITED_NODE = bytes.fromhex("ff0200000000000000000001ff")


class Volley(NamedTuple):
    """Frames of equal length, in the order of their stations and NICs."""

    shots: Numbers
    frames: Batch
    runs: tuple[tuple[int, int], ...]
    """Where the frames of each NIC begin and end."""

    @property
    def for_groups(self) -> bool:
        """Whether they are for a group, as all or none are."""
        return bool(self.frames.packets[0, 0] & 1)


def patched(rows: Rows) -> NDArray[np.bool_]:
    """Tell which shots are frames that numpy makes: they name the MAC that they go to, and are whole."""
    found: NDArray[np.bool_] = np.isin(rows["kind"], PATCHED) & (rows["mac_size"] == 6) & ~rows["fragments"]
    return found


def volleys(frames: Frames, numbers: Numbers, rows: Rows, macs: Bytes) -> Iterator[Volley]:
    """Yield the frames of shots, shape by shape: questions first, and those of one NIC in their order.

    ``macs`` has the MAC of each NIC, by station and NIC.
    """
    sorts = [rows[key] for key in ("nic", "station")]
    sorts += [rows["mac"][:, 0] & 1, *(rows[key] for key in ("size", "version", "kind"))]
    order = np.lexsort(sorts)
    columns = np.stack([each[order].astype(np.int64) for each in sorts])
    changes = columns[:, 1:] != columns[:, :-1]
    for part in np.split(order, np.flatnonzero(changes[2:].any(0)) + 1):
        nics, stations = rows["nic"][part], rows["station"][part]
        edges = np.flatnonzero((nics[1:] != nics[:-1]) | (stations[1:] != stations[:-1])) + 1
        ends = [0, *edges.tolist(), len(part)]
        made = _frames(frames, numbers[part], rows[part], macs[stations, nics])
        yield Volley(numbers[part], Batch(made), tuple(pairwise(ends)))


def _frames(frames: Frames, numbers: Numbers, rows: Rows, macs: Bytes) -> Bytes:
    kind, version = Kind(rows["kind"][0]), int(rows["version"][0])
    template = frames.template(kind, version, int(rows["size"][0]))
    made = np.empty((len(rows), ETHER + len(template.data)), np.uint8)
    made[:, :6], made[:, 6:12] = rows["mac"], macs
    ethertype = ARP_ETHERTYPE if kind is Kind.ARP else ETHERTYPES[version]
    made[:, 12:14] = np.frombuffer(ethertype, np.uint8)
    packets = made[:, ETHER:]
    packets[:] = np.frombuffer(template.data, np.uint8)
    if kind is Kind.ARP:
        packets[:, 8:14], packets[:, 14:18] = macs, rows["source"][:, :4]
        packets[:, 24:28] = rows["destination"][:, :4]
        return made
    _fill_ip(packets, rows, version)
    if kind is Kind.NS:
        packets[:, 24:37] = np.frombuffer(_SOLICITED_NODE, np.uint8)
        packets[:, 37:40] = rows["destination"][:, 13:]
        packets[:, 48:64], packets[:, 66:72] = rows["destination"], macs
    else:
        _fill_transport(packets, template, numbers, rows, frames.nonce)
    _finish(packets, template, version)
    return made


def _fill_ip(packets: Bytes, rows: Rows, version: int) -> None:
    if version == 4:
        packets[:, 12:16], packets[:, 16:20] = rows["source"][:, :4], rows["destination"][:, :4]
        packets[:, 8] = rows["ttl"]
    else:
        packets[:, 8:24], packets[:, 24:40] = rows["source"], rows["destination"]
        packets[:, 7] = rows["ttl"]


def _fill_transport(packets: Bytes, template: Template, numbers: Numbers, rows: Rows, nonce: int) -> None:
    kind, at, tag = Kind(rows["kind"][0]), template.transport, template.tag
    chosen = rows["source_port"].astype(np.int64)
    source = np.where(chosen, chosen, FIRST_PORT + numbers % PORTS)
    if kind is Kind.ICMP:
        _put(packets, at + 4, source, 2)
        _put(packets, at + 6, numbers & 0xFFFF, 2)
    else:
        _put(packets, at, source, 2)
        _put(packets, at + 2, rows["destination_port"].astype(np.int64), 2)
    if kind in (Kind.TCP, Kind.FIN):
        _put(packets, tag, (nonce + numbers) & 0xFFFF_FFFF, 4)
        return
    wanted = np.where(rows["wants_answer"] & (kind is Kind.UDP), WANTED, 0)
    _put(packets, tag, np.full(len(rows), nonce), 4)
    _put(packets, tag + 4, (numbers & NUMBER) | wanted, 4)


def _finish(packets: Bytes, template: Template, version: int) -> None:
    """Fill in the checksums: the IPv4 header's, and the transport's (RFC 1071, RFC 8200 section 8.1)."""
    start, protocol = template.transport, template.protocol
    if version == 4:
        packets[:, 10:12] = 0
        _put(packets, 10, _complement(_sum(packets[:, :start])), 2)
        pseudo = _sum(packets[:, 12:20]) if protocol != 1 else 0
    else:
        pseudo = _sum(packets[:, 8:40])
    if not (version == 4 and protocol == 1):
        pseudo = pseudo + protocol + packets.shape[1] - start
    packets[:, template.checksum : template.checksum + 2] = 0
    _put(packets, template.checksum, _complement(_sum(packets[:, start:]) + pseudo), 2)


def _sum(part: Bytes) -> Numbers:
    high: Numbers = part[:, 0::2].sum(1, dtype=np.int64)
    low: Numbers = part[:, 1::2].sum(1, dtype=np.int64)
    return (high << 8) + low


def _complement(total: Numbers) -> Numbers:
    left: Numbers = 0xFFFF - total % 0xFFFF
    return left


def _put(packets: Bytes, at: int, values: Any, size: int) -> None:
    for offset in range(size):
        packets[:, at + offset] = values >> 8 * (size - 1 - offset) & 0xFF
