"""The holder's program: one process per lab, whose death is the end of the lab.

Standard library only; run as ``python -I -S -c ... SOCKET NAME``. The outer process binds the control
socket, which is the lock on the name, unshares, forks and ends; the inner one is process 1 of the
lab's PID namespace, so whatever entered the lab dies with it, and its mount namespace goes, and with
it every network namespace.
"""

import contextlib
import errno
import os
import select
import signal
import socket
import sys
from typing import NoReturn

from vnetlab.kernel import control, enclosure

_IGNORED = (
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGPIPE,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,  # ignored: the kernel reaps the orphans of the lab by itself (wait(2))
)


def main() -> NoReturn:
    """Become the holder, or tell the starter why not."""
    starter = socket.socket(fileno=int(sys.argv[1]))
    name = sys.argv[2]
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        listener.bind(control.address(os.geteuid(), name))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        _give_up(starter, "exists" if taken else f"refused {error.errno} control socket")
    os.chdir("/")
    try:
        separate_user = enclosure.separate()
        pid = os.fork()
        if pid:
            starter.send(f"pid {pid}".encode())
            os._exit(0)
        root = enclosure.mount_tmpfs()
        # Made here, as root outside could open it but make no file in a user namespace's file system.
        os.close(os.open(control.LOCK, os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=root))
    except enclosure.RefusedError as refused:
        _give_up(starter, f"refused {refused.number} {refused.step}")
    except OSError as error:
        _give_up(starter, f"refused {error.errno} process")
    _quieten()
    Server(name, root, separate_user, starter, listener).run()


def _give_up(starter: socket.socket, why: str) -> NoReturn:
    with contextlib.suppress(OSError):  # a starter that has ended need not be told
        starter.send(why.encode())
    os._exit(1)


def _quieten() -> None:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


class Server:
    """Answers the requests of control.py until it is killed."""

    def __init__(
        self,
        name: str,
        root: int,
        separate_user: bool,
        starter: socket.socket,
        listener: socket.socket,
    ) -> None:
        self._name = name
        self._root = root
        self._kinds = ("mnt", "pid", "user") if separate_user else ("mnt", "pid")
        self._starter = starter
        self._listener = listener
        self._description = -1
        self._clients = {starter.fileno(): starter}
        self._poll = select.poll()

    def run(self) -> NoReturn:
        """Listen, say so, and serve for ever."""
        # SO_PEERCRED of a client shows who called listen(): this process, not the outer one.
        self._listener.listen(128)
        self._poll.register(self._listener, select.POLLIN)
        self._poll.register(self._starter, select.POLLIN)
        self._starter.send(b"up")
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._serve(self._clients[descriptor])

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if control.peer(client)[1] != os.getuid():
            client.close()
            return
        self._clients[client.fileno()] = client
        self._poll.register(client, select.POLLIN)

    def _serve(self, client: socket.socket) -> None:
        try:
            packet, received = control.receive(client)
            if packet:
                self._answer(client, packet, received)
                return
        except OSError:  # a client that went away, or one that does not read its answers
            pass
        if client is self._starter and self._description < 0:
            os._exit(0)
        self._poll.unregister(client)
        del self._clients[client.fileno()]
        client.close()

    def _answer(self, client: socket.socket, packet: bytes, received: list[int]) -> None:
        answer, descriptors, opened = b"unknown", [], []
        if packet == b"name":
            answer = self._name.encode()
        elif packet == b"spaces":
            opened = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in self._kinds]
            answer, descriptors = b"spaces", [self._root, *opened]
        elif packet == b"keep" and received:
            if self._description >= 0:
                os.close(self._description)
            self._description = received.pop(0)
            answer = b"ok"
        elif packet == b"description":
            answer = b"description"
            opened = self._changed_description()
            own = [self._description] if self._description >= 0 else []
            descriptors = opened or own
        try:
            socket.send_fds(client, [answer], descriptors, socket.MSG_DONTWAIT)
        finally:
            for descriptor in [*opened, *received]:
                os.close(descriptor)

    def _changed_description(self) -> list[int]:
        try:
            return [os.open(control.ABOUT, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._root)]
        except OSError:
            return []
