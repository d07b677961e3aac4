"""Probe, and show the verdicts in the formats that were asked for."""

from __future__ import annotations

import os
from pathlib import Path

import click
from msgspec import Struct

from vnetlab import local
from vnetlab.checks import LAB_NAME_LENGTH
from vnetlab.cli.options import print_json, progress
from vnetlab.lab import Lab
from vnetlab.report.summary import Report
from vnetlab.topology.model import Topology


class Formats(Struct, frozen=True):
    """What to show besides, or instead of, the report for people."""

    as_json: bool
    junit: str | None
    svg: str | None

    def check(self) -> None:
        """Refuse what cannot be written before anything is sent; raises click.UsageError."""
        if self.as_json and self.junit == "-":
            raise click.UsageError("--json and --junit - both want stdout")
        for option, target in (("--junit", self.junit), ("--svg", self.svg)):
            if target and target != "-" and not Path(target).absolute().parent.is_dir():
                raise click.UsageError(f"{option} {target}: there is no such directory")


def probe_file(file: str, formats: Formats, pairs: str = "all", flows: tuple[str, ...] = ()) -> int:
    """Bring a topology up under its own name, probe it, take it down; returns the exit code."""
    formats.check()
    topology = Topology.load(file)
    local.refuse_traffic(topology)
    with Lab(topology, temporary_name(topology.name)) as lab:
        report = Report.of(topology, topology.name, lab.examine(pairs, flows))
    return show(report, formats)


def probe_lab(name: str | None, formats: Formats, pairs: str = "all", flows: tuple[str, ...] = ()) -> int:
    """Probe a lab that is up; returns the exit code."""
    formats.check()
    with Lab.attach(name) as lab, lab.alone("vnetlab probe", progress):
        report = Report.of(lab.topology, lab.name, lab.examine(pairs, flows))
    return show(report, formats)


def temporary_name(topology: str) -> str:
    """Return a lab name that no other process uses."""
    suffix = f".{os.getpid()}"
    return topology[: LAB_NAME_LENGTH - len(suffix)].rstrip(".-") + suffix


def show(report: Report, formats: Formats) -> int:
    """Write the report; returns the exit code that its verdicts deserve."""
    if formats.junit:
        _write_junit(report, formats.junit)
    if formats.svg:
        from vnetlab.report.picture import write_svg

        write_svg(report, Path(formats.svg))
    if formats.as_json:
        from vnetlab.report.json import report_object

        print_json(report_object(report))
    elif formats.junit != "-":
        from vnetlab.report.terminal import console
        from vnetlab.report.text import print_report

        print_report(console(), report)
    return report.exit_code


def _write_junit(report: Report, target: str) -> None:
    from vnetlab.report.junit import junit_xml

    text = junit_xml(report)
    if target == "-":
        click.echo(text, nl=False)
    else:
        Path(target).write_text(text, encoding="utf-8")
