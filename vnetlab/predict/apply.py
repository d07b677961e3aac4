"""What rules do besides deciding: marks, fields that are set, and what maps lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from vnetlab.predict.packet import Packet
from vnetlab.predict.passage import Unknown
from vnetlab.predict.readers import reader_of
from vnetlab.predict.rules import Key, Lookup, NoTrack, SetField, SetMark, Translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vnetlab.predict.passage import Passage
    from vnetlab.predict.readers import Value
    from vnetlab.predict.rules import Effect, Values

    Datum = TypeVar("Datum")
    Read = Value | Unknown


def take_effect(effect: Effect, passage: Passage) -> bool:
    """Do what a statement does; False where it does not fit the packet, which ends its rule."""
    if isinstance(effect, SetMark):
        return _set_mark(effect, passage)
    if isinstance(effect, SetField):
        return _set_field(effect, passage)
    assert isinstance(effect, NoTrack)
    passage.untracked = passage.tracked is None
    return True


def _set_mark(effect: SetMark, passage: Passage) -> bool:
    mark = effect.value
    if effect.of is not None:
        found = _number(effect.of, passage)
        if found is None:
            return False
        mark |= found & effect.mask
    if not effect.connection:
        passage.mark = mark
    elif passage.tracked is not None and passage.tracked.entry is not None:
        passage.tracked.entry.mark = mark
    return True


def _number(source: Key | Lookup, passage: Passage) -> int | None:
    if isinstance(source, Lookup):
        numbers = found_in(source.keys, source.entries, passage)
        return None if numbers is None else numbers[0]
    value = reader_of(source)(passage)
    assert not isinstance(value, str)
    return value


def _set_field(effect: SetField, passage: Passage) -> bool:
    packet = passage.packet
    if not isinstance(packet, Packet) or packet.version != (4 if effect.key.group == "ip" else 6):
        return False
    if effect.key.name == "dscp":
        passage.packet = replace(packet, tos=effect.value << 2 | packet.tos & 3)
    else:
        passage.packet = replace(packet, ttl=effect.value)
    return True


def resolved(action: Translate, passage: Passage) -> Translate | None:
    """Return a translation with what its map has for the packet; None where it does not fit it."""
    packet = passage.packet
    if action.version is not None and isinstance(packet, Packet) and action.version != packet.version:
        return None
    if action.lookup is None:
        return action
    numbers = found_in(action.lookup.keys, action.lookup.entries, passage)
    if numbers is None:
        return None
    found = dict(zip(action.fills, numbers, strict=True))
    port = found.get("port")
    return replace(
        action,
        address=found.get("address", action.address),
        ports=action.ports if port is None else (port, port),
    )


def found_in(
    keys: tuple[Key, ...], entries: Iterable[tuple[tuple[Values, ...], Datum]], passage: Passage
) -> Datum | None:
    """Return what belongs to the first entry that the packet's values are in."""
    values = values_of(tuple(reader_of(key) for key in keys), passage)
    if None in values:
        return None
    for members, datum in entries:
        if inside(members, values):
            return datum
    return None


def values_of(readers: tuple[Callable[[Passage], Value], ...], passage: Passage) -> tuple[Read, ...]:
    """Return the values of several fields; one that the model cannot tell is the reason why.

    Raises Unknown for a single field.
    """
    if len(readers) == 1:
        return (readers[0](passage),)
    found: list[Read] = []
    for read in readers:
        try:
            found.append(read(passage))
        except Unknown as why:
            found.append(why)
    return tuple(found)


def inside(members: tuple[Values, ...], values: tuple[Read, ...]) -> bool:
    """Tell whether each value is in the member of its place. Raises Unknown where one decides that nobody
    can tell.
    """
    doubt: Unknown | None = None
    for member, value in zip(members, values, strict=True):
        if isinstance(value, Unknown):
            doubt = value
        elif value is None or not member.has(value):
            return False
    if doubt is not None:
        raise doubt
    return True
