"""The words of nft text: tokens, keys, and values of a key's type."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from vnetlab.predict.fields import FieldType, type_of
from vnetlab.predict.rules import Key, Match, Values

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = re.compile(r'"[^"]*"|[{},;()|]|==|!=|<=|>=|<<|[<>=]|[^\s{},;()|"=!<>]+|!')
_COMPARISONS = ("==", "!=", "<", ">", "<=", ">=")
_META = (
    "iifname", "oifname", "ibrname", "obrname", "iif", "oif", "nfproto", "l4proto", "protocol",
    "pkttype", "mark",
)  # fmt: skip
_SHORT_META = ("iifname", "oifname", "iif", "oif", "mark")
_HEADERS = ("ip", "ip6", "tcp", "udp", "th", "icmp", "icmpv6", "ether", "arp")


class Unsupported(Exception):
    """The text holds something that the model does not know; says what."""


class Words:
    """Tokens of a rule, taken one after the other. Quotes are gone, ``$names`` and ``@names`` replaced."""

    def __init__(self, text: str, defines: Mapping[str, str], sets: Mapping[str, str] | None = None) -> None:
        written = _TOKEN.findall(text)
        known = {f"@{name}": elements for name, elements in (sets or {}).items()}
        spread = [each for token in written for each in _TOKEN.findall(known.get(token, token))]
        self._tokens = [_plain(token, defines) for token in spread]
        self._at = 0

    @property
    def done(self) -> bool:
        """Whether no word is left."""
        return self._at >= len(self._tokens)

    def peek(self) -> str:
        """Return the next word without taking it; raises Unsupported at the end."""
        if self.done:
            raise Unsupported("the rule ends too early")
        return self._tokens[self._at]

    def take(self) -> str:
        """Take the next word; raises Unsupported at the end."""
        word = self.peek()
        self._at += 1
        return word

    def skip(self, count: int) -> None:
        """Pass over words."""
        self._at += count

    def starts(self, *words: str) -> bool:
        """Tell whether the next words are these."""
        return tuple(self._tokens[self._at : self._at + len(words)]) == words

    def expect(self, word: str) -> None:
        """Take a word that must be there; raises Unsupported."""
        found = self.take()
        if found != word:
            raise Unsupported(f"`{found}` instead of `{word}`")


def _plain(token: str, defines: Mapping[str, str]) -> str:
    if token.startswith("$") and token[1:] in defines:
        token = defines[token[1:]]
    return token.strip('"')


def keys_at(words: Words) -> tuple[Key, ...]:
    """Take a key, or several joined by dots; raises Unsupported for one that is not known."""
    keys = [_key(words)]
    while words.starts("."):
        words.skip(1)
        keys.append(_key(words))
    for key in keys:
        if type_of(key) is None:
            raise Unsupported(f"`{key.group} {key.name}`")
    return tuple(keys)


def _key(words: Words) -> Key:
    word = words.take()
    if word in _SHORT_META:
        return Key("meta", _by_name(word))
    if word == "meta":
        name = words.take()
        if name not in _META:
            raise Unsupported(f"`meta {name}`")
        return Key("meta", _by_name(name))
    if word == "fib":
        return Key("fib", _fib(words))
    if word == "arp" and (words.starts("saddr") or words.starts("daddr")):
        return Key("arp", f"{words.take()} {words.take()}")
    if word == "ct" or word in _HEADERS:
        return Key(word, words.take())
    raise Unsupported(f"`{word}`")


def _by_name(word: str) -> str:
    # By index or by name is the same here: a State has no device that is renamed.
    return {"iif": "iifname", "oif": "oifname"}.get(word, word)


def _fib(words: Words) -> str:
    flags = [words.take()]
    while words.starts("."):
        words.skip(1)
        flags.append(words.take())
    result = words.take()
    known = {"saddr", "daddr", "iif"}
    if not set(flags) <= known or result not in ("type", "oif", "oifname"):
        raise Unsupported(f"`fib {' . '.join(flags)} {result}`")
    return " ".join([*flags, "type" if result == "type" else "oif"])


def match_at(words: Words, keys: tuple[Key, ...]) -> Match:
    """Take operator and values of a match; raises Unsupported."""
    if keys[0].group == "fib" and not keys[0].name.endswith(" type"):
        return _presence(words, keys)
    mask = _mask(words, keys) if words.starts("&") else None
    operator = words.take() if words.peek() in _COMPARISONS else ""
    if words.starts("{"):
        return Match(keys, operator or "==", tuple(_set(words, keys)), mask)
    member = member_at(words, keys)
    bits = type_of(keys[0])
    if bits and bits.kind == "bits" and mask is None:
        return _of_bits(words, keys, bits, operator, member[0])
    return Match(keys, operator or "==", (member,), mask)


def _presence(words: Words, keys: tuple[Key, ...]) -> Match:
    """Read ``fib daddr oif missing``: whether there is a device at all."""
    negated = words.starts("!=")
    if words.peek() in ("==", "!="):
        words.skip(1)
    word = words.take()
    if word in ("missing", "exists"):
        return Match(keys, "!=" if (word == "exists") ^ negated else "==", ((Values(frozenset({""})),),))
    return Match(keys, "!=" if negated else "==", ((Values(frozenset({word})),),))


def _of_bits(
    words: Words, keys: tuple[Key, ...], field_type: FieldType, operator: str, first: Values
) -> Match:
    """Read a list of bits: without an operator any of them is enough, with one they are compared whole.

    ``ct state != established,related`` is true of established too (nft makes one `cmp neq` of it).
    """
    found = {_number(value) for value in first.exact}
    while words.starts(",") or words.starts("|"):
        words.skip(1)
        found |= {_number(v) for v in value_at(words, field_type).exact}
    if words.starts("/"):
        words.skip(1)
        mask = 0
        for bit in _bit_list(words, field_type):
            mask |= bit
        wanted = 0
        for bit in found:
            wanted |= bit
        return Match(keys, operator or "==", ((Values(frozenset({wanted})),),), mask)
    total = 0
    for bit in found:
        total |= bit
    return Match(keys, operator or "has", ((Values(frozenset({total})),),))


def _bit_list(words: Words, field_type: FieldType) -> list[int]:
    found = [_number(v) for v in value_at(words, field_type).exact]
    while words.starts(",") or words.starts("|"):
        words.skip(1)
        found += [_number(v) for v in value_at(words, field_type).exact]
    return found


def _number(value: int | str) -> int:
    if isinstance(value, str):
        raise Unsupported(f"`{value}` as bits")
    return value


def _mask(words: Words, keys: tuple[Key, ...]) -> int:
    words.skip(1)
    field_type = type_of(keys[0])
    if field_type is None or field_type.kind not in ("bits", "number"):
        raise Unsupported("a mask of this field")
    parenthesised = words.starts("(")
    words.skip(int(parenthesised))
    mask = 0
    for bit in _bit_list(words, field_type):
        mask |= bit
    if parenthesised:
        words.expect(")")
    return mask


def _set(words: Words, keys: tuple[Key, ...]) -> list[tuple[Values, ...]]:
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


def _union(values: list[Values]) -> Values:
    return Values(
        frozenset().union(*(v.exact for v in values)),
        tuple(span for v in values for span in v.ranges),
        tuple(prefix for v in values for prefix in v.prefixes),
        is_set=True,
    )


def member_at(words: Words, keys: tuple[Key, ...]) -> tuple[Values, ...]:
    """Take one value for each key, joined by dots; raises Unsupported."""
    found = []
    for number, key in enumerate(keys):
        if number:
            words.expect(".")
        field_type = type_of(key)
        assert field_type is not None
        found.append(value_at(words, field_type))
    return tuple(found)


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
    if word == "*":
        return Values(frozenset(), ((0, 1 << 128),))
    if kind in ("ipv4", "ipv6"):
        return _addresses(word)
    if word in field_type.words:
        return Values(frozenset({field_type.words[word]}))
    low, dash, high = word.partition("-")
    if dash:
        return Values(frozenset(), ((int(low, 0), int(high, 0)),))
    return Values(frozenset({int(word, 0)}))


def _name(word: str) -> Values:
    if word.endswith("*"):
        return Values(frozenset(), prefixes=(word[:-1],))
    return Values(frozenset({word}))


def _addresses(word: str) -> Values:
    low, dash, high = word.partition("-")
    if dash:
        return Values(frozenset(), ((int(ip_address(low)), int(ip_address(high))),))
    if "/" in word:
        network = ip_network(word)
        return Values(frozenset(), ((int(network.network_address), int(network.broadcast_address)),))
    return Values(frozenset({int(ip_address(word))}))
