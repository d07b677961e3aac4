"""The whole answer: the promise, what the model says of each State, and what was observed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.guarantees import Outcome

if TYPE_CHECKING:
    from vnetlab.explain.answer import Told
    from vnetlab.explain.compare import Observed
    from vnetlab.guarantees import Guarantee
    from vnetlab.topology.model import Topology


class Explanation(Struct, frozen=True):
    """What becomes of one packet, and why."""

    topology: Topology
    lab: str
    """Name of the lab; empty where only a file was asked."""
    asked: str
    """The destination as it was asked for."""
    guarantee: Guarantee
    """The flow, and what the modes promise of it."""
    told: Told
    """By the State read back from the lab; of a file by the compiled one."""
    declared: Told
    """By the compiled State; the same as ``told`` for a file."""
    observed: Observed | None = None

    @property
    def reference(self) -> Told:
        """What is put beside the observation: the file's prediction, as soon as the lab's is another."""
        return self.declared if self.changed else self.told

    @property
    def changed(self) -> bool:
        """Whether the lab's State says otherwise than its file: somebody changed the lab."""
        return self.told is not self.declared and (
            self.told.events != self.declared.events or self.told.end.outcome != self.declared.end.outcome
        )

    @property
    def differences(self) -> tuple[str, ...]:
        """Everything that keeps promise, prediction and observation from being one; nothing if they are."""
        return tuple(self._differences())

    def _differences(self) -> list[str]:
        found = []
        end = self.told.end
        if end.outcome is None:
            found.append(f"the model does not know: {end.reason}")
        if self.changed:
            found.append("the lab is not as its file says: its present state predicts another way")
        if self.observed is None:
            return found
        if self.changed and self.observed.as_present and not self.observed.trouble:
            found.append("what was observed is what the present state predicts")
        found += self.observed.trouble
        outcome = self.observed.outcome
        reference = self.reference.end.outcome
        if outcome is not None and reference is not None and outcome is not reference:
            found.append(f"predicted {reference}, observed {outcome}")
        at = self.observed.first_difference
        if at is not None and not self.observed.trouble:
            found.append(f"first difference at {at + 1}, on {self._node(at)}")
        return found

    def _node(self, at: int) -> str:
        assert self.observed is not None
        event = self.observed.rows[at].predicted or self.observed.rows[at].observed
        assert event is not None
        return event.node

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    @property
    def kept(self) -> bool:
        """Whether the outcome is the promised one."""
        seen = self.observed.outcome if self.observed else self.told.end.outcome
        return seen is None or seen is self.guarantee.expected or self._no_difference(seen)

    def _no_difference(self, seen: Outcome) -> bool:
        return {seen, self.guarantee.expected} == {Outcome.DELIVERED, Outcome.REFUSED}
