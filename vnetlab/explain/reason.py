"""How a packet ended, who decided so, and why, in the words of the modes, with the place in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from vnetlab.explain import causes, places
from vnetlab.explain.steps import ENDS
from vnetlab.guarantees import Outcome
from vnetlab.predict.packet import Role

if TYPE_CHECKING:
    from vnetlab.explain.lexicon import Lexicon
    from vnetlab.guarantees import Guarantee
    from vnetlab.predict.journey import Journey, Prediction
    from vnetlab.predict.walk import Hop

_BYSTANDERS = (" for ",)


class End(Struct, frozen=True):
    """A packet's end."""

    outcome: Outcome | None
    """None: the model does not know."""
    answered: bool
    node: str
    """Where it was decided."""
    decided_by: str
    """The rule, route, device or neighbour, as the model names it; empty where nothing stood in the way."""
    network: str
    """``HOST/NETWORK`` whose rule it is, if any."""
    mode: str
    reason: str
    place: str
    """``FILE:LINE``, or nothing."""
    verdict: str = ""
    """The model's word for the end: ``drop``, ``reject``, ``no route``, ``unresolved``, ``unknown``."""

    def sentence(self) -> str:
        """Return the end in one sentence."""
        word = str(self.outcome) if self.outcome else "unknown"
        if self.outcome is Outcome.SILENT and self.decided_by:
            word = "dropped" if self.verdict == "drop" else "stopped"
        if not self.decided_by:
            return f"{word}: {self.reason}"
        if self.outcome in (Outcome.DELIVERED, Outcome.REFUSED):
            word = f"{word}, but the answer ends"
        where = f" on {self.node}" if self.node else ""
        name = self.network.partition("/")[2]
        by = f" by network `{name}` (mode {self.mode}, {self.place})" if name else ""
        reason = self.reason
        if self.place and not name:
            reason = f"{reason[:-1]}, {self.place})" if reason.endswith(")") else f"{reason} ({self.place})"
        return f"{word}{where}{by}: {reason}"


def end_of(lexicon: Lexicon, guarantee: Guarantee, journey: Journey, prediction: Prediction) -> End:
    """Return how a journey ends."""
    outcome = prediction.outcome
    if outcome is None:
        return End(None, False, "", "the model", "", "", f"the model does not know: {prediction.reason}", "")
    reached = outcome in (Outcome.DELIVERED, Outcome.REFUSED)
    wants = guarantee.flow.answer
    if reached and (prediction.answered or not wants or outcome is Outcome.REFUSED):
        text = _arrived(lexicon, journey, prediction, guarantee)
        return End(outcome, prediction.answered, guarantee.destination, "", "", "", text, "")
    hop = last_end(journey, Role.ANSWER if reached else Role.REQUEST)
    if hop is None:
        there = guarantee.destination or "there"
        text = "no answer comes back" if reached else f"nothing leads it to {there}"
        return End(outcome, False, guarantee.destination, "", "", "", text, "")
    cause = causes.cause_of(lexicon, hop, journey)
    network = cause.network
    place = places.shown(cause.place) if cause.place else ""
    return End(
        outcome,
        False,
        lexicon.place(hop.namespace),
        f"{hop.stage}: {hop.object}",
        f"{network.host}/{network.name}" if network else "",
        network.mode.value if network else "",
        cause.text,
        place,
        hop.verdict,
    )


def _arrived(lexicon: Lexicon, journey: Journey, prediction: Prediction, guarantee: Guarantee) -> str:
    receiver = guarantee.destination
    opened = "".join(f"; {text}" for text in causes.openings(lexicon, journey))
    if prediction.outcome is Outcome.REFUSED:
        return f"{receiver} has it and refuses it itself{opened}"
    if not guarantee.flow.answer:
        return f"{receiver} has it; no answer is asked for{opened}"
    return f"{receiver} has it, and its answer comes back{opened}"


def last_end(journey: Journey, role: Role) -> Hop | None:
    """Return the hop that ended a packet; a frame that was only flooded past a NIC decides nothing."""
    found: Hop | None = None
    for hop in journey.hops:
        if hop.verdict not in ENDS or hop.before.role is not role:
            continue
        if hop.stage == "device" and any(word in hop.object for word in _BYSTANDERS):
            continue
        found = hop
    return found
