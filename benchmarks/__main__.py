"""`benchmarks/run`: builds the same labs by every builder, in turns, and reports ratios."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from typing import TYPE_CHECKING

import click

from benchmarks import builders, datapath, plot, results, smoke, table
from benchmarks.builders import BUILDERS, Case
from benchmarks.job import job
from benchmarks.results import Report, Sample
from benchmarks.shape import HOSTS_PER_SITE, shape_for, topology_text
from vnetlab.compile import compile_topology
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from benchmarks.shape import Shape

_SIZES = (100, 300, 1000, 3000)
_QUICK = (100, 300)
_LARGE = 10_000
_BYTES_PER_MACHINE = 500_000
"""What the kernel and both processes take for a machine, generously."""
_MOST_MININET = 1000
_PROBED = 100


@click.command()
@click.option("--sizes", help="Numbers of machines, such as 100,1000; by default up to what fits in memory.")
@click.option("--rounds", default=3, show_default=True, help="How often each builder builds each size.")
@click.option("--hosts", default=HOSTS_PER_SITE, show_default=True, help="Hosts for each thousand machines.")
@click.option("--sites", default=0, help="LANs that the hosts are spread over; one a thousand machines.")
@click.option("--without", multiple=True, type=click.Choice(sorted(BUILDERS)), help="Leave a builder out.")
@click.option("--quick", is_flag=True, help="Small sizes, one round.")
@click.option("--probe", is_flag=True, help="Also every kind of flow in a flight of its own (minutes).")
@click.option("--smoke", "only_smoke", is_flag=True, help="Count instead of timing, against pinned budgets.")
@click.option("--data-path", "only_data", is_flag=True, help="Only the throughput between machines (iperf3).")
@click.option("--output", type=click.Path(path_type=Path), help="Directory for JSON and plot.")
def main(
    sizes: str | None,
    rounds: int,
    hosts: int,
    sites: int,
    without: tuple[str, ...],
    quick: bool,
    probe: bool,
    only_smoke: bool,
    only_data: bool,
    output: Path | None,
) -> None:
    """Measure vnetlab beside the floor, and Mininet where it is installed. Needs root."""
    if only_smoke:
        sys.exit(smoke.check())
    if os.geteuid():
        raise click.UsageError("the floor makes namespaces by itself and needs root; --smoke does not")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that what is up ends
    setrlimit(RLIMIT_NOFILE, (getrlimit(RLIMIT_NOFILE)[1],) * 2)
    report = Report(platform.release(), os.cpu_count() or 1)
    if not only_data:
        wanted = _sizes(sizes, quick)
        shapes = [shape_for(size, hosts, sites) for size in wanted]
        with tempfile.TemporaryDirectory() as folder:
            cases = [_case(Path(folder), shape) for shape in shapes]
            report = _measure(report, cases, 1 if quick else rounds, without, probe)
    if datapath.available() and not quick:
        report = replace(report, throughput=tuple(datapath.measure(1 if sizes else rounds)))
    table.show(report)
    if output:
        _write(report, output)


def _sizes(given: str | None, quick: bool) -> tuple[int, ...]:
    if given:
        return tuple(int(size) for size in given.split(","))
    if quick:
        return _QUICK
    memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (*_SIZES, *([_LARGE] if memory > _LARGE * _BYTES_PER_MACHINE else []))


def _case(folder: Path, shape: Shape) -> Case:
    case = Case(
        shape.machines,
        shape.networks,
        folder / f"{shape.machines}.yaml",
        folder / f"{shape.machines}.json",
        folder / f"{shape.machines}-one-site.yaml",
    )
    case.topology.write_text(topology_text(shape))
    case.one_site.write_text(topology_text(shape_for(shape.machines, sites=1)))
    case.job.write_text(job(compile_topology(Topology.load(case.topology))))
    return case


def _measure(report: Report, cases: list[Case], rounds: int, without: tuple[str, ...], probe: bool) -> Report:
    chosen = [name for name in BUILDERS if name not in without]
    notes = list(report.notes)
    if results.MININET in chosen and not builders.has_mininet():
        chosen.remove(results.MININET)
        notes.append("Mininet is not installed here (Debian: mininet, bridge-utils)")
    samples: list[Sample] = []
    for case in cases:
        for round_ in range(rounds):
            # The other way about in every second round: what the first leaves behind is nobody's advantage.
            for name in chosen if round_ % 2 == 0 else chosen[::-1]:
                if name != results.MININET or (case.machines <= _MOST_MININET and round_ == 0):
                    samples.append(_sample(name, case, round_))
        samples.append(
            _phases(results.PHASES, case, "probe" if probe and case.machines <= _PROBED else "built")
        )
        samples.append(_phases(results.GROWTH, case, "pure"))
    return replace(report, samples=tuple(samples), notes=tuple(notes))


def _sample(name: str, case: Case, round_: int) -> Sample:
    sample = BUILDERS[name](case, round_)
    table.progress(f"{case.machines} machines, {name}: up {sample.up:.2f} s, down {sample.down:.2f} s")
    return sample


def _phases(builder: str, case: Case, mode: str) -> Sample:
    topology = case.one_site if mode == "pure" else case.topology
    command = [sys.executable, "-m", "benchmarks.phases", str(topology), mode]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Sample(builder, case.machines, 0, 0.0, 0.0, phases=tuple(json.loads(told).items()))


def _write(report: Report, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "benchmarks.json").write_text(report.to_json())
    if report.samples:
        (output / "benchmarks.svg").write_text(plot.svg(report))


if __name__ == "__main__":
    main()
