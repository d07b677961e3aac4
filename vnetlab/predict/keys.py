"""The keys of nft text: which field of a packet a rule looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.predict.fields import ABSENT, type_of
from vnetlab.predict.rules import Key
from vnetlab.predict.tokens import Unsupported

if TYPE_CHECKING:
    from vnetlab.predict.tokens import Words

_META = (
    "iifname", "oifname", "ibrname", "obrname", "iif", "oif", "nfproto", "l4proto", "protocol",
    "pkttype", "mark", "length",
)  # fmt: skip
_SHORT_META = ("iifname", "oifname", "iif", "oif", "mark")
_HEADERS = ("ip", "ip6", "tcp", "udp", "th", "icmp", "icmpv6", "ether", "arp", *ABSENT)
_WAYS = ("original", "reply")


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
    if word == "ct":
        return Key("ct", _ct(words))
    if word in _HEADERS:
        return Key(word, words.take())
    raise Unsupported(f"`{word}`")


def _by_name(word: str) -> str:
    # By index or by name is the same here: a State has no device that is renamed.
    return {"iif": "iifname", "oif": "oifname"}.get(word, word)


def _ct(words: Words) -> str:
    parts = [words.take()]
    if parts[0] in _WAYS:
        parts.append(words.take())
        if parts[1] in ("ip", "ip6"):
            parts.append(words.take())
    return " ".join(parts)


def _fib(words: Words) -> str:
    flags = [words.take()]
    while words.starts("."):
        words.skip(1)
        flags.append(words.take())
    result = words.take()
    known = {"saddr", "daddr", "iif", "oif", "mark"}
    if not set(flags) <= known or result not in ("type", "oif", "oifname"):
        raise Unsupported(f"`fib {' . '.join(flags)} {result}`")
    return " ".join([*flags, "type" if result == "type" else "oif"])
