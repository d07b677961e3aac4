"""The values of nft text: single ones, ranges, prefixes, bits, sets and maps of them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from vnetlab.predict.fields import FieldType, type_of
from vnetlab.predict.rules import Lookup, Values
from vnetlab.predict.tokens import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from vnetlab.predict.rules import Key
    from vnetlab.predict.tokens import Words

    Datum = TypeVar("Datum")
    Member = tuple[Values, ...]

_ANYTHING = Values(frozenset(), ((0, 1 << 128),), ("",))


def bits_at(words: Words, field_type: FieldType) -> int:
    """Take bits or numbers joined by ``|`` or commas, in parentheses or not; raises Unsupported."""
    parenthesised = words.starts("(")
    words.skip(int(parenthesised))
    found = number_at(words, field_type)
    while words.starts(",") or words.starts("|"):
        words.skip(1)
        found |= number_at(words, field_type)
    if parenthesised:
        words.expect(")")
    return found


def number_at(words: Words, field_type: FieldType) -> int:
    """Take one number; raises Unsupported for a name, a range or a prefix."""
    word = words.peek()
    values = value_at(words, field_type)
    number = next(iter(values.exact), None)
    if not isinstance(number, int) or values.ranges:
        raise Unsupported(f"`{word}` as a number")
    return number


def set_at(words: Words, keys: tuple[Key, ...]) -> list[Member]:
    """Take a set in braces: of one key as one Values, of several as one entry each; raises Unsupported."""
    words.expect("{")
    members = []
    while not words.starts("}"):
        members.append(member_at(words, keys))
        if words.starts(","):
            words.skip(1)
    words.expect("}")
    if len(keys) > 1:
        return members
    return [(_union([member[0] for member in members]),)]


def map_at(
    words: Words, keys: tuple[Key, ...], datum: Callable[[Words], Datum]
) -> tuple[tuple[Member, Datum], ...]:
    """Take a map in braces; what `*` leads to comes last, since it is for what no other member fits."""
    words.expect("{")
    found: list[tuple[Member, Datum]] = []
    others: list[tuple[Member, Datum]] = []
    while not words.starts("}"):
        group = others if words.starts("*") else found
        member = member_at(words, keys)
        words.expect(":")
        group.append((member, datum(words)))
        if words.starts(","):
            words.skip(1)
    words.expect("}")
    return (*found, *others)


def lookup_at(words: Words, keys: tuple[Key, ...], datum: Callable[[Words], tuple[int, ...]]) -> Lookup:
    """Take the rest of a data map whose keys are known; raises Unsupported."""
    words.expect("map")
    return Lookup(keys, map_at(words, keys, datum))


def _union(values: list[Values]) -> Values:
    """Return all in one, alike for all that mean the same: the kernel lists numbers that touch as ranges."""
    numbers = {(n, n) for v in values for n in v.exact if isinstance(n, int)}
    spans = joined(numbers.union(*(v.ranges for v in values)))
    return Values(
        frozenset(
            [name for v in values for name in v.exact if isinstance(name, str)]
            + [low for low, high in spans if low == high]
        ),
        tuple(span for span in spans if span[0] < span[1]),
        tuple(sorted({prefix for v in values for prefix in v.prefixes})),
        is_set=True,
    )


def joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges with those that touch made one, in order."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def member_at(words: Words, keys: tuple[Key, ...]) -> Member:
    """Take one value for each key, joined by dots, or `*` for all of them; raises Unsupported."""
    if words.starts("*"):
        words.skip(1)
        return (_ANYTHING,) * len(keys)
    found = []
    for number, key in enumerate(keys):
        if number:
            words.expect(".")
        field_type = type_of(key)
        assert field_type is not None
        found.append(_member(words, field_type))
    return tuple(found)


def _member(words: Words, field_type: FieldType) -> Values:
    if field_type.kind != "bits":
        return value_at(words, field_type)
    bits = number_at(words, field_type)
    while words.starts("|"):
        words.skip(1)
        bits |= number_at(words, field_type)
    return Values(frozenset({bits}))


def value_at(words: Words, field_type: FieldType) -> Values:
    """Take one value, prefix or range of a type; raises Unsupported."""
    word = words.take()
    try:
        return _value(word, field_type)
    except ValueError:
        raise Unsupported(f"value `{word}`") from None


def _value(word: str, field_type: FieldType) -> Values:
    kind = field_type.kind
    if kind == "name":
        return _name(word)
    if kind == "mac":
        return Values(frozenset({word.lower()}))
    if kind in ("ipv4", "ipv6"):
        return _addresses(word)
    if word in field_type.words:
        return Values(frozenset({field_type.words[word]}))
    low, dash, high = word.partition("-")
    if dash:
        return _range(int(low, 0), int(high, 0))
    return Values(frozenset({int(word, 0)}))


def _range(low: int, high: int) -> Values:
    """Return a range; nft lists `< 9` and `> 3` as `!= 9-3`, which says something else."""
    if low > high:
        raise ValueError(f"{low}-{high}")
    return Values(frozenset(), ((low, high),))


def _name(word: str) -> Values:
    if word.endswith("*"):
        return Values(frozenset(), prefixes=(word[:-1],))
    return Values(frozenset({word}))


def _addresses(word: str) -> Values:
    low, dash, high = word.partition("-")
    if dash:
        return _range(int(ip_address(low)), int(ip_address(high)))
    if "/" in word:
        network = ip_network(word)
        return Values(frozenset(), ((int(network.network_address), int(network.broadcast_address)),))
    return Values(frozenset({int(ip_address(word))}))
