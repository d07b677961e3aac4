"""Pages of docs/ that are made from the code, so that they cannot say anything else.

``python -m vnetlab.report.pages DIRECTORY`` writes them; a test compares them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import getdoc
from pathlib import Path

from msgspec import Struct

MODES = ("bridge", "isolated", "routed", "host_only", "nat")
NOTE = "<!-- Written by scripts/docs from {source}; change it there. -->\n\n"


class Page(Struct, frozen=True):
    """A Markdown page; its path is relative to docs/."""

    path: str
    text: str


def pages() -> tuple[Page, ...]:
    """Return the reference of topology files, and a page for each mode."""
    from vnetlab.topology.schema import reference_markdown

    note = NOTE.format(source="vnetlab/topology")
    reference = Page("topology.md", note + reference_markdown().rstrip() + "\n")
    return (reference, *(_mode(name) for name in MODES))


def _mode(name: str) -> Page:
    module = import_module(f"vnetlab.modes.{name}")
    note = NOTE.format(source=f"vnetlab/modes/{name}.py")
    return Page(f"modes/{name}.md", note + (getdoc(module) or "") + "\n")


def main() -> None:
    """Write the pages below the directory given."""
    (directory,) = sys.argv[1:]
    for page in pages():
        Path(directory, page.path).write_text(page.text, encoding="utf-8")


if __name__ == "__main__":
    main()
