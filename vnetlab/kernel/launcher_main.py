"""The launcher's program: imports what agents need, and forks each of them (launcher.py).

Run as ``python -I -S -c ... SOCKET``. Single-threaded, as whoever enters a user namespace has to be.
"""

import contextlib
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from typing import NoReturn

from vnetlab.kernel import agent_main
from vnetlab.kernel.transfer import Request, receive_request


def main() -> NoReturn:
    """Serve until the starter closes the connection or ends."""
    control = socket.socket(fileno=int(sys.argv[1]))
    del sys.argv[1:]  # what runs here is none of this program's arguments' business
    try:
        starter = os.pidfd_open(os.getppid())
    except OSError:  # it has ended already
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    os.dup2(2, 1)  # standard output belongs to the starter
    waiting: list[str] = []
    while True:
        ready = select.select([control.fileno(), starter], [], [], 0 if waiting else None)[0]
        if starter in ready:
            os._exit(0)
        if not ready:
            _import(waiting.pop(0))
            continue
        try:
            request, descriptors = receive_request(control)
        except (EOFError, OSError):
            _end()
        sys.path[:] = request.path
        waiting += request.modules
        if request.starts:
            # An agent needs them all; what was imported before costs nothing.
            while waiting:
                _import(waiting.pop(0))
            _start(request, descriptors, control, starter)


def _end() -> NoReturn:
    """End with the last agent, since an orphan is left to the machine's process 1, which may not reap it."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, 0)
    os._exit(0)


def _import(module: str) -> None:
    # The call that needs it imports it again, and its caller is told.
    with contextlib.suppress(ImportError):
        importlib.import_module(module)


def _start(request: Request, descriptors: list[int], control: socket.socket, starter: int) -> None:
    try:
        agent = os.fork()
    except OSError:  # whoever waits for the agent sees its connection close
        agent = -1
    if not agent:
        try:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            connection, life, *others = descriptors
            spaces, kept = others[: request.spaces], others[request.spaces :]
            agent_main.serve(socket.socket(fileno=connection), life, starter, spaces, kept)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    for descriptor in descriptors:
        os.close(descriptor)
