"""Runs a command inside a node, with standard streams and exit code passed through.

``command()`` gives an argv that works from anywhere, since what it starts is this module as a program of
its own (standard library only, single-threaded): it enters the lab's user and PID namespaces, forks, and
waits; its child enters the mount and network namespaces and becomes the command. No shell has a part.

Exit codes: the command's; 128 + n where signal n ended it; 127 not found, 126 not executable; 2 where the
lab has no such node; 4 where the lab is gone.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from vnetlab.kernel import control, enclosure, linux
from vnetlab.visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vnetlab.kernel.holder import Holder

# The os.path way throughout: importing pathlib would double the start-up time.
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_NODE_UNKNOWN = 2
_LAB_GONE = 4


def command(holder: Holder, node: str, argv: Sequence[str]) -> list[str]:
    """Return an argv that runs ``argv`` inside a node of the lab.

    The command dies with the process that starts it, and with the lab.
    """
    from vnetlab.kernel.holder import program

    return program("vnetlab.kernel.enter", str(holder.uid), holder.name, node, *argv)


def main() -> NoReturn:
    """Enter and run, as the arguments say: user id, lab, node, command."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends this one too, and not with a traceback
    uid, lab, node, *argv = sys.argv[1:]
    caller = _descriptor_of(os.getppid())
    try:
        with control.connect(int(uid), lab) as connection:
            _, spaces = control.request(connection, b"spaces")
    except OSError:
        _fail(_LAB_GONE, f"lab {lab} is gone")
    try:
        network = os.open(control.file_name(node), os.O_RDONLY | os.O_CLOEXEC, dir_fd=spaces[0])
    except OSError:
        _fail(_NODE_UNKNOWN, f"lab {lab} has no node {node}")
    if not argv:
        _fail(_NODE_UNKNOWN, "no command given")
    try:
        for user in spaces[3:]:
            enclosure.enter_user(user)
        linux.setns(spaces[2], linux.CLONE_NEWPID)
    except OSError as error:
        _fail(_LAB_GONE, f"lab {lab} cannot be entered: {error.strerror}")
    own = os.pidfd_open(os.getpid())
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _FROM_TERMINAL}
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    try:
        child = os.fork()
    except OSError as error:  # a PID namespace whose process 1 has ended takes no new processes
        _fail(_LAB_GONE, f"lab {lab} is gone: {error.strerror}")
    if child:
        for descriptor in (network, own, *spaces):
            os.close(descriptor)
        _wait(child, caller)
    for number, handler in before.items():
        signal.signal(number, handler)
    _become(node, argv, own, (network, spaces[1]))


def _become(node: str, argv: list[str], parent: int, spaces: tuple[int, int]) -> NoReturn:
    linux.die_with_parent(signal.SIGKILL)
    if select.select([parent], [], [], 0)[0]:  # it ended before it was asked about
        os._exit(1)
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)
    where = os.readlink(f"/proc/self/fd/{here}")  # noqa: PTH115
    network, mounts = spaces
    linux.setns(mounts, linux.CLONE_NEWNS)  # which moves the process to that namespace's root
    linux.setns(network, linux.CLONE_NEWNET)
    try:
        os.chdir(where)
    except OSError:  # mounted after the lab was made, so the lab does not have it
        os.fchdir(here)
    # Python ignores this one, and what is ignored stays so across exec (signal(7)).
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - an argument list, never a shell
    except OSError as error:
        if _is_somewhere(argv[0]):
            _fail(126, f"{node}: {argv[0]}: {error.strerror}")
        _fail(127, f"{node}: {argv[0]}: command not found")


def _is_somewhere(program: str) -> bool:
    """Tell whether a program exists; a directory of PATH that is closed to us says nothing of it."""
    if "/" in program:
        return os.path.exists(program)  # noqa: PTH110
    return any(os.access(f"{folder}/{program}", os.F_OK) for folder in os.get_exec_path())


def _wait(child: int, caller: int) -> NoReturn:
    """Stay until the command ends; end it where the caller ends."""
    for number in _PASSED_ON:
        signal.signal(number, lambda received, _: os.kill(child, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # or a pipe would stay open after the command has closed it
        os.dup2(nothing, descriptor)
    poll = select.poll()
    poll.register(os.pidfd_open(child), select.POLLIN)
    if caller >= 0:
        poll.register(caller, select.POLLIN)
    if any(descriptor == caller for descriptor, _ in poll.poll()):
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(128 - code if code < 0 else code)


def _descriptor_of(caller: int) -> int:
    """Return a descriptor of the calling process; -1 where it is in another PID namespace."""
    if not caller:
        return -1
    try:
        descriptor = os.pidfd_open(caller)
    except OSError:
        os._exit(1)
    if os.getppid() != caller:  # it ended meanwhile, and the number may be somebody else's
        os._exit(1)
    return descriptor


def _fail(code: int, why: str) -> NoReturn:
    os.write(2, f"vnetlab: {visible(why)}\n".encode())
    os._exit(code)
