"""What a plan does to a lab that is up: lines for people, values for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vnetlab.plan import Effect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vnetlab.plan import Step

_SIGNS = {Effect.ADD: "+", Effect.CHANGE: "~", Effect.REMOVE: "-"}
_DONE = {Effect.ADD: "added", Effect.CHANGE: "changed", Effect.REMOVE: "removed"}


def change_lines(steps: Sequence[Step]) -> Iterator[str]:
    """Yield each step with a sign: + adds, ~ changes, - removes."""
    yield from (f"{_SIGNS[step.effect]} {step.describe()}" for step in steps)


def summary(steps: Sequence[Step]) -> str:
    """Count the steps by their effect."""
    return ", ".join(f"{_count(steps, effect)} {done}" for effect, done in _DONE.items())


def change_objects(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return each step for JSON: ``effect``, ``node`` and the whole line."""
    return [{"effect": str(step.effect), "node": step.namespace, "step": step.describe()} for step in steps]


def _count(steps: Sequence[Step], effect: Effect) -> int:
    return sum(step.effect is effect for step in steps)
