"""Libraries and programs: there or not, and in which version."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata

from vnetlab.errors import FeatureUnavailable
from vnetlab.health import Area, Check, State
from vnetlab.kernel import nftables

_DEADLINE = 5.0


@dataclass(frozen=True, slots=True)
class Library:
    """A Python distribution, the version it has to have, and what for; some are for one thing only."""

    name: str
    minimum: str
    purpose: str
    needed: bool = True


LIBRARIES = (
    Library("click", "8.1", "the command line"),
    Library("networkx", "3.2", "routes"),
    Library("numpy", "1.26", "probing"),
    Library("pydantic", "2.7", "topology files"),
    Library("pyroute2", "0.9.1", "devices, addresses, routes"),
    Library("PyYAML", "6.0.1", "topology files"),
    Library("rich", "13.7", "reports"),
    Library("scapy", "2.6", "probing"),
    Library("pydot", "3.0", "topologies in DOT", needed=False),
    Library("pytest", "8.0", "the pytest plugin", needed=False),
)
_PYTHON = (3, 11)


def libraries() -> tuple[Check, ...]:
    """Look for every library and for the programs that people use beside them."""
    return (
        python(sys.version_info[:3]),
        *(library(each, _version(each.name)) for each in LIBRARIES),
        _libnftables(),
        _program("nft", "--version", "`apt install nftables`", "rules of a lab can be read by `exec` less well"),
        _program("ip", "-V", "`apt install iproute2`", "`exec NODE -- ip` has nothing to run"),
    )


def python(version: tuple[int, ...]) -> Check:
    """Judge the version of the interpreter."""
    text = ".".join(str(part) for part in version)
    if version >= _PYTHON:
        return Check(Area.LIBRARIES, "Python", State.OK, text)
    return Check(Area.LIBRARIES, "Python", State.MISSING, f"{text}; 3.11 is needed", "install Python 3.11")


def library(wanted: Library, version: str | None) -> Check:
    """Judge a library by the version found; None: it is not installed."""
    if version is not None and _numbers(version) >= _numbers(wanted.minimum):
        return Check(Area.LIBRARIES, wanted.name, State.OK, version)
    state = State.MISSING if wanted.needed else State.ABSENT
    finding = f"not installed; for {wanted.purpose}"
    if version is not None:
        finding = f"{version}; {wanted.purpose} needs {wanted.minimum}"
    remedy = f"`pip install '{wanted.name}>={wanted.minimum}'`"
    return Check(Area.LIBRARIES, wanted.name, state, finding, remedy)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _libnftables() -> Check:
    try:
        nftables.library()
    except FeatureUnavailable as error:
        absent = error.absent[0]
        return Check(Area.LIBRARIES, absent.feature, State.MISSING, absent.evidence, absent.remedy)
    return Check(Area.LIBRARIES, nftables.FEATURE, State.OK, "loaded, with its Python binding")


def _program(name: str, option: str, remedy: str, loss: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(Area.LIBRARIES, name, State.ABSENT, f"not on the PATH: {loss}", remedy)
    try:
        done = subprocess.run(
            [path, option], capture_output=True, text=True, check=False, timeout=_DEADLINE
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Check(Area.LIBRARIES, name, State.ABSENT, f"{path} does not run: {error}", remedy)
    line = (done.stdout.strip() or done.stderr.strip()).partition("\n")[0]
    return Check(Area.LIBRARIES, name, State.OK, line or path)
