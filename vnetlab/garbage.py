"""Python's cyclic garbage collector, paused where millions of small values are made and none is cyclic.

A collection walks all that is alive, again and again as it grows: a quarter of the time of a prediction.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def left_alone() -> None:
    """Let no collection walk what is alive now: a command keeps it until the process ends."""
    gc.freeze()


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing meanwhile; reference counts free what they always do."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
