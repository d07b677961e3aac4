"""Messages between processes of our own: of any length, with descriptors, and with errors as themselves.

Standard library only. What is unpickled comes from a process that we started, or that started us.
"""

import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

_LENGTH = struct.Struct("=Q")
_MOST_DESCRIPTORS = 16


class Request(NamedTuple):
    """What a launcher (launcher_main.py) is asked for."""

    path: tuple[str, ...]
    """Where Python looks for modules."""
    modules: tuple[str, ...]
    """What an agent needs to have imported."""
    starts: bool = False
    """Whether an agent is to be started; its descriptors come along."""
    spaces: int = 0
    """How many of these are a lab's namespaces; none for a scratch one."""


def send_request(connection: socket.socket, request: Request, descriptors: Sequence[int]) -> None:
    """Send a request with its descriptors; raises OSError where the launcher is gone."""
    message = pickle.dumps(request)
    socket.send_fds(connection, [_LENGTH.pack(len(message))], list(descriptors))
    connection.sendall(message)


def receive_request(connection: socket.socket) -> tuple[Request, list[int]]:
    """Receive a request with its descriptors; raises EOFError where nobody is left to ask."""
    length, descriptors, _, _ = socket.recv_fds(
        connection, _LENGTH.size, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC | socket.MSG_WAITALL
    )
    if len(length) < _LENGTH.size:
        raise EOFError
    message = bytes(_exactly(connection, *_LENGTH.unpack(length)))
    request: Request = pickle.loads(message)  # noqa: S301
    return request, descriptors


def send(connection: socket.socket, message: bytes) -> None:
    """Send one message of any length."""
    connection.sendall(_LENGTH.pack(len(message)))
    connection.sendall(message)  # by itself: it may be a hundred megabytes


def receive(connection: socket.socket) -> bytearray:
    """Receive one message; raises EOFError where the other end is gone."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return _exactly(connection, length)


def pack_error(error: BaseException) -> tuple[type[BaseException], tuple[Any, ...], dict[str, Any]]:
    """Take an exception apart without calling its constructor, whose arguments may be others."""
    return type(error), error.args, error.__dict__


def unpack_error(
    packed: tuple[type[BaseException], tuple[Any, ...], dict[str, Any]],
) -> BaseException:
    """Put together what pack_error() took apart."""
    kind, arguments, attributes = packed
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(attributes)
    return error


def _exactly(connection: socket.socket, length: int) -> bytearray:
    buffer = bytearray(length)
    view, done = memoryview(buffer), 0
    while done < length:
        count = connection.recv_into(view[done:])
        if not count:
            raise EOFError
        done += count
    return buffer
