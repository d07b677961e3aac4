"""The agent's program: enters a lab (or makes a scratch one) and runs functions there on demand.

The launcher (launcher_main.py) forks it. The outer process enters the PID namespace, which takes effect for
its child, and waits; the inner one does the work. Either dies with the starter: the outer one watches it,
the inner one has the kernel's word (PR_SET_PDEATHSIG).
"""

import contextlib
import os
import pickle
import select
import signal
import socket
import traceback
from typing import Any, NoReturn

from vnetlab import garbage
from vnetlab.kernel import enclosure, linux
from vnetlab.kernel.transfer import pack_error, receive, send


def serve(
    connection: socket.socket, life: int, starter: int, spaces_of_lab: list[int], kept: list[int]
) -> NoReturn:
    """Enter, then serve until the starter closes the connection, or ``life``, or ends.

    ``starter`` is a descriptor of its process; ``kept`` are open as long as the agent is there.
    """
    os.setpgid(0, 0)  # a process group of its own
    refused = None
    try:
        if not spaces_of_lab:
            enclosure.separate()
        else:
            _enter_lab(spaces_of_lab)
    except enclosure.RefusedError as error:
        refused = error
    except OSError:  # the lab has ended; the starter sees the connection close
        os._exit(1)
    outer = os.pidfd_open(os.getpid())
    try:
        inner = os.fork()
    except OSError:  # the lab ended, and its PID namespace takes no new processes
        os._exit(1)
    if inner:
        connection.close()
        _watch(inner, starter, life)
    linux.die_with_parent(signal.SIGKILL)
    os.close(life)
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


def _watch(inner: int, starter: int, life: int) -> NoReturn:
    """Wait for the inner process; end it when the starter ends or asks for it.

    It is ended and reaped from here: an orphan would go to the machine's process 1 rather than to the
    holder, and would keep the lab's PID namespace for as long as that one takes to reap it.
    """
    poll = select.poll()
    with contextlib.suppress(ProcessLookupError):  # the lab ended, and the inner process with it
        ended = os.pidfd_open(inner)
        for descriptor in (ended, starter, life):
            poll.register(descriptor, select.POLLIN)
        if ended not in (descriptor for descriptor, _ in poll.poll()):
            os.kill(inner, signal.SIGKILL)
    os.waitpid(inner, 0)
    os._exit(0)


def _serve(connection: socket.socket, root: int | enclosure.RefusedError) -> NoReturn:
    context: Any = root
    if isinstance(root, int):
        from vnetlab.kernel.spaces import Spaces

        try:
            context = Spaces(root)
        except OSError as error:
            context = enclosure.RefusedError("network namespace", error.errno or 0)
    while True:
        try:
            send(connection, _run(context, receive(connection)))
        except (EOFError, OSError):  # the starter ended, and nobody is there to be told anything
            os._exit(0)


def _run(context: Any, call: bytearray) -> bytes:
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
