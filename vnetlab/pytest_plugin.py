"""Labs and guarantees in pytest; every run with vnetlab installed loads this, so it imports late.

::

    @pytest.mark.topology("nat.yaml")
    def test_web_gets_out(lab):
        lab.expect("web", "remote", protocol="tcp", port=443)

    @vnetlab_guarantees("nat.yaml")
    def test_promise(verdict):
        assert_holds(verdict)

The first test gets a lab that is up; tests of one module share it. The second becomes one test per
guarantee of the file; the packets of all of them fly once. A path is relative to the test file, or
to pytest's rootdir. What a machine lacks fails a `lab` test and skips a guarantee, with the reason
in the terminal summary: nothing is skipped in silence.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from vnetlab.guarantees import Guarantee, Verdict
    from vnetlab.lab import Lab
    from vnetlab.topology.model import Topology

MARKER = "vnetlab_guarantees"
UNAVAILABLE = "vnetlab: not probed here"
_verdict_key: pytest.StashKey[Verdict] = pytest.StashKey()
_flights_key: pytest.StashKey[dict[Path, dict[Guarantee, Verdict] | None]] = pytest.StashKey()
"""What each file's flight found; None while it flies, and after it failed."""
_numbers = count()


def vnetlab_guarantees(path: str) -> pytest.MarkDecorator:
    """Return the mark that makes of a test one test per guarantee of a topology file."""
    mark: pytest.MarkDecorator = getattr(pytest.mark, MARKER)(path)
    return mark


def assert_holds(verdict: Verdict) -> None:
    """Fail with the verdict's paragraph unless it holds; skip what could not be probed here."""
    from vnetlab.guarantees import VerdictKind
    from vnetlab.report.paragraph import paragraph

    __tracebackhide__ = True
    if verdict.kind is VerdictKind.UNAVAILABLE:
        pytest.skip(f"{UNAVAILABLE}: {verdict.reason}")
    if verdict.kind is not VerdictKind.HOLDS:
        pytest.fail(paragraph(verdict), pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line(
        "markers", "topology(source): the topology file (or Topology) that `lab` brings up"
    )
    config.addinivalue_line("markers", f"{MARKER}(path): one test per guarantee of the topology file")
    config.stash[_flights_key] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per guarantee, under names that are the same in every run and worker."""
    marker = metafunc.definition.get_closest_marker(MARKER)
    if marker is None:
        return
    from vnetlab.errors import VnetlabError
    from vnetlab.modes import guarantees_for
    from vnetlab.report.summary import titles

    path = _resolve(marker.args[0], metafunc.definition)
    try:
        guarantees = guarantees_for(_topology(path))
    except VnetlabError as error:
        raise pytest.Collector.CollectError(str(error)) from error
    metafunc.parametrize("guarantee", guarantees, ids=titles(guarantees))


@pytest.fixture
def guarantee(request: pytest.FixtureRequest) -> Guarantee:
    """One promise of a mode; needs `vnetlab_guarantees`."""
    raise pytest.UsageError(
        f"{request.node.nodeid}: the fixtures guarantee and verdict need "
        '@vnetlab_guarantees("topology.yaml") on the test'
    )


@pytest.fixture
def verdict(request: pytest.FixtureRequest, guarantee: Guarantee) -> Verdict:
    """Return the judgement of this test's guarantee, from one flight for all of the file."""
    path = _resolve(request.node.get_closest_marker(MARKER).args[0], request.node)
    flights = request.config.stash[_flights_key]
    if path not in flights:
        flights[path] = None
        flights[path] = _fly(path)
    verdicts = flights[path]
    if verdicts is None:
        pytest.fail(f"the flight of {path} failed; its first test says why", pytrace=False)
    request.node.stash[_verdict_key] = verdicts[guarantee]
    return verdicts[guarantee]


@pytest.fixture(scope="module")
def _vnetlab_labs() -> Iterator[_Labs]:
    with ExitStack() as labs:
        yield _Labs(labs)


@pytest.fixture
def lab(request: pytest.FixtureRequest, _vnetlab_labs: _Labs) -> Lab:
    """Return the lab of `@pytest.mark.topology`, up; the tests of one module share it."""
    marker = request.node.get_closest_marker("topology")
    if marker is None or len(marker.args) != 1:
        raise pytest.UsageError(
            f'{request.node.nodeid}: the fixture lab needs @pytest.mark.topology("topology.yaml")'
        )
    source = marker.args[0]
    if isinstance(source, (str, os.PathLike)):
        source = _topology(_resolve(source, request.node))
    return _vnetlab_labs.get(source)


class _Labs:
    """The labs of one test module, by what they are made of."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._labs: list[tuple[Topology, Lab]] = []

    def get(self, topology: Topology) -> Lab:
        from vnetlab.lab import Lab

        for known, lab in self._labs:
            if known == topology:
                return lab
        lab = self._stack.enter_context(Lab(topology, _lab_name(topology)))
        self._labs.append((topology, lab))
        return lab


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the verdict's paragraph to the report of a test that failed with its own assertion."""
    report = yield
    if report.failed and report.when == "call" and _verdict_key in item.stash:
        from vnetlab.report.paragraph import paragraph

        text = paragraph(item.stash[_verdict_key])
        if text not in str(report.longrepr):
            report.sections.append(("vnetlab verdict", text))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was not probed, and why, even where the run asks for no summary of skips."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", ()):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if UNAVAILABLE in text:
            reason = text.partition(f"{UNAVAILABLE}: ")[2]
            reasons[reason] = reasons.get(reason, 0) + 1
    if reasons:
        terminalreporter.section("vnetlab: guarantees that were not probed here")
        for reason, count in reasons.items():
            terminalreporter.write_line(f"{count} x {reason}")


def _fly(path: Path) -> dict[Guarantee, Verdict]:
    from vnetlab.lab import Lab

    topology = _topology(path)
    with Lab(topology, _lab_name(topology)) as lab:
        return {verdict.guarantee: verdict for verdict in lab.probe()}


def _lab_name(topology: Topology) -> str:
    """Return a lab name that nothing else uses: no other process, worker, module or flight."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    stem = re.sub(r"[^A-Za-z0-9_]", "_", topology.name)[:40]
    return f"pytest.{stem}.{worker}.{os.getpid()}.{next(_numbers)}"


def _resolve(path: str | os.PathLike[str], node: pytest.Item | pytest.Function) -> Path:
    beside = node.path.parent / path
    return beside if beside.exists() else node.config.rootpath / path


def _topology(path: Path) -> Topology:
    from vnetlab.topology.model import Topology

    return Topology.load(path)
