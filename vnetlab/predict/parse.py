"""nft text -> rules: what `vnetlab` writes, what `nft list ruleset` shows, and what people write by hand.

Whatever the parser does not know makes the rule's rest unknown, with the text that says why; the matches
before it still count, since a packet that they do not fit never gets there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vnetlab.predict.effects import effect_at
from vnetlab.predict.keys import keys_at
from vnetlab.predict.matches import doubt_at, match_at
from vnetlab.predict.rules import Reject, Rule, Verdict, VerdictMap
from vnetlab.predict.tokens import Unsupported, Words
from vnetlab.predict.translation import NAT, translate_at
from vnetlab.predict.values import map_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vnetlab.predict.rules import Action, Effect, Match

_SIMPLE = ("accept", "drop", "continue", "return")
_JUMPS = ("jump", "goto")


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
    return parser.rule(comment or parser.comment or text, unknown)


class _Parser:
    def __init__(self, words: Words, family: str) -> None:
        self._words = words
        self._family = family
        self._parts: list[tuple[list[Match], list[Effect]]] = [([], [])]
        self._action: Action | None = None
        self.comment = ""

    def rule(self, label: str, unknown: str) -> Rule:
        """Return the rule: its first part, with the others as rest of one another."""
        rest: Rule | None = None
        for matches, effects in reversed(self._parts):
            last = rest is None
            rest = Rule(
                label,
                tuple(matches),
                tuple(effects),
                self._action if last else None,
                unknown if last else "",
                rest,
            )
        assert rest is not None
        return rest

    def statement(self) -> None:
        words = self._words
        word = words.peek()
        if self._action is not None and word not in ("comment", "counter"):
            raise Unsupported(f"`{word}` after a verdict")
        if word in _SIMPLE:
            self._action = Verdict(words.take())
        elif word in _JUMPS:
            self._action = Verdict(words.take(), words.take())
        elif word == "reject":
            self._action = _reject(words, self._family)
        elif word in NAT:
            self._action = translate_at(words)
        elif word in ("counter", "log", "comment"):
            self._aside(words.take())
        elif words.starts("meta", "nftrace", "set"):
            words.skip(4)
        elif effect := effect_at(words):
            self._parts[-1][1].append(effect)
        else:
            self._match()

    def _aside(self, word: str) -> None:
        """Take what changes no packet: counters, logs and comments."""
        words = self._words
        if word == "comment":
            self.comment = words.take()
        elif word == "counter" and words.starts("name"):
            words.skip(2)
        elif word == "counter":
            while not words.done and words.peek() in ("packets", "bytes"):
                words.skip(2)
        else:
            while not words.done and words.peek() in ("prefix", "level", "flags", "group", "snaplen"):
                words.skip(2)

    def _match(self) -> None:
        if self._parts[-1][1]:
            self._parts.append(([], []))
        words, matches = self._words, self._parts[-1][0]
        doubt = doubt_at(words)
        if doubt:
            matches.append(doubt)
            return
        keys = keys_at(words)
        if words.starts("vmap"):
            words.skip(1)
            self._action = VerdictMap(keys, map_at(words, keys, _verdict))
            return
        matches.append(match_at(words, keys))


def _verdict(words: Words) -> Verdict:
    kind = words.take()
    if kind not in (*_SIMPLE, *_JUMPS):
        raise Unsupported(f"verdict `{kind}`")
    return Verdict(kind, words.take() if kind in _JUMPS else "")


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
