"""Checks after every session that the machine is as it was, and finds an ordinary user to test as."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import time
import uuid
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vnetlab.kernel.holder import Holder

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "VNETLAB_TEST_SESSION"
PATIENCE = 3.0


@pytest.fixture(scope="session", autouse=True)
def session_mark() -> str:
    """Mark the environment, so that every process that the tests start can be told from others'."""
    os.environ[MARK] = uuid.uuid4().hex
    return os.environ[MARK]


@pytest.fixture(scope="session", autouse=True)
def nothing_leaks(session_mark: str) -> Iterator[None]:
    before = _machine()
    yield
    assert left_behind(session_mark) == []
    assert _machine() == before


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


def left_behind(mark: str) -> list[str]:
    """Return the marked processes that still run after a while, but for this one and its parents."""
    deadline = time.monotonic() + PATIENCE
    while (found := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _marked(mark: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if f"{MARK}={mark}".encode() in environment and int(process.name) != os.getpid():
            found.append(f"{process.name} {command}")
    return found


def _machine() -> tuple[str, ...]:
    """Return what of this machine a lab could have changed."""
    links = sorted(line.split(":")[0].strip() for line in _lines("/proc/net/dev"))
    mounts = sorted(_lines("/proc/self/mountinfo"))
    named = sorted(path.name for path in Path("/run/netns").glob("*"))
    rules = ""
    if os.geteuid() == 0 and shutil.which("nft"):
        listing = ["nft", "list", "ruleset"]
        rules = subprocess.run(listing, capture_output=True, text=True, check=False).stdout
    return (*links, *mounts, *named, rules)


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
