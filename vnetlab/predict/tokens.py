"""The words of nft text: tokens, taken one after the other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = re.compile(r'"[^"]*"|[{},;()|]|==|!=|<=|>=|<<|[<>=]|[^\s{},;()|"=!<>]+|!')


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

    def push(self, word: str) -> None:
        """Put a word before the next one, where one token was two words."""
        self._at -= 1
        self._tokens[self._at] = word

    def expect(self, word: str) -> None:
        """Take a word that must be there; raises Unsupported."""
        found = self.take()
        if found != word:
            raise Unsupported(f"`{found}` instead of `{word}`")


def _plain(token: str, defines: Mapping[str, str]) -> str:
    if token.startswith("$") and token[1:] in defines:
        token = defines[token[1:]]
    return token.strip('"')
