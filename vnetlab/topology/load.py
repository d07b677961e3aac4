"""Text to Topology: read, check shape, resolve, validate, route; then raise every problem."""

from __future__ import annotations

import errno
import os
import select
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vnetlab import garbage
from vnetlab.errors import Place, Problem, TopologyError
from vnetlab.topology.complete import with_routes
from vnetlab.topology.local import check_local, with_facts
from vnetlab.topology.report import Report
from vnetlab.topology.resolve import resolve
from vnetlab.topology.shape import document_of
from vnetlab.topology.size import check_size
from vnetlab.topology.validate import validate
from vnetlab.topology.values import clean_name
from vnetlab.topology.yaml_source import MAX_CHARACTERS, read

if TYPE_CHECKING:
    from vnetlab.topology.facts import Facts
    from vnetlab.topology.model import Topology
    from vnetlab.topology.source import Source

MAX_BYTES = 4 * MAX_CHARACTERS
"""No UTF-8 text within the limit of characters is longer."""
PATIENCE = 30
"""Seconds between two parts of a pipe."""
_PART = 1 << 20
_GRAPH_SUFFIXES = {".graphml", ".dot", ".gv"}


def load(path: str | Path) -> Topology:
    """Read a topology file: YAML, or a graph as .graphml, .dot or node-link .json.

    Raises TopologyError with every problem of the file, an unreadable one included, and
    FeatureUnavailable if the format needs a library that is not installed.
    """
    try:
        data = read_bounded(path)
        text = data.decode("utf-8-sig")
    except _UnendingError as error:
        problem = Problem(Place(str(path)), "file", "", str(error), "give the topology as a file")
        raise TopologyError((problem,)) from error
    except OSError as error:
        problem = Problem(Place(str(path)), "file", "", f"cannot be read: {error.strerror}", "check the path")
        raise TopologyError((problem,)) from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        place, byte = Place(str(path), line, column), f"byte 0x{data[error.start]:02x}"
        problem = Problem(place, "file", byte, "is not UTF-8", "save the file as UTF-8")
        raise TopologyError((problem,)) from error
    return parse(text, str(path))


class _UnendingError(Exception):
    """A device or pipe that is no file of a sensible size; the text says why."""


def read_bounded(path: str | Path) -> bytes:
    """Return the bytes of a file, or of a pipe whose other end closes it.

    A pipe that nobody writes to is empty. Raises OSError, and _UnendingError for what has no end, or comes
    too late: `load` says so to the user.
    """
    # Opening a named pipe would wait for somebody to write to it; and a path with a zero byte is none.
    if "\0" in str(path):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return _until_end(descriptor)
    finally:
        os.close(descriptor)


def _until_end(descriptor: int) -> bytes:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    data = bytearray()
    while len(data) <= MAX_BYTES:
        if not poll.poll(PATIENCE * 1000):
            raise _UnendingError(f"nothing came from it for {PATIENCE} s")
        part = os.read(descriptor, _PART)
        if not part:
            return bytes(data)
        data += part
    raise _UnendingError(f"has more than {MAX_BYTES:,} bytes")


def parse(text: str, file: str = "<python>", facts: Facts | None = None) -> Topology:
    """Read a topology from text; the ending of ``file`` says its format, YAML by default.

    Raises TopologyError with every problem of the text, and FeatureUnavailable as `load` does.
    """
    with garbage.paused():
        return replace(_topology(_source(text, file), facts), text=text)


def _source(text: str, file: str) -> Source:
    suffix = Path(file).suffix.lower()
    if suffix in _GRAPH_SUFFIXES:
        from vnetlab.topology.importers import read_graph

        return read_graph(text, file)
    source = read(text, file)
    keys = source.root.entries or {}
    if suffix == ".json" and "nodes" in keys and ("links" in keys or "edges" in keys):
        from vnetlab.topology.importers import read_graph

        return read_graph(text, file)
    return source


def _topology(source: Source, facts: Facts | None) -> Topology:
    report = Report(source)
    if source.broken:
        raise TopologyError(report.problems)
    document = document_of(report)
    if not check_size(document, report):
        raise TopologyError(report.problems)
    check_local(document, report)
    if facts is not None:
        document = with_facts(document, facts, report)
    name = document.name or clean_name(Path(source.file).stem) or "lab"
    resolved = resolve(document, report, name)
    validate(document, resolved, report)
    topology = replace(resolved.topology, file=source.file, facts=facts)
    if not report.problems:
        topology = with_routes(document, topology, report)
    if report.problems:
        raise TopologyError(report.problems)
    return topology
