"""Carries out a Plan: each step as one thing to do in the kernel, and nothing that is not in the plan.

Consecutive steps of one namespace share a visit to it. Where a large lab is made, two processes do what
concerns one namespace at a time. After an error the lab is as far as it got; whoever started it ends it.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from vnetlab.kernel import shared, writes
from vnetlab.kernel.visit import Visit
from vnetlab.plan import (
    AddAddress,
    AddNeighbour,
    AddRoute,
    CreateNamespace,
    LinkUp,
    LoadTable,
    Plan,
    RemoveNamespace,
    SetSysctls,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.kernel.spaces import Spaces


_FREE: dict[str, tuple[type[Step], ...]] = {
    "foundations": (CreateNamespace, SetSysctls, LoadTable),
    "ups": (LinkUp,),
    "additions": (AddAddress, AddNeighbour, AddRoute),
}
"""What one namespace needs of such steps, it needs of its own alone."""


def apply(spaces: Spaces, plan: Plan, check: Callable[[], None] | None = None) -> None:
    """Do every step in order, and before each of them ``check``, whose exceptions end it.

    Raises KernelError naming the step and the kernel's reason, FeatureUnavailable for a library that is
    missing.
    """
    one_by_one = check is not None or writes.watched()
    for free, part in groupby(plan.steps, key=_freedom):
        steps = tuple(part)
        if free and not one_by_one:
            shared.each(partial(_visit, spaces, None), _by_namespace(steps))
            continue
        for _, visit in groupby(steps, key=lambda step: step.namespace):
            _visit(spaces, check, tuple(visit))


def _visit(spaces: Spaces, check: Callable[[], None] | None, steps: tuple[Step, ...]) -> None:
    """Take the steps of one namespace."""
    remaining = deque(steps)
    while remaining and isinstance(remaining[0], CreateNamespace | RemoveNamespace):
        if check:
            check()
        _namespace(spaces, remaining.popleft())
    if not remaining:
        return
    with spaces.inside(remaining[0].namespace), Visit(spaces) as visit:
        for step in remaining:
            if check:
                check()
            visit.do(step)
        visit.flush()


def _freedom(step: Step) -> str:
    """Return a word that steps share whose namespaces may come in any order; empty for all others."""
    return next((word for word, kinds in _FREE.items() if isinstance(step, kinds)), "")


def _by_namespace(steps: tuple[Step, ...]) -> list[tuple[Step, ...]]:
    found: dict[str, list[Step]] = {}
    for step in steps:
        found.setdefault(step.namespace, []).append(step)
    return [tuple(each) for each in found.values()]


def _namespace(spaces: Spaces, step: Step) -> None:
    if isinstance(step, CreateNamespace):
        spaces.create(step.namespace)
    else:
        spaces.remove(step.namespace)
