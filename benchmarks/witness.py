"""When the kernel has removed a lab: the end of the last of its network namespaces, not of a process.

Namespaces die on one kernel work queue, in the order in which their last user let go (cleanup_net() in
net/core/net_namespace.c), all that wait at once. A witness is a veth pair of which one end is here and the
other in a namespace that dies: it vanishes in the middle of that. Another pair, let go afterwards, vanishes
in the next round, which begins when the one before is over.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from socket import if_nameindex
from typing import TYPE_CHECKING, Self

from benchmarks import rtnetlink, spaces

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEADLINE = 120.0
_PAUSE = 0.002
_MAC = "fe:00:00:00:00:{:02x}"


class Witness:
    """The near ends of pairs, in a namespace of their own."""

    def __init__(self) -> None:
        self._made = 0
        with _back_home():
            self._space = spaces.create()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._space)

    def plant(self, space: int) -> None:
        """Put a far end into a namespace, given by a descriptor; raises OSError."""
        self._made += 1
        near = (f"near{self._made}", _MAC.format(1), 1500)
        far = (f"far{self._made}", _MAC.format(2), 1500)
        with _back_home():
            spaces.enter(self._space)
            rtnetlink.send([rtnetlink.veth(near, far, space, 0)])

    def wait(self) -> None:
        """Return when all is removed that died before; raises TimeoutError."""
        self._wait_for_none()
        with _back_home():
            dying = spaces.create()
        self.plant(dying)
        os.close(dying)
        self._wait_for_none()

    def present(self) -> bool:
        """Tell whether a namespace in which something was planted is still there."""
        with _back_home():
            spaces.enter(self._space)
            return any(name.startswith("near") for _, name in if_nameindex())

    def _wait_for_none(self) -> None:
        deadline = time.monotonic() + _DEADLINE
        while self.present():
            if time.monotonic() > deadline:
                raise TimeoutError(f"a namespace is still there after {_DEADLINE:.0f} s")
            time.sleep(_PAUSE)


@contextmanager
def _back_home() -> Iterator[None]:
    home = spaces.current()
    try:
        yield
    finally:
        spaces.enter(home)
        os.close(home)
