"""A report on the terminal: seconds, ratios and phases."""

from __future__ import annotations

import sys
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.results import BARE, FLOOR, GROWTH, MININET, PHASES, VNETLAB, ratio

if TYPE_CHECKING:
    from benchmarks.results import Report

_BUILDERS = (BARE, FLOOR, VNETLAB, MININET)
_RATIOS = ((VNETLAB, FLOOR), (VNETLAB, BARE), (MININET, VNETLAB))


def progress(text: str) -> None:
    """Say on stderr what was just measured."""
    sys.stderr.write(f"benchmarks: {text}\n")


def show(report: Report) -> None:
    """Print everything."""
    console = Console()
    if report.samples:
        console.print(_seconds(report))
        console.print(_ratios(report))
        console.print(_phases(report, PHASES, "phase, ms per machine"))
        console.print(_phases(report, GROWTH, "20 networks always, ms per machine"))
    if report.throughput:
        console.print(_throughput(report))
    for note in report.notes:
        console.print(note)


def _seconds(report: Report) -> Table:
    table = Table("machines", "builder", "up, s", "down, s", "peak, MB", "holder, MB")
    for machines in report.sizes():
        for builder in _BUILDERS:
            samples = report.of(builder, machines)
            if samples:
                up, down = (median(tuple(getattr(s, what) for s in samples)) for what in ("up", "down"))
                memory, holder = (max(getattr(s, what) for s in samples) for what in ("memory", "holder"))
                held = f"{holder / 1e6:.0f}" if holder else ""
                table.add_row(str(machines), builder, f"{up:.2f}", f"{down:.2f}", f"{memory / 1e6:.0f}", held)
    return table


def _ratios(report: Report) -> Table:
    table = Table("machines", "ratio (median of rounds)", "up", "down")
    for machines in report.sizes():
        for over, under in _RATIOS:
            found = [ratio(report, what, over, under, machines) for what in ("up", "down")]
            if any(found):
                table.add_row(str(machines), f"{over} / {under}", *(f"{r:.2f}" if r else "" for r in found))
    return table


def _phases(report: Report, builder: str, title: str) -> Table:
    by_size = {s.machines: dict(s.phases) for s in report.samples if s.builder == builder}
    table = Table(title, *(str(machines) for machines in by_size))
    for phase in dict.fromkeys(phase for phases in by_size.values() for phase in phases):
        cells = ((phases.get(phase), machines) for machines, phases in by_size.items())
        table.add_row(phase, *("" if s is None else f"{s / n * 1000:.3f}" for s, n in cells))
    return table


def _throughput(report: Report) -> Table:
    table = Table("way", "vnetlab, Gbit/s", "by hand, Gbit/s", "bits", "packets")
    for way in dict.fromkeys(t.way for t in report.throughput):
        of = {b: [t for t in report.throughput if t.way == way and t.builder == b] for b in (VNETLAB, FLOOR)}
        pairs = list(zip(of[VNETLAB], of[FLOOR], strict=True))
        bits = median(tuple(a.bits / b.bits for a, b in pairs))
        packets = median(tuple(a.packets / b.packets for a, b in pairs))
        gbits = (f"{median(tuple(t.bits for t in of[b])) / 1e9:.2f}" for b in (VNETLAB, FLOOR))
        table.add_row(way, *gbits, f"{bits:.3f}", f"{packets:.3f}")
    return table
