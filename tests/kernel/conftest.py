"""Shares the tests out, checks that the machine stays as it was, and finds an ordinary user to test as.

With ``-n 4 --dist loadgroup`` each file stays in one process, for what its tests share, but for files and
tests marked ``spread``. Those marked ``alone`` look at, or strain, what all labs of the machine have in
common: they have a run of their own, where nothing else runs.
"""

from __future__ import annotations

import gc
import os
import pwd
import subprocess
import sys
import uuid
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from machine import MARK, left_behind, state_of_machine

from vnetlab.kernel import launcher
from vnetlab.kernel.holder import Holder

if TYPE_CHECKING:
    from collections.abc import Iterator


MACHINE: pytest.StashKey[tuple[str, ...]] = pytest.StashKey()


def pytest_configure() -> None:
    """Find `nft` and `ip` where distributions keep them out of the PATH of ordinary users."""
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    gc.set_threshold(100_000)  # much is made here and little of it in cycles: a twentieth of the time


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not any(item.iter_markers("spread")) and item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fail where pytest and pytest-xdist do not get on, and every test is given to anybody."""
    if getattr(session.config.option, "loadgroup", False):
        grouped = [item for item in session.items if any(item.iter_markers("xdist_group"))]
        assert all("@" in item.nodeid for item in grouped), "pytest-xdist does not keep groups together"


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[MACHINE] = state_of_machine()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Compare once all is over: with xdist here too, when the last of its processes has ended."""
    after = state_of_machine()
    before = session.config.stash.get(MACHINE, after)  # `pytest tests` finds this file when it has begun
    if after != before:
        changed = sorted(set(after) ^ set(before))
        sys.stderr.write(f"\nthe machine is not as before the tests: {changed}\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def session_mark() -> str:
    """Mark the environment, so that every process that the tests start can be told from others'."""
    os.environ[MARK] = uuid.uuid4().hex
    return os.environ[MARK]


@pytest.fixture(scope="session", autouse=True)
def nothing_leaks(session_mark: str) -> Iterator[None]:
    """Check what this process left; others, of xdist, have marks of their own."""
    before = state_of_machine()
    yield
    launcher.end()
    assert left_behind(session_mark) == []
    assert state_of_machine() == before


@pytest.fixture
def lab_name(request: pytest.FixtureRequest) -> str:
    return f"test.{os.getpid()}.{zlib.crc32(request.node.nodeid.encode())}"


@pytest.fixture
def holder(lab_name: str) -> Iterator[Holder]:
    with Holder.start(lab_name) as started:
        yield started
        started.end()


@pytest.fixture(scope="session")
def ordinary_user() -> list[str]:
    """Return the start of an argv that runs Python, with its packages, as an ordinary user."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    if os.geteuid():
        return ["env", f"PYTHONPATH={path}", sys.executable]
    user = next((u for u in pwd.getpwall() if 1000 <= u.pw_uid < 60000), pwd.getpwnam("nobody"))
    drop = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "env"]
    drop += [f"PYTHONPATH={path}", "PYTHONDONTWRITEBYTECODE=1"]
    for python in (sys.executable, "/usr/bin/python3"):
        tried = subprocess.run([*drop, python, "-c", "import pydantic, vnetlab"], check=False)
        if tried.returncode == 0:
            return [*drop, python]
    pytest.skip("no Python that an ordinary user may run has the packages")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say at how many kernel calls a fault was tried."""
    lines = [
        f"{value:4} {name}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name.startswith("kernel calls")
    ]
    if lines:
        terminalreporter.section("faults before and after every kernel call")
        for line in lines:
            terminalreporter.write_line(line)
