"""What a prediction says otherwise than a guarantee: outcome first, then every promised field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.guarantees import Outcome, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.guarantees import Guarantee, Seen
    from vnetlab.predict.journey import Prediction, Received

_UNPRIVILEGED = 1024
_WITH_PORTS = (Protocol.TCP, Protocol.UDP)


def differences(guarantee: Guarantee, prediction: Prediction) -> tuple[str, ...]:
    """Return each difference as half a sentence; nothing where they agree.

    A model that does not know differs from nothing: its outcome is None, and that is asked first.
    """
    if prediction.outcome is None:
        return ()
    if prediction.outcome is not guarantee.expected:
        return (f"{prediction.outcome} instead of {guarantee.expected}",)
    return tuple(_details(guarantee, prediction))


def _details(guarantee: Guarantee, prediction: Prediction) -> Iterator[str]:
    if guarantee.expected is Outcome.REJECTED:
        yield from _error(guarantee, prediction)
    if guarantee.expected is not Outcome.DELIVERED:
        return
    if guarantee.flow.answer and guarantee.answered is not prediction.answered:
        yield "an answer comes back" if prediction.answered else "no answer comes back"
    if guarantee.seen and prediction.received and guarantee.flow.protocol is not Protocol.RESOLUTION:
        yield from _fields(guarantee, guarantee.seen, prediction.received)


def _error(guarantee: Guarantee, prediction: Prediction) -> Iterator[str]:
    if guarantee.error_code and guarantee.error_code != prediction.error_code:
        yield f"the error is {prediction.error_code or 'a reset'} instead of {guarantee.error_code}"
    if guarantee.error_from and guarantee.error_from != prediction.error_from:
        yield f"the error comes from {prediction.error_from} instead of {guarantee.error_from}"


def _fields(guarantee: Guarantee, seen: Seen, received: Received) -> Iterator[str]:
    if seen.source_address and seen.source_address != received.source_address:
        yield f"it comes from {received.source_address} instead of {seen.source_address}"
    if seen.source_mac and seen.source_mac != received.source_mac:
        yield f"it comes from MAC {received.source_mac} instead of {seen.source_mac}"
    if seen.destination_address and seen.destination_address != received.destination_address:
        yield f"it is for {received.destination_address} instead of {seen.destination_address}"
    if seen.ttl is not None and seen.ttl != received.ttl:
        yield f"its TTL is {received.ttl} instead of {seen.ttl}"
    if guarantee.flow.protocol not in _WITH_PORTS:
        return
    if seen.destination_port and seen.destination_port != received.destination_port:
        yield f"it is for port {received.destination_port} instead of {seen.destination_port}"
    if seen.source_port_unprivileged and received.source_port < _UNPRIVILEGED:
        yield f"it comes from port {received.source_port}, below {_UNPRIVILEGED}"
