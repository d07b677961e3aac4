"""Text to Topology: read, check shape, resolve, validate, route; then raise every problem."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vnetlab.errors import Place, Problem, TopologyError
from vnetlab.topology.complete import with_routes
from vnetlab.topology.report import Report
from vnetlab.topology.resolve import resolve
from vnetlab.topology.shape import document_of
from vnetlab.topology.validate import validate
from vnetlab.topology.values import clean_name
from vnetlab.topology.yaml_source import read

if TYPE_CHECKING:
    from vnetlab.topology.model import Topology
    from vnetlab.topology.source import Source

_GRAPH_SUFFIXES = {".graphml", ".dot", ".gv"}


def load(path: str | Path) -> Topology:
    """Read a topology file: YAML, or a graph as .graphml, .dot or node-link .json.

    Raises TopologyError with every problem of the file, an unreadable one included, and
    FeatureUnavailable if the format needs a library that is not installed.
    """
    try:
        data = Path(path).read_bytes()
        text = data.decode("utf-8-sig")
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


def parse(text: str, file: str = "<python>") -> Topology:
    """Read a topology from text; the ending of ``file`` says its format, YAML by default.

    Raises TopologyError with every problem of the text, and FeatureUnavailable as `load` does.
    """
    return replace(_topology(_source(text, file)), text=text)


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


def _topology(source: Source) -> Topology:
    report = Report(source)
    if source.broken:
        raise TopologyError(report.problems)
    document = document_of(report)
    name = document.name or clean_name(Path(source.file).stem) or "lab"
    resolved = resolve(document, report, name)
    validate(document, resolved, report)
    topology = replace(resolved.topology, file=source.file)
    if not report.problems:
        topology = with_routes(document, topology, report)
    if report.problems:
        raise TopologyError(report.problems)
    return topology
