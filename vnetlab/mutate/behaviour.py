"""What a packet's way amounts to: who saw what. Two States that agree on it for a packet treat it alike."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec.structs import replace

from vnetlab.predict.fib import LOOPBACK
from vnetlab.predict.packet import Packet, Role

if TYPE_CHECKING:
    from collections.abc import Hashable

    from vnetlab.predict.journey import Journey
    from vnetlab.predict.packet import Arp
    from vnetlab.predict.walk import Arrival

_PRIVILEGED = 1024
UNKNOWN = "the model does not know"

Behaviour = frozenset[tuple["Hashable", int]]


def behaviour_of(journey: Journey, kinds: dict[str, str]) -> Behaviour:
    """Return what was seen where, and how often; ``kinds`` are those of the namespaces.

    VMs and machines see frames at their NICs, hosts what gets past their filters. What passes a switch is
    nobody's to see. Which of the unprivileged ports a translation chooses is nobody's promise.
    """
    if journey.doubts or journey.looped:
        why = journey.doubts[0] if journey.doubts else "it goes round for ever"
        return frozenset({((UNKNOWN, why), 1)})
    seen = (a for a in journey.arrivals if _is_seen(a, kinds))
    return frozenset(Counter(_seen(arrival) for arrival in seen).items())


def _is_seen(arrival: Arrival, kinds: dict[str, str]) -> bool:
    if arrival.device == LOOPBACK and arrival.payload.role is Role.ERROR:
        return False  # a kernel that says no to itself
    return arrival.socket or kinds.get(arrival.node, "vm") in ("vm", "machine")


def is_unknown(behaviour: Behaviour) -> bool:
    """Tell whether the model had no answer."""
    return any(isinstance(what, tuple) and what[0] == UNKNOWN for what, _ in behaviour)


def _seen(arrival: Arrival) -> Hashable:
    payload = _normal(arrival.payload)
    return arrival.node, arrival.device, arrival.socket, arrival.addressed, arrival.source_mac, payload


def _normal(payload: Packet | Arp) -> Packet | Arp:
    return _normal_packet(payload) if isinstance(payload, Packet) else payload


def _normal_packet(payload: Packet) -> Packet:
    payload = replace(payload, drawn=None)
    if payload.quoted is not None:
        # The TTL in a quote tells whether a rule spoke before or behind routing; nobody else does.
        return replace(payload, quoted=_normal_packet(replace(payload.quoted, ttl=0)))
    if payload.role is Role.REQUEST:
        return replace(payload, source_port=_port(payload.source_port))
    return replace(payload, destination_port=_port(payload.destination_port))


def _port(port: int) -> int:
    return port if port < _PRIVILEGED else _PRIVILEGED


def difference(before: Behaviour, after: Behaviour) -> str:
    """Return in words what of two behaviours differs."""
    gone = sorted(_told(what) for what, _ in before - after)
    new = sorted(_told(what) for what, _ in after - before)
    parts = [f"without the fault {'; '.join(gone)}"] if gone else []
    parts += [f"with it {'; '.join(new)}"] if new else []
    return ", ".join(parts) or "nothing"


def _told(what: Hashable) -> str:
    assert isinstance(what, tuple)
    if what[0] == UNKNOWN:
        return f"{UNKNOWN}: {what[1]}"
    node, device, socket, addressed, _, payload = what
    how = "receives" if socket else ("sees" if addressed else "overhears")
    return f"{node} {how} {payload} ({device})"
