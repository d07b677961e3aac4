"""Which of its IPv6 addresses a namespace sends from (RFC 6724, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.predict.packet import is_link_local

if TYPE_CHECKING:
    from vnetlab.predict.fib import OwnAddress

_LABELS = (
    # RFC 6724, 2.1, as far as the labels differ; longest prefix first.
    (1, 128, 0), (0, 96, 3), (0xFFFF << 32, 96, 4), (0x20010000 << 96, 32, 5), (0x2002 << 112, 16, 2),
    (0xFC << 120, 7, 13), (0x3FFE << 112, 16, 12), (0, 0, 1),
)  # fmt: skip


def merit(own: OwnAddress, device: str, destination: int) -> tuple[object, ...]:
    """Return how well an address fits as the source of what leaves by a device; the highest is taken."""
    mine, theirs = _scope(own.address), _scope(destination)
    scope = (1, -mine) if mine >= theirs else (0, mine)
    common = 128 - (own.address ^ destination).bit_length()
    return (
        own.address == destination,
        scope,
        own.device == device,
        _label(own.address) == _label(destination),
        min(common, own.prefix),
    )


def _scope(address: int) -> int:
    if address >> 120 == 0xFF:
        return (address >> 112) & 0xF
    return 2 if is_link_local(address) else 14


def _label(address: int) -> int:
    return next(label for network, prefix, label in _LABELS if (address ^ network) >> (128 - prefix) == 0)
