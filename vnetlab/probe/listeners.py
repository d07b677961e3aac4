"""Open ports at the destinations: TCP that accepts, UDP that answers whoever asks for it."""

from __future__ import annotations

import errno
import socket
from struct import pack
from typing import TYPE_CHECKING

from vnetlab.probe import filters
from vnetlab.probe.guest import udp_answer
from vnetlab.probe.posts import DONTWAIT, enlarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.probe.flight import Listener

BACKLOG = 4096
HANG_UP = pack("@ii", 1, 0)
"""`struct linger` of socket(7): close resets the connection, so nothing waits in TIME_WAIT."""
SYN_ACK_RETRIES = 1
"""The fewest that TCP_SYNCNT takes (tcp(7); `reqsk_timer_handler` reads it of a listener too). A guest behind
a tap leaves a connection half open. By default its SYN with ACK is sent again for half a minute, and where
the guest does not answer ARP any more, a kernel tells itself so once a flight is held up that long.
"""
PAYLOAD_BYTES = 64
ANCILLARY_BYTES = 64


class Ears:
    """The listening sockets of one port in one namespace, of both families."""

    def __init__(self, listener: Listener, nonce: int) -> None:
        """Open them, inside the namespace; ``occupied`` tells if another program has the port.

        Raises OSError for any other reason not to get the port.
        """
        self.sockets: list[socket.socket] = []
        self.occupied = False
        self._nonce = nonce
        self._answers = listener.answers
        self._tcp = listener.protocol == "tcp"
        try:
            self._open(listener.port)
        except OSError:
            self.close()
            raise

    def _open(self, port: int) -> None:
        """One socket for both families where it can be had, else one for each that is free."""
        if self._add(socket.AF_INET6, port, both=True):
            return
        got4 = self._add(socket.AF_INET, port)
        got6 = self._add(socket.AF_INET6, port)
        self.occupied = not (got4 and got6)

    def _add(self, family: socket.AddressFamily, port: int, *, both: bool = False) -> bool:
        kind = socket.SOCK_STREAM if self._tcp else socket.SOCK_DGRAM
        sock = socket.socket(family, kind)
        self.sockets.append(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        try:
            sock.bind(("", port))
            if self._tcp:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, SYN_ACK_RETRIES)
                sock.listen(BACKLOG)
            elif self._answers:
                enlarge(sock)
            else:  # the kernel takes what arrives and drops it, without a word to the sender
                filters.attach(sock, filters.NOTHING)
        except OSError as error:
            self.sockets.pop().close()
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        return True

    def readers(self) -> list[tuple[int, Callable[[], None]]]:
        """Return what to wait for."""
        read = self._accept if self._tcp else self._answer
        return [(sock.fileno(), _bound(read, sock)) for sock in self.sockets]

    def _accept(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        try:
            while True:
                connection, _ = sock.accept()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HANG_UP)
                connection.close()
        except (BlockingIOError, ConnectionAbortedError):
            return

    def _answer(self, sock: socket.socket) -> None:
        """Answer from the address that was asked, which need not be the one routing would
        choose.
        """
        try:
            while True:
                data, asked, _, peer = sock.recvmsg(PAYLOAD_BYTES, ANCILLARY_BYTES, DONTWAIT)
                answer = udp_answer(data, self._nonce)
                if answer is None:
                    continue
                source = [(level, kind, value[:16] + bytes(4)) for level, kind, value in asked]
                try:
                    sock.sendmsg([answer], source, DONTWAIT, peer)
                except OSError:
                    continue  # this kernel has no way back: then no answer is what there is to see
        except BlockingIOError:
            return

    def close(self) -> None:
        """Close the sockets."""
        for sock in self.sockets:
            sock.close()


def _bound(read: Callable[[socket.socket], None], sock: socket.socket) -> Callable[[], None]:
    return lambda: read(sock)
