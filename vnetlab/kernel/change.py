"""Changes a lab that is up: all of it or nothing, whoever is killed meanwhile.

Who asks may be killed at any moment, and so may the agent that it asks. So a process of its own carries the
change out, a child of the lab's process 1 as soon as its parent is gone. It records what was there
(journal.py), takes the steps, waits until all is ready, and looks whether it is what was wanted. After any
failure, and where nobody waits for it any more, it goes back and looks again. If it is killed itself, the
record tells whoever comes next, and they go back.
"""

from __future__ import annotations

import os
import pickle
import select
import socket
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.claims import difference
from vnetlab.errors import KernelError, VnetlabError
from vnetlab.kernel import journal, transfer
from vnetlab.kernel.apply import apply
from vnetlab.kernel.journal import Before, Journal
from vnetlab.kernel.lock import nobody_is_told
from vnetlab.kernel.read import read
from vnetlab.kernel.ready import wait_ready
from vnetlab.plan import Plan, RemoveNamespace, diff
from vnetlab.plan.wording import in_words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

    from vnetlab.kernel.read import Node
    from vnetlab.kernel.spaces import Spaces
    from vnetlab.localise import OnMachine
    from vnetlab.state import State

RESTORED = "what was there before is restored"
UNCHANGED = "nothing was changed"
_PATIENCE = 5.0
"""Seconds that ports and carriers get to be again as they were."""
_PAUSE = 0.01


class Interrupted(VnetlabError):
    """Nobody waits for the change any more."""


class Change(Struct, frozen=True):
    """A change of a whole lab."""

    before: State
    desired: State
    """In the words of ``before``."""
    plan: Plan
    nodes: tuple[Node, ...]
    description: bytes
    hosts: str
    where: OnMachine | None = None
    """Set where a host is this very machine; and how that was before."""
    was: OnMachine | None = None


def carry_out(spaces: Spaces, change: Change) -> None:
    """Change the lab; returns when every address is usable.

    Raises KernelError or FeatureUnavailable, with everything undone; the text says so, or what is not.
    """
    ours, theirs = socket.socketpair()
    with ours:
        worker = os.fork()
        if not worker:
            _work(spaces, change, theirs)
        theirs.close()
        try:
            answer = bytes(transfer.receive(ours))
        except EOFError:
            answer = b""
        os.waitpid(worker, 0)
    if not answer:
        _after_death(spaces, change)
        return
    raised = pickle.loads(answer)  # noqa: S301 - from our own child
    if raised is not None:
        raise transfer.unpack_error(raised)


def _after_death(spaces: Spaces, change: Change) -> None:
    """Undo what a killed process left; returns where it had come to the end."""
    killed = "the process that changed the lab was killed"
    if recover(spaces):
        raise KernelError(f"{killed}; {RESTORED}")
    if _left(spaces, change.nodes, change.desired, change.where).steps:
        raise KernelError(f"{killed}; {UNCHANGED}")


def recover(spaces: Spaces, _: None = None) -> bool:
    """Undo a change that was left unfinished, and tell whether there was one; waits for one under way.

    Raises KernelError where the lab cannot be brought back.
    """
    try:
        found = Journal.unfinished(spaces.root)
        if found is None:
            return False
        before = found.before()
        with _machine(spaces, before.where):
            _restore(spaces, before)
        found.finish()
    except OSError as error:
        raise KernelError(f"undoing an unfinished change: {error.strerror}") from error
    return True


def _work(spaces: Spaces, change: Change, asker: socket.socket) -> NoReturn:
    """Do it all, tell whoever asked, and end."""
    failure: BaseException | None = None
    try:
        _let_go_of_sockets_but(asker.fileno())
        with _machine(spaces, change.where):
            _change(spaces, change, asker)
    except BaseException as error:
        failure = error if isinstance(error, VnetlabError) else _told(error)
    with suppress(OSError):  # nobody is there to be told
        packed = transfer.pack_error(failure) if failure else None
        transfer.send(asker, pickle.dumps(packed))
    os._exit(0)


