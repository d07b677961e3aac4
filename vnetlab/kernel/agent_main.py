"""The agent's program: enters a lab (or makes a scratch one) and runs functions there on demand.

Run as ``python -I -S -c ... SOCKET lab|scratch DESCRIPTOR...``. The outer process enters the PID
namespace, which takes effect for its child, and waits; the inner one does the work. Either dies with
the starter: the outer one watches it, the inner one has the kernel's word (PR_SET_PDEATHSIG).
"""

import contextlib
import importlib
import os
import pickle
import select
import signal
import socket
import struct
import sys
import traceback
from typing import Any, NoReturn

from vnetlab import garbage
from vnetlab.kernel import enclosure, linux

_LENGTH = struct.Struct("=Q")


def main() -> NoReturn:
    """Enter, then serve until the starter closes the connection."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    scratch = sys.argv[2] == "scratch"
    spaces_of_lab = [int(argument) for argument in sys.argv[3:]]
    del sys.argv[1:]  # what runs here is none of this program's arguments' business
    try:
        starter = os.pidfd_open(os.getppid())
    except OSError:  # it has ended already
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # standard output belongs to the starter
    refused = None
    try:
        if scratch:
            enclosure.separate()
        else:
            _enter_lab(spaces_of_lab)
    except enclosure.RefusedError as error:
        refused = error
    except OSError:  # the lab has ended; the starter sees the connection close
        os._exit(1)
    outer = os.pidfd_open(os.getpid())
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        inner = os.fork()
    except OSError:  # the lab ended, and its PID namespace takes no new processes
        os._exit(1)
    if inner:
        connection.close()
        _watch(inner, starter)
    linux.die_with_parent(signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    if select.select([outer], [], [], 0)[0]:  # it died before it was asked about
        os._exit(1)
    _serve(connection, _root(spaces_of_lab, refused))


def _enter_lab(spaces_of_lab: list[int]) -> None:
    for user in spaces_of_lab[3:]:
        enclosure.enter_user(user)
    linux.setns(spaces_of_lab[2], linux.CLONE_NEWPID)


def _root(spaces_of_lab: list[int], refused: enclosure.RefusedError | None) -> int | enclosure.RefusedError:
    if refused:
        return refused
    if not spaces_of_lab:
        try:
            return enclosure.mount_tmpfs()
        except enclosure.RefusedError as error:
            return error
    linux.setns(spaces_of_lab[1], linux.CLONE_NEWNS)
    for descriptor in spaces_of_lab[1:]:
        os.close(descriptor)
    return spaces_of_lab[0]


def _watch(inner: int, starter: int) -> NoReturn:
    """Wait for the inner process; end it when the starter ends or asks for it.

    It is ended and reaped from here: an orphan would go to the machine's process 1 rather than to the
    holder, and would keep the lab's PID namespace for as long as that one takes to reap it.
    """
    signal.signal(signal.SIGTERM, lambda *_: _end(inner))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    poll = select.poll()
    try:
        poll.register(os.pidfd_open(inner), select.POLLIN)
        poll.register(starter, select.POLLIN)
        if any(descriptor == starter for descriptor, _ in poll.poll()):
            _end(inner)
    except ProcessLookupError:  # the lab ended, and the inner process with it
        pass
    os.waitpid(inner, 0)
    os._exit(0)


def _end(inner: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # reaped already, as the lab ended
        os.kill(inner, signal.SIGKILL)


def _serve(connection: socket.socket, root: int | enclosure.RefusedError) -> NoReturn:
    try:
        first = receive(connection)
    except (EOFError, OSError):  # the starter ended before it said anything
        os._exit(0)
    path, preload = pickle.loads(first)  # noqa: S301 - from our own starter
    sys.path[:] = path
    context: Any = root
    if isinstance(root, int):
        from vnetlab.kernel.spaces import Spaces

        try:
            context = Spaces(root)
        except OSError as error:
            context = enclosure.RefusedError("network namespace", error.errno or 0)
    waiting = list(preload)
    while True:
        if waiting and not select.select([connection], [], [], 0)[0]:
            # The call that needs it imports it again, and its caller is told.
            with contextlib.suppress(ImportError):
                importlib.import_module(waiting.pop(0))
            continue
        try:
            send(connection, _run(context, receive(connection)))
        except (EOFError, OSError):  # the starter ended, and nobody is there to be told anything
            os._exit(0)


def _run(context: Any, call: bytes) -> bytes:
    try:
        with garbage.paused():
            function, argument = pickle.loads(call)  # noqa: S301
        result = (True, function(context, argument), "")
        with garbage.paused():
            return pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        return _failure(error, traceback.format_exc())


def _failure(error: BaseException, text: str) -> bytes:
    error.__traceback__ = None
    error.__cause__ = None
    error.__context__ = None
    try:
        packed = pickle.dumps((False, pack_error(error), text))
        pickle.loads(packed)  # noqa: S301 - shows whether the starter can
    except BaseException:  # exceptions of libraries may hold anything
        return pickle.dumps((False, None, text))
    return packed


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


def send(connection: socket.socket, message: bytes) -> None:
    """Send one message of any length."""
    connection.sendall(_LENGTH.pack(len(message)) + message)


def receive(connection: socket.socket) -> bytes:
    """Receive one message; raises EOFError where the other end is gone."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return bytes(_exactly(connection, length))


def _exactly(connection: socket.socket, length: int) -> bytearray:
    buffer = bytearray(length)
    view, done = memoryview(buffer), 0
    while done < length:
        count = connection.recv_into(view[done:])
        if not count:
            raise EOFError
        done += count
    return buffer
