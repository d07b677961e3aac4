"""Text from files and command lines, fit for a terminal: nothing in it moves a cursor or hides itself."""

from __future__ import annotations


def visible(text: str) -> str:
    r"""Return the text with whatever does not print written out, such as ``\x1b``, ``\n`` and ``\u202e``.

    Those are control characters, marks that turn the direction of writing, unusual blanks, and halves of
    surrogate pairs, which stand for bytes of a file name that are no UTF-8.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def visible_lines(text: str) -> str:
    """Return the text with all but its line breaks made visible."""
    return "\n".join(visible(line) for line in text.split("\n"))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", errors="backslashreplace").decode()
