"""Where reports for people are printed: in colour on a terminal only (NO_COLOR is honoured)."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from rich.console import Console

PLAIN_WIDTH = 100
"""Columns where the output is no terminal: a file's or a pipe's reader has none to ask for."""


def console() -> Console:
    """Return the console on stdout."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal that cannot show a symbol gets a question mark, not a traceback.
        sys.stdout.reconfigure(errors="replace")
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    return Console(width=width, highlight=False, emoji=False, markup=False)
