"""A report as a picture: seconds by machines, both logarithmic, one line for each builder. Plain SVG."""

from __future__ import annotations

from math import log10
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.results import BARE, FLOOR, MININET, VNETLAB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Report

_COLOURS = {BARE: "#999999", FLOOR: "#333333", VNETLAB: "#0072b2", MININET: "#d55e00"}
_LABELS = {
    BARE: "floor without settings and rules",
    FLOOR: "floor",
    VNETLAB: "vnetlab",
    MININET: "Mininet",
}
_WIDTH, _HEIGHT, _LEFT, _TOP = 340, 300, 60, 40


def svg(report: Report) -> str:
    """Return the picture: up on the left, down on the right."""
    panels = [_panel(report, what, at) for what, at in (("up", 0), ("down", _WIDTH + _LEFT))]
    legend = "".join(_legend(builder, number) for number, builder in enumerate(_COLOURS))
    size = f'viewBox="0 0 {2 * (_WIDTH + _LEFT) + 20} {_TOP + _HEIGHT + 90}"'
    style = 'font-family="sans-serif" font-size="12"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(panels)}{legend}</svg>\n'
    )


def _panel(report: Report, what: str, left: int) -> str:
    lines = {b: tuple(_points(report, what, b)) for b in _COLOURS}
    values = [y for points in lines.values() for _, y in points]
    sizes = report.sizes()
    low, high = _decades(min(values), max(values))
    first, last = log10(sizes[0]), max(log10(sizes[-1]), log10(sizes[0]) + 0.1)

    def x(machines: float) -> float:
        return left + _LEFT + (log10(machines) - first) / (last - first) * (_WIDTH - 20)

    def y(seconds: float) -> float:
        return _TOP + _HEIGHT - (log10(seconds) - low) / (high - low) * _HEIGHT

    parts = [f'<text x="{left + _LEFT}" y="20" font-weight="bold">{what}, seconds by machines</text>']
    parts += (_grid(left, y(10.0**n), f"{10.0**n:g}") for n in range(low, high + 1))
    parts += (
        f'<text x="{x(size):.1f}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{size}</text>'
        for size in sizes
    )
    for builder, points in lines.items():
        path = " ".join(f"{x(machines):.1f},{y(seconds):.1f}" for machines, seconds in points)
        colour = _COLOURS[builder]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += (
            f'<circle cx="{x(m):.1f}" cy="{y(s):.1f}" r="3" fill="{colour}"><title>{s:.2f} s</title></circle>'
            for m, s in points
        )
    return "".join(parts)


def _points(report: Report, what: str, builder: str) -> Iterator[tuple[int, float]]:
    for machines in report.sizes():
        samples = report.of(builder, machines)
        if samples:
            yield machines, median(tuple(getattr(sample, what) for sample in samples))


def _decades(low: float, high: float) -> tuple[int, int]:
    first, last = int(log10(low) // 1), -int(-log10(high) // 1)
    return first, max(last, first + 1)


def _grid(left: int, y: float, label: str) -> str:
    ends = f'x1="{left + _LEFT}" x2="{left + _LEFT + _WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}"'
    text = f'<text x="{left + _LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    return f'<line {ends} stroke="#dddddd"/>{text}'


def _legend(builder: str, number: int) -> str:
    x, y = _LEFT + number * 180, _TOP + _HEIGHT + 55
    mark = f'<rect x="{x}" y="{y - 9}" width="12" height="10" fill="{_COLOURS[builder]}"/>'
    return f'{mark}<text x="{x + 18}" y="{y}">{_LABELS[builder]}</text>'
