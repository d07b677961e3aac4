"""The report as a picture, for pages that show what a terminal shows."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from rich.console import Console

from vnetlab.report.text import print_report

if TYPE_CHECKING:
    from pathlib import Path

    from vnetlab.report.summary import Report

WIDTH = 100
WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""A picture in a repository fetches nothing; the reader's own monospace font will do."""


def write_svg(report: Report, path: Path) -> None:
    """Write what a terminal of 100 columns would show; the same report gives the same bytes."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False)
    print_report(console, report)
    title = f"vnetlab test {report.topology.file}"
    picture = console.export_svg(title=title, unique_id="vnetlab")
    path.write_text(WEB_FONT.sub("", picture), encoding="utf-8")
