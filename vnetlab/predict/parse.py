"""nft text -> rules: what `vnetlab` writes, what `nft list ruleset` shows, and what people write by hand.

Whatever the parser does not know makes the rule's rest unknown, with the text that says why; the matches
before it still count, since a packet that they do not fit never gets there.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from vnetlab.predict.rules import NoTrack, Reject, Rule, SetMark, Translate, Verdict, VerdictMap
from vnetlab.predict.words import Unsupported, Words, keys_at, match_at, member_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vnetlab.predict.rules import Action, Match, Values

_SIMPLE = ("accept", "drop", "continue", "return")
_NAT = ("dnat", "snat", "masquerade", "redirect")
_RANDOM = ("random", "fully-random", "persistent")
_PORTS = re.compile(r"(\d+)(?:-(\d+))?")
_VERSIONS = {"ip": 4, "ip6": 6}


def parse_rule(
    text: str,
    family: str = "inet",
    comment: str = "",
    defines: Mapping[str, str] | None = None,
    sets: Mapping[str, str] | None = None,
) -> Rule:
    """Return a rule from its text; what is not understood is in its ``unknown``.

    ``defines`` has the text of each ``$name``, ``sets`` that of each ``@name``, in braces.
    """
    words = Words(text, defines or {}, sets)
    parser = _Parser(words, family)
    unknown = ""
    try:
        while not words.done:
            parser.statement()
    except Unsupported as why:
        unknown = str(why)
    return Rule(
        comment or parser.comment or text,
        tuple(parser.matches),
        tuple(parser.effects),
        parser.action,
        unknown,
    )


class _Parser:
    def __init__(self, words: Words, family: str) -> None:
        self._words = words
        self._family = family
        self.matches: list[Match] = []
        self.effects: list[SetMark | NoTrack] = []
        self.action: Action | None = None
        self.comment = ""

    def statement(self) -> None:
        words = self._words
        word = words.peek()
        if self.action is not None and word not in ("comment", "counter"):
            raise Unsupported(f"`{word}` after a verdict")
        if word in _SIMPLE:
            self.action = Verdict(words.take())
        elif word in ("jump", "goto"):
            self.action = Verdict(words.take(), words.take())
        elif word == "reject":
            self.action = _reject(words, self._family)
        elif word in _NAT:
            self.action = _translate(words)
        elif word in ("counter", "log", "comment", "notrack"):
            self._aside(words.take())
        elif words.starts("meta", "mark", "set") or words.starts("meta", "nftrace", "set"):
            self._set_meta()
        else:
            self._match()

    def _aside(self, word: str) -> None:
        """Take what changes no packet: counters, logs and comments; and `notrack`."""
        words = self._words
        if word == "comment":
            self.comment = words.take()
        elif word == "notrack":
            self.effects.append(NoTrack())
        elif word == "counter" and words.starts("name"):
            words.skip(2)
        elif word == "counter":
            while not words.done and words.peek() in ("packets", "bytes"):
                words.skip(2)
        else:
            while not words.done and words.peek() in ("prefix", "level", "flags", "group", "snaplen"):
                words.skip(2)

    def _set_meta(self) -> None:
        self._words.skip(1)
        name = self._words.take()
        self._words.skip(1)
        value = self._words.take()
        if name == "nftrace":
            return
        try:
            self.effects.append(SetMark(int(value, 0)))
        except ValueError:
            raise Unsupported(f"mark {value}") from None

    def _match(self) -> None:
        words = self._words
        if self.effects and any(isinstance(effect, SetMark) for effect in self.effects):
            raise Unsupported("a match after a mark was set")
        keys = keys_at(words)
        if words.starts("vmap"):
            words.skip(1)
            self.action = VerdictMap(keys, tuple(_entries(words, keys)))
            return
        self.matches.append(match_at(words, keys))


def _entries(words: Words, keys: tuple[object, ...]) -> list[tuple[tuple[Values, ...], Verdict]]:
    found = []
    words.expect("{")
    while not words.starts("}"):
        member = member_at(words, keys)  # type: ignore[arg-type]
        words.expect(":")
        kind = words.take()
        if kind not in (*_SIMPLE, "jump", "goto"):
            raise Unsupported(f"verdict `{kind}`")
        found.append((member, Verdict(kind, words.take() if kind in ("jump", "goto") else "")))
        if words.starts(","):
            words.skip(1)
    words.expect("}")
    return found


def _reject(words: Words, family: str) -> Reject:
    words.skip(1)
    if not words.starts("with"):
        return Reject({"ip": "icmp", "ip6": "icmpv6"}.get(family, "icmpx"), "port-unreachable")
    words.skip(1)
    kind = words.take()
    code = words.take()
    if code == "type":
        code = words.take()
    if (kind, code) != ("tcp", "reset") and kind not in ("icmp", "icmpv6", "icmpx"):
        raise Unsupported(f"reject with {kind} {code}")
    return Reject(kind, code)


def _translate(words: Words) -> Translate:
    kind = words.take()
    version = None
    if not words.done and words.peek() in _VERSIONS:
        version = _VERSIONS[words.take()]
    address, ports = None, None
    if words.starts("to"):
        words.skip(1)
        version, address, ports = _target(words.take(), version)
    while not words.done and words.peek() in _RANDOM:
        if words.take() != "persistent":
            raise Unsupported("a random port")
    return Translate(kind, version, address, ports)


def _target(word: str, version: int | None) -> tuple[int | None, int | None, tuple[int, int] | None]:
    """Read ``ADDRESS``, ``ADDRESS:PORT``, ``[ADDRESS]:PORT``, ``:PORT-PORT``."""
    host, ports = word, ""
    if word.startswith("["):
        host, _, ports = word[1:].partition("]")
        ports = ports.removeprefix(":")
    elif word.startswith(":") and not word.startswith("::"):
        host, ports = "", word[1:]
    elif word.count(":") == 1:
        host, _, ports = word.partition(":")
    found = _PORTS.fullmatch(ports) if ports else None
    if ports and found is None:
        raise Unsupported(f"translation to {word}")
    span = (int(found[1]), int(found[2] or found[1])) if found else None
    if not host:
        return version, None, span
    try:
        address = ip_address(host)
    except ValueError:
        raise Unsupported(f"translation to {word}") from None
    assert isinstance(address, IPv4Address | IPv6Address)
    return address.version, int(address), span
