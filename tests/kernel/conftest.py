"""Checks after every session that the machine is as it was, and finds an ordinary user to test as."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import uuid
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from machine import MARK, left_behind, state_of_machine

from vnetlab.kernel.holder import Holder

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def session_mark() -> str:
    """Mark the environment, so that every process that the tests start can be told from others'."""
    os.environ[MARK] = uuid.uuid4().hex
    return os.environ[MARK]


@pytest.fixture(scope="session", autouse=True)
def nothing_leaks(session_mark: str) -> Iterator[None]:
    before = state_of_machine()
    yield
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
    if os.geteuid():
        return [sys.executable]
    user = next((u for u in pwd.getpwall() if 1000 <= u.pw_uid < 60000), pwd.getpwnam("nobody"))
    drop = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "env"]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    drop += [f"PYTHONPATH={path}", "PYTHONDONTWRITEBYTECODE=1"]
    for python in (sys.executable, "/usr/bin/python3"):
        tried = subprocess.run([*drop, python, "-c", "import pyroute2, vnetlab"], check=False)
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
