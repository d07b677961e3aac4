"""The report as a picture, for pages that show what a terminal shows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from vnetlab.report.text import print_report

if TYPE_CHECKING:
    from pathlib import Path

    from vnetlab.report.summary import Report

WIDTH = 100


def write_svg(report: Report, path: Path) -> None:
    """Write what a terminal of 100 columns would show; the same report gives the same bytes."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False)
    print_report(console, report)
    title = f"vnetlab test {report.topology.file}"
    path.write_text(console.export_svg(title=title, unique_id="vnetlab"), encoding="utf-8")
