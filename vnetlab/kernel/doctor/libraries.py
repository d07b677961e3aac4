"""Libraries and programs: there or not, and in which version."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import import_module, metadata
from importlib.util import find_spec

from msgspec import Struct

from vnetlab.errors import FeatureUnavailable
from vnetlab.health import Area, Check, State
from vnetlab.kernel import nftables

_DEADLINE = 5.0


class Library(Struct, frozen=True):
    """A Python distribution, the version it has to have, and what for; some are for one thing only."""

    name: str
    minimum: str
    purpose: str
    needed: bool = True
    module: str = ""
    """What is imported, where it is called otherwise."""


LIBRARIES = (
    Library("click", "8.1", "the command line"),
    Library("msgspec", "0.20", "every command"),
    Library("networkx", "3.2", "routes"),
    Library("numpy", "1.26", "probing"),
    Library("pydantic", "2.7", "topology files"),
    Library("PyYAML", "6.0.1", "topology files", module="yaml"),
    Library("rich", "13.7", "reports"),
    Library("scapy", "2.6", "probing"),
    Library("pydot", "3.0", "topologies in DOT", needed=False),
    Library("pytest", "8.0", "the pytest plugin", needed=False),
)
_PYTHON = (3, 11)
_SLOW = "scapy"
"""It looks at every interface when it is imported."""


def libraries() -> tuple[Check, ...]:
    """Look for every library and for the programs that people use beside them."""
    return (
        python(sys.version_info[:3]),
        *(library(each, _version(each), _failure(each)) for each in LIBRARIES),
        _libnftables(),
        _program(
            "nft", "--version", "`apt install nftables`", "`exec HOST -- nft list ruleset` has nothing to run"
        ),
        _program("ip", "-V", "`apt install iproute2`", "`exec NODE -- ip` has nothing to run"),
    )


def python(version: tuple[int, ...]) -> Check:
    """Judge the version of the interpreter."""
    text = ".".join(str(part) for part in version)
    if version >= _PYTHON:
        return Check(Area.LIBRARIES, "Python", State.OK, text)
    return Check(Area.LIBRARIES, "Python", State.MISSING, f"{text}; 3.11 is needed", "install Python 3.11")


def library(wanted: Library, version: str | None, failure: str = "") -> Check:
    """Judge a library by the version found, None where there is no record of it, and by its import."""
    if version and not failure and _numbers(version) >= _numbers(wanted.minimum):
        return Check(Area.LIBRARIES, wanted.name, State.OK, version)
    state = State.MISSING if wanted.needed else State.ABSENT
    finding = f"not installed; for {wanted.purpose}"
    if failure:
        finding = f"{version or 'not installed'}; {failure}; for {wanted.purpose}"
    elif version:
        finding = f"{version}; {wanted.purpose} needs {wanted.minimum}"
    remedy = f"`pip install '{wanted.name}>={wanted.minimum}'`"
    return Check(Area.LIBRARIES, wanted.name, state, finding, remedy)


def _failure(wanted: Library) -> str:
    """Import the library and return what is wrong with it, empty for nothing."""
    module = wanted.module or wanted.name
    try:
        if module == _SLOW:
            return "" if find_spec(module) else f"No module named '{module}'"
        import_module(module)
    except Exception as error:  # whatever a broken installation raises
        return f"{type(error).__name__}: {error}"
    return ""


def _version(wanted: Library) -> str | None:
    try:
        return metadata.version(wanted.name)
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
        done = subprocess.run([path, option], capture_output=True, text=True, check=False, timeout=_DEADLINE)
    except (OSError, subprocess.SubprocessError) as error:
        return Check(Area.LIBRARIES, name, State.ABSENT, f"{path} does not run: {error}", remedy)
    line = (done.stdout.strip() or done.stderr.strip()).partition("\n")[0]
    return Check(Area.LIBRARIES, name, State.OK, line or path)
