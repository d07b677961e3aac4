"""Reads what may not be there, or not for us: absence is an answer here, not an error."""

from __future__ import annotations

from pathlib import Path


def text_of(path: Path) -> str:
    """Return the text of a file, empty where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def number_of(key: str) -> int | None:
    """Return the value of a sysctl such as ``net/core/somaxconn``, None where it is not shown."""
    text = text_of(Path("/proc/sys", key)).strip()
    return int(text) if text.lstrip("-").isdigit() else None
