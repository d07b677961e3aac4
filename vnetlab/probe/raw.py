"""Packets handed to a kernel whole, so that its own routing, output filters and NAT apply to
them.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vnetlab.probe.flight import Shot

DISCARD = 9


class RawSender:
    """Sends whole IP packets (IP_HDRINCL of raw(7)) and knows the source that the kernel would
    choose.
    """

    def __init__(self, shots: Iterable[tuple[Shot, str]]) -> None:
        """Open a socket per family and device (empty: any), inside the namespace. Raises
        OSError.
        """
        self._sockets: dict[tuple[int, str], socket.socket] = {}
        self._sources: dict[tuple[str, bytes], bytes | OSError] = {}
        try:
            for shot, device in shots:
                key = (shot.version, device)
                if key not in self._sockets:
                    self._sockets[key] = _sender(*key)
                if not shot.source and (device, shot.destination) not in self._sources:
                    self._sources[device, shot.destination] = _kernel_choice(shot, device)
        except OSError:
            self.close()
            raise

    def source(self, shot: Shot, device: str) -> bytes:
        """Return the address a shot comes from. Raises OSError where the kernel knows no way."""
        chosen = shot.source or self._sources[device, shot.destination]
        if isinstance(chosen, OSError):
            raise chosen
        return chosen

    def send(self, packet: bytes, shot: Shot, device: str) -> None:
        """Hand a packet to the kernel. Raises OSError, such as EPERM of an output filter."""
        self._sockets[shot.version, device].sendto(packet, (address_text(shot.destination), 0))

    def close(self) -> None:
        """Close the sockets."""
        for sock in self._sockets.values():
            sock.close()


def _sender(version: int, device: str) -> socket.socket:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    _bind(sock, device)
    return sock


def _bind(sock: socket.socket, device: str) -> None:
    if device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")


def _kernel_choice(shot: Shot, device: str) -> bytes | OSError:
    """Return the source address that a datagram to the shot's destination would get, or why
    none.
    """
    family = socket.AF_INET if shot.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        _bind(sock, device)
        try:
            sock.connect((address_text(shot.destination), DISCARD))
        except OSError as refused:
            return refused
        return socket.inet_pton(family, sock.getsockname()[0])


def address_text(address: bytes) -> str:
    """Return a packed address as text."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
