"""Plain graphs as topologies: each node a router, each edge a segment of its own.

Reads GraphML, DOT and node-link JSON (what networkx users exchange), and hands on what a topology
file of the same meaning would have said.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections import Counter
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from vnetlab.errors import Absent, FeatureUnavailable, Place, Problem
from vnetlab.topology.source import Node, Source, tree
from vnetlab.topology.values import MAX_NAME, clean_name
from vnetlab.topology.yaml_source import MAX_CHARACTERS, read, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import networkx

LINKS_IPV4: Final = IPv4Network("100.64.0.0/10")
"""Shared address space (RFC 6598), cut into a /29 for each edge."""
LINKS_IPV6: Final = IPv6Network("fd00::/48")
"""Unique local (RFC 4193), cut into a /64 for each edge."""
MAX_EDGES: Final = 2**16
MAX_DOT_CHARACTERS: Final = 100_000
"""Its parser takes a millisecond for a statement."""
_IPV4_STEP: Final = 2**3
_IPV6_STEP: Final = 2**64
_DIGEST: Final = 12


class _Edge(Struct, frozen=True):
    source: str
    target: str
    place: Place


class _Graph(Struct, frozen=True):
    """What a graph file says: identifiers as written."""

    directed: bool
    nodes: tuple[tuple[str, Place], ...]
    edges: tuple[_Edge, ...]


class _NoGraph(Exception):
    """The text is no graph; carries the problem."""

    def __init__(self, place: Place, value: str, wrong: str, remedy: str) -> None:
        self.problem = Problem(place, "graph", shorten(value), wrong, remedy)
        super().__init__(str(self.problem))


def read_graph(text: str, file: str) -> Source:
    """Return the source of the topology that a graph stands for.

    Raises FeatureUnavailable for DOT without pydot. What is wrong with the graph is in
    ``problems``.
    """
    readers = {".graphml": _read_graphml, ".json": _read_node_link}
    reader = readers.get(Path(file).suffix.lower(), _read_dot)
    try:
        if len(text) > MAX_CHARACTERS:
            wrong = f"a graph file has at most {MAX_CHARACTERS:,} characters"
            raise _NoGraph(Place(file), f"{len(text):,} characters", wrong, "split the graph")
        graph = reader(text, file)
    except _NoGraph as error:
        return Source(file, Node(Place(file)), (error.problem,), broken=True)
    names, problems = _names(graph, file)
    problems += _edge_problems(graph)
    if problems:
        return Source(file, Node(Place(file)), tuple(problems), broken=True)
    return Source(file, tree(_document(graph, names), Place(file)))


def _document(graph: _Graph, names: dict[str, str]) -> object:
    """Return the topology file, as plain data, that says the same as the graph."""
    pairs = sorted(_pairs(graph, names))
    segments: dict[str, dict[str, list[str]]] = {}
    machines: dict[str, list[str]] = {names[node]: [] for node, _ in graph.nodes}
    for index, (source, target) in enumerate(pairs):
        name = _segment_name(source, target, segments)
        segments[name] = {"subnets": _subnets(index)}
        machines[source].append(name)
        machines[target].append(name)
    routers = {name: {"segments": attached, "router": True} for name, attached in machines.items()}
    return {"segments": segments, "machines": routers}


def _pairs(graph: _Graph, names: dict[str, str]) -> Iterable[tuple[str, str]]:
    """Return the links; in a directed graph the edges there and back are one and the same."""
    counts = Counter((names[edge.source], names[edge.target]) for edge in graph.edges)
    merged: Counter[tuple[str, str]] = Counter()
    for (source, target), count in counts.items():
        pair = (min(source, target), max(source, target))
        back = counts[target, source]
        merged[pair] = max(count, back) if graph.directed else count + back
    return merged.elements()


def _segment_name(source: str, target: str, taken: Iterable[str]) -> str:
    name = f"{source}--{target}"
    if len(name) > MAX_NAME - _DIGEST:
        digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
        name = f"{name[: MAX_NAME - 2 * _DIGEST]}-{digest}"
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}-{count}"
    return unique


def _subnets(index: int) -> list[str]:
    ipv4 = IPv4Address(int(LINKS_IPV4.network_address) + index * _IPV4_STEP)
    ipv6 = IPv6Address(int(LINKS_IPV6.network_address) + index * _IPV6_STEP)
    return [f"{ipv4}/29", f"{ipv6}/64"]


def _names(graph: _Graph, file: str) -> tuple[dict[str, str], list[Problem]]:
    """Return a valid name for each node, and what prevents one."""
    names: dict[str, str] = {}
    owners: dict[str, str] = {}
    problems: list[Problem] = []
    for node, place in graph.nodes:
        name = clean_name(node)
        fault = None
        if not name:
            fault = ("no name can be made of it", "use letters and digits in the node's id")
        elif name in owners:
            fault = (
                f"becomes {name}, as node {shorten(owners[name])} does",
                "rename one of the two",
            )
        if fault:
            problems.append(Problem(place, "graph.nodes", shorten(repr(node)), *fault))
        owners.setdefault(name, node)
        names[node] = name
    if not graph.nodes:
        problems.append(Problem(Place(file), "graph", "", "has no nodes", "add nodes and edges"))
    return names, problems


def _edge_problems(graph: _Graph) -> list[Problem]:
    problems: list[Problem] = []
    known = {node for node, _ in graph.nodes}
    linked: set[str] = set()
    for edge in graph.edges:
        written = shorten(f"{edge.source} - {edge.target}")
        for end in (edge.source, edge.target):
            if end not in known:
                wrong, remedy = f"there is no node {end}", "add it to the nodes"
                problems.append(Problem(edge.place, "graph.edges", written, wrong, remedy))
        if edge.source == edge.target:
            wrong, remedy = "a link from a node to itself is no network", "remove the edge"
            problems.append(Problem(edge.place, "graph.edges", written, wrong, remedy))
        linked |= {edge.source, edge.target}
    for node, place in graph.nodes:
        if node not in linked:
            wrong, remedy = (
                "has no edge, so nothing can reach it",
                "add an edge, or remove the node",
            )
            problems.append(Problem(place, "graph.nodes", shorten(node), wrong, remedy))
    if len(graph.edges) > MAX_EDGES:
        wrong = f"has {len(graph.edges):,} edges, and there are subnets for {MAX_EDGES:,}"
        problems.append(Problem(graph.edges[0].place, "graph", "", wrong, "split the graph"))
    return problems


def _read_graphml(text: str, file: str) -> _Graph:
    """Read GraphML. Document types are refused: entities make a huge file of a small one."""
    if "<!DOCTYPE" in text:
        line = text[: text.index("<!DOCTYPE")].count("\n") + 1
        wrong = "document types have no meaning in GraphML"
        raise _NoGraph(Place(file, line, 1), "<!DOCTYPE", wrong, "remove it")
    from xml.etree.ElementTree import ParseError

    import networkx

    try:
        found = networkx.read_graphml(io.BytesIO(text.encode()))
    except ParseError as error:
        line, column = error.position
        remedy = "repair the XML here or just above"
        raise _NoGraph(
            Place(file, line, column + 1), "", f"is not XML: {str(error).partition(':')[0]}", remedy
        ) from error
    except (networkx.NetworkXException, LookupError, ValueError, TypeError) as error:
        remedy = "compare with http://graphml.graphdrawing.org/primer/graphml-primer.html"
        raise _NoGraph(Place(file), "", f"is not GraphML: {error}", remedy) from error
    return _from_networkx(found, file)


def _read_dot(text: str, file: str) -> _Graph:
    try:
        import pydot
    except ImportError as error:
        remedy = "pip install 'vnetlab[dot]'"
        raise FeatureUnavailable((Absent("DOT files", str(error), remedy),)) from error
    import networkx

    if len(text) > MAX_DOT_CHARACTERS:
        wrong = f"a DOT file has at most {MAX_DOT_CHARACTERS:,} characters"
        raise _NoGraph(
            Place(file), f"{len(text):,} characters", wrong, "write it as GraphML or node-link JSON"
        )
    # pydot prints the syntax error that it met, and returns nothing
    with contextlib.redirect_stdout(io.StringIO()) as said:
        graphs = _parsed_dot(pydot, text, file)
    if not graphs:
        lines = [line.strip() for line in said.getvalue().splitlines() if line.strip(" ^")]
        wrong = f"is not DOT: {lines[-1] if lines else 'nothing could be read'}"
        raise _NoGraph(Place(file), "", wrong, "compare with graphviz.org/doc/info/lang.html")
    return _from_networkx(networkx.nx_pydot.from_pydot(graphs[0]), file)


def _parsed_dot(pydot: Any, text: str, file: str) -> Any:
    try:
        return pydot.graph_from_dot_data(text)
    except RecursionError as error:
        wrong, remedy = "is nested too deeply", "write its nodes and edges side by side"
        raise _NoGraph(Place(file), "", wrong, remedy) from error


def _from_networkx(graph: networkx.Graph[Any], file: str) -> _Graph:
    place = Place(file)
    return _Graph(
        directed=graph.is_directed(),
        nodes=tuple((_identifier(node), place) for node in graph.nodes),
        edges=tuple(_Edge(_identifier(s), _identifier(t), place) for s, t in graph.edges()),
    )


def _identifier(node: object) -> str:
    """Return a node's identifier without the quotes and port of DOT."""
    return str(node).strip('"')


def _read_node_link(text: str, file: str) -> _Graph:
    """Read node-link JSON as networkx writes it: ``links``, or ``edges`` since 3.4."""
    source = read(text, file)
    if source.broken or source.problems:
        problem = source.problems[0]
        raise _NoGraph(problem.place, problem.value, problem.wrong, problem.remedy)
    entries = source.root.entries or {}
    links = entries.get("links") or entries["edges"]
    directed = "directed" in entries and entries["directed"].value.scalar is True
    nodes = tuple((_member(item, "id"), item.place) for item in _items(entries["nodes"].value))
    edges = tuple(
        _Edge(_member(item, "source"), _member(item, "target"), item.place) for item in _items(links.value)
    )
    return _Graph(directed, nodes, edges)


def _items(node: Node) -> Sequence[Node]:
    if node.items is None:
        raise _NoGraph(node.place, node.written, "is not a list", "write [..., ...]")
    return node.items


def _member(node: Node, key: str) -> str:
    entry = (node.entries or {}).get(key)
    if entry is None or entry.value.is_collection:
        remedy = f'write {{"{key}": ...}} with a name or number'
        raise _NoGraph(node.place, node.written, f"has no `{key}`", remedy)
    return entry.value.written
