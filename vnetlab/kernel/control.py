"""The holder's control socket: its name, its requests, and who may use it. Standard library only.

An abstract unix socket leaves nothing on disk and goes with its process; binding it is the lock on
the lab's name. It is visible in the network namespace where the lab was started. Every message is one
packet:

==============  ================================================================================
request         answer
==============  ================================================================================
``name``        the lab's name
``spaces``      descriptors: tmpfs of namespaces, mount and PID namespace, user namespace if made
``keep`` + fd   ``ok``; the lab outlives its starter; the descriptor holds its description
``description`` that descriptor, or of the file that a change wrote; none before ``keep``
==============  ================================================================================
"""

import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

PREFIX = "vnetlab"
LOCK = ".lock"
"""File on the lab's tmpfs that is locked by the command that has the lab to itself."""
ABOUT = ".about"
"""File on the lab's tmpfs with its description, where a change wrote another one than ``keep`` did."""
TIMEOUT = 5.0
"""Seconds that a holder may take to answer; it does nothing but answer."""
_PACKET = 4096
_MAX_DESCRIPTORS = 4
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_UCRED = struct.Struct("3i")


def address(uid: int, name: str) -> bytes:
    """Return the abstract address of a lab's socket; a name that does not fit is hashed."""
    if not _PLAIN_NAME.fullmatch(name):
        name = f"#{_digest(name)}"
    return f"\0{PREFIX}/{uid}/{name}".encode()


def file_name(namespace: str) -> str:
    """Return the file of a namespace on the lab's tmpfs: its name, hashed if it cannot be one."""
    plain = "/" not in namespace and not namespace.startswith((".", "#"))
    if plain and 0 < len(os.fsencode(namespace)) <= 255:
        return namespace
    return f"#{_digest(namespace)}"


def connect(uid: int, name: str) -> socket.socket:
    """Connect to the holder of a user's lab.

    Raises ConnectionRefusedError where no such lab is up and PermissionError where somebody else
    has taken its address.
    """
    return connect_to(uid, address(uid, name))


def connect_to(uid: int, where: bytes) -> socket.socket:
    """Connect to a holder by the address of its socket; raises as connect() does."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(TIMEOUT)
        with _acting_as(uid):
            connection.connect(where)
        if peer(connection)[1] != uid:
            raise PermissionError(1, "the socket belongs to another user", where.decode())
    except BaseException:
        connection.close()
        raise
    return connection


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return process and user of the other end (SO_PEERCRED, unix(7)), as numbered here."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(raw)
    return pid, uid


def request(
    connection: socket.socket, what: bytes, descriptors: tuple[int, ...] = ()
) -> tuple[bytes, list[int]]:
    """Send one request and return its answer with the descriptors that came along.

    Raises ConnectionResetError where the holder is gone, TimeoutError where it is stopped.
    """
    socket.send_fds(connection, [what], list(descriptors))
    answer, received = receive(connection)
    if not answer:
        raise ConnectionResetError(104, "the holder is gone")
    return answer, received


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Receive one packet and its descriptors; an empty packet is the end of the connection."""
    packet, received, _, _ = socket.recv_fds(connection, _PACKET, _MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    return packet, received


@contextmanager
def _acting_as(uid: int) -> Iterator[None]:
    # A holder in a user namespace sees every stranger as the overflow user, root included. Root
    # therefore connects with the owner's user id, which is what SO_PEERCRED records.
    own = os.geteuid()
    if own != 0 or uid == own:
        yield
        return
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(own)


def _digest(text: str) -> str:
    import hashlib  # costs a few milliseconds and is hardly ever needed

    return hashlib.sha256(os.fsencode(text)).hexdigest()[:40]
