"""Every call that changes the kernel passes here: counted, and open to whoever has to watch or to break it.

A change that is none makes no such call; and whatever happens before or after any one of them, a lab ends as
it was or as it shall be. Tests of both hold on to this.
"""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Is told of every call; what it raises is raised in the place of the call, or after it."""

    def before(self, number: int, what: str) -> None:
        """Be told of a call that is about to be made; they are numbered from 1."""

    def after(self, number: int, what: str) -> None:
        """Be told of a call that was made."""


_observer: Observer | None = None
_count = 0


def watch(observer: Observer | None) -> None:
    """Tell this one of every call from now on, counted from 1; None for nobody."""
    global _observer, _count
    _observer, _count = observer, 0


def watched() -> bool:
    """Tell whether there is an observer, for whom calls are made one by one."""
    return _observer is not None


def count(*_: object) -> int:
    """Return how many calls this process has made."""
    return _count


def begin(what: str, calls: int = 1) -> None:
    """Announce calls."""
    global _count
    _count += calls
    if _observer is not None:
        _observer.before(_count, what)


def done(what: str) -> None:
    """Say that the last calls were made."""
    if _observer is not None:
        _observer.after(_count, what)