def _told(error: BaseException) -> KernelError:
    return KernelError(f"{type(error).__name__}: {error}")


def _let_go_of_sockets_but(kept: int) -> None:
    """Close those that were inherited: while they are open here, nobody notices the agent's end."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - all are numbers
        with suppress(OSError):  # the listing's own
            if int(name) != kept and stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                os.close(int(name))


def _change(spaces: Spaces, change: Change, asker: socket.socket) -> None:
    hosts = journal.read(spaces.root, journal.HOSTS).decode()
    described = journal.description(spaces.root)
    before = Before(change.before, change.nodes, described, hosts, change.was)
    record = _record(spaces.root, before)
    try:
        _forward(spaces, change, lambda: _ask(asker))
        record.finish()
    except BaseException as error:
        try:
            _restore(spaces, before)
            record.finish()
        except BaseException as again:
            raise KernelError(f"{error}\nand what was there before is not restored: {again}") from error
        raise KernelError(f"{error}; {RESTORED}") from error


def _record(root: int, before: Before) -> Journal:
    try:
        return Journal.begin(root, before)
    except BaseException as error:
        journal.remove(root, journal.CHANGE)
        raise KernelError(f"{error}; {UNCHANGED}") from error


def _ask(asker: socket.socket) -> None:
    """Raise Interrupted where nobody waits any more."""
    if select.select([asker], [], [], 0)[0]:
        raise Interrupted("interrupted")


def _forward(spaces: Spaces, change: Change, check: Callable[[], None]) -> None:
    # A namespace that is removed takes its processes along, which nobody can bring back: that comes last.
    removals = tuple(step for step in change.plan.steps if isinstance(step, RemoveNamespace))
    others = tuple(step for step in change.plan.steps if not isinstance(step, RemoveNamespace))
    _take(spaces, Plan(others), change.desired, change.where, check)
    wait_ready(spaces, change.desired)
    spaces.write_hosts(change.hosts)
    check()
    apply(spaces, Plan(removals), check)
    _compare(spaces, change.nodes, change.desired, change.where)
    journal.describe(spaces.root, change.description)


def _restore(spaces: Spaces, before: Before) -> None:
    """Make the lab what it was."""
    plan = _left(spaces, before.nodes, before.state, before.where)
    _take(spaces, plan, before.state, before.where)
    spaces.write_hosts(before.hosts)
    journal.describe(spaces.root, before.description)
    _compare(spaces, before.nodes, before.state, before.where)


@contextmanager
def _machine(spaces: Spaces, where: OnMachine | None) -> Iterator[None]:
    """Have this very machine to oneself, if a host is that."""
    if where is None:
        yield
        return
    from vnetlab.kernel.local import claimed
    from vnetlab.kernel.local.journal import alone

    with alone(nobody_is_told):
        with spaces.inside(where.host):
            claimed.tidy(where.lab)
        yield


def _take(
    spaces: Spaces,
    plan: Plan,
    desired: State,
    where: OnMachine | None,
    check: Callable[[], None] | None = None,
) -> None:
    if where is None:
        apply(spaces, plan, check)
        return
    from vnetlab.kernel.local import steps

    steps.take(spaces, where, plan, desired, check)


def _left(spaces: Spaces, nodes: tuple[Node, ...], wanted: State, where: OnMachine | None) -> Plan:
    """Return the steps from the State that is there to another one."""
    found = read(spaces, nodes)
    if where is None:
        return diff(found, in_words_of(found, wanted))
    from vnetlab.kernel.local.claimed import claims_of

    with spaces.inside(where.host):
        claims = claims_of(where.lab)
    return difference(found, wanted, where, claims).plan


def _compare(spaces: Spaces, nodes: tuple[Node, ...], wanted: State, where: OnMachine | None) -> None:
    """Return when the State is what is wanted; raises KernelError that says what differs."""
    deadline = time.monotonic() + _PATIENCE
    while steps := _left(spaces, nodes, wanted, where).steps:
        if time.monotonic() > deadline:
            raise KernelError("left to do: " + "; ".join(step.describe() for step in steps))
        time.sleep(_PAUSE)
