"""Matches of nft text: keys, an operator and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.predict.fields import FieldType, type_of
from vnetlab.predict.rules import Key, Match, Values
from vnetlab.predict.tokens import Unsupported
from vnetlab.predict.values import bits_at, member_at, set_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from vnetlab.predict.tokens import Words

_COMPARISONS = ("==", "!=", "<", ">", "<=", ">=", "!")
_OF_THE_MACHINE = ("cpu", "skuid", "skgid", "cgroup", "hour", "day", "time", "rtclassid")


def match_at(words: Words, keys: tuple[Key, ...]) -> Match:
    """Take operator and values of a match; raises Unsupported."""
    if keys[0].group == "fib" and not keys[0].name.endswith(" type"):
        return _device(words, keys)
    field_type = type_of(keys[0])
    assert field_type is not None
    mask = _mask(words, field_type) if words.peek() in ("&", "and") else None
    operator = words.take() if words.peek() in _COMPARISONS else ""
    if words.starts("{"):
        return Match(keys, operator or "==", tuple(set_at(words, keys)), mask)
    if mask is not None and words.starts("("):
        bits = bits_at(words, field_type)
        return Match(keys, operator or "==", ((Values(frozenset({bits})),),), mask)
    if field_type.kind == "bits" and mask is None and len(keys) == 1:
        return _of_bits(words, keys, operator, field_type)
    return Match(keys, operator or "==", (member_at(words, keys),), mask)


def _device(words: Words, keys: tuple[Key, ...]) -> Match:
    """Read ``fib daddr oif``, with ``missing``, ``exists``, a name or a set of them."""
    negated = words.starts("!=")
    if words.peek() in ("==", "!="):
        words.skip(1)
    operator = "!=" if negated else "=="
    if words.starts("{"):
        return Match(keys, operator, tuple(set_at(words, keys)))
    word = words.take()
    if word in ("missing", "exists", "0"):
        return Match(keys, "!=" if (word == "exists") ^ negated else "==", ((Values(frozenset({""})),),))
    return Match(keys, operator, ((Values(frozenset({word})),),))


def _of_bits(words: Words, keys: tuple[Key, ...], operator: str, field_type: FieldType) -> Match:
    """Read bits: any of them is enough without an operator, and ``!`` wants none of them; ``==`` and ``!=``
    compare the whole (`netlink_gen_flagcmp` and `netlink_gen_cmp` of nft's netlink_linearize.c).
    """
    total = bits_at(words, field_type)
    if words.starts("/"):
        words.skip(1)
        mask = bits_at(words, field_type)
        return Match(keys, operator or "==", ((Values(frozenset({total})),),), mask)
    kind = {"": "has", "!": "has not"}.get(operator, operator)
    return Match(keys, kind, ((Values(frozenset({total})),),))


def _mask(words: Words, field_type: FieldType) -> int:
    words.skip(1)
    if field_type.kind not in ("bits", "number", "ipv4", "ipv6"):
        raise Unsupported("a mask of this field")
    return bits_at(words, field_type)


def doubt_at(words: Words) -> Match | None:
    """Take a match that is well formed, but that a State has no answer for; None where none is next."""
    start = words.peek()
    if start == "limit":
        words.skip(1)
        return _doubt("limit", _limit, words)
    if start == "quota":
        words.skip(1)
        return _doubt("quota", _quota, words)
    if words.starts("ct", "count"):
        words.skip(2)
        return _doubt("ct count", _count, words)
    if start == "meta" and any(words.starts("meta", name) for name in _OF_THE_MACHINE):
        words.skip(1)
        return _doubt(f"meta {words.take()}", _operand, words)
    return None


def _doubt(name: str, pass_by: Callable[[Words], None], words: Words) -> Match:
    pass_by(words)
    return Match((Key("doubt", name),), "doubt", ())


def _limit(words: Words) -> None:
    if words.starts("name"):
        words.skip(2)
        return
    words.expect("rate")
    if "/" not in _amount(words):
        words.skip(1)
    if words.starts("burst"):
        words.skip(3)


def _quota(words: Words) -> None:
    if words.starts("name"):
        words.skip(2)
        return
    _amount(words)
    words.skip(1)
    if words.starts("used"):
        words.skip(3)


def _count(words: Words) -> None:
    _amount(words)


def _amount(words: Words) -> str:
    if words.starts("over") or words.starts("until"):
        words.skip(1)
    return words.take()


def _operand(words: Words) -> None:
    if words.peek() in _COMPARISONS:
        words.skip(1)
    if words.starts("{"):
        while words.take() != "}":
            pass
        return
    words.take()
    if words.starts("-"):
        words.skip(2)
