"""Statements of nft text that change a packet or its connection, and decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.predict.fields import TYPES, type_of
from vnetlab.predict.keys import keys_at
from vnetlab.predict.rules import Key, Lookup, NoTrack, SetField, SetMark
from vnetlab.predict.tokens import Unsupported
from vnetlab.predict.values import lookup_at, number_at

if TYPE_CHECKING:
    from vnetlab.predict.rules import Effect
    from vnetlab.predict.tokens import Words

_MARKS = (Key("meta", "mark"), Key("ct", "mark"))
_MARK = TYPES[Key("meta", "mark")]
_FIELDS = (Key("ip", "ttl"), Key("ip6", "hoplimit"), Key("ip", "dscp"), Key("ip6", "dscp"))
_ALL = 0xFFFFFFFF


def effect_at(words: Words) -> Effect | None:
    """Take a statement that changes something; None where none is next. Raises Unsupported."""
    if words.starts("notrack"):
        words.skip(1)
        return NoTrack()
    for key in _MARKS:
        if words.starts(key.group, "mark", "set"):
            words.skip(3)
            return _mark(words, connection=key.group == "ct")
    for key in _FIELDS:
        if words.starts(key.group, key.name, "set"):
            words.skip(3)
            field_type = type_of(key)
            assert field_type is not None
            return SetField(key, number_at(words, field_type))
    return None


def _mark(words: Words, *, connection: bool) -> SetMark:
    if words.peek()[0].isdigit():
        return SetMark(number_at(words, _MARK), connection=connection)
    keys = keys_at(words)
    of: Key | Lookup = keys[0]
    if words.starts("map"):
        of = lookup_at(words, keys, lambda datum: (number_at(datum, _MARK),))
    elif len(keys) > 1 or keys[0] not in _MARKS:
        raise Unsupported(f"a mark made from `{keys[0].group} {keys[0].name}`")
    mask, bits = _ALL, 0
    if words.starts("&") or words.starts("and"):
        words.skip(1)
        mask = number_at(words, _MARK)
    if words.starts("|") or words.starts("or"):
        words.skip(1)
        bits = number_at(words, _MARK)
    return SetMark(bits, of, mask, connection)
