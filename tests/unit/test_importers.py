"""Graphs as topologies: GraphML, node-link JSON and DOT mean the same."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import networkx
import pytest

from vnetlab.errors import FeatureUnavailable, TopologyError
from vnetlab.topology.load import parse
from vnetlab.topology.values import MAX_NAME

if TYPE_CHECKING:
    from vnetlab.topology.model import Topology

GRAPHML = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<graph edgedefault="undirected"><node id="a"/><node id="b"/><node id="c"/>
<edge source="a" target="b"/><edge source="b" target="c"/></graph></graphml>"""
DOT = "graph g { a; b; c; a -- b; b -- c }"
LINKS = {
    "nodes": [{"id": "a"}, {"id": "b"}, {"id": "c"}],
    "links": [{"source": "a", "target": "b"}, {"source": "b", "target": "c"}],
}


def same(topology: Topology) -> tuple[object, ...]:
    return (
        {s.name: s.subnets for s in topology.segments.values()},
        {m.name: (m.nics, m.routes, m.router) for m in topology.machines.values()},
    )


def test_formats_mean_the_same() -> None:
    pytest.importorskip("pydot")
    edges = {"nodes": LINKS["nodes"], "edges": LINKS["links"]}
    graphs = [
        parse(GRAPHML, "g.graphml"),
        parse(DOT, "g.dot"),
        parse(DOT, "g.gv"),
        parse(json.dumps(LINKS), "g.json"),
        parse(json.dumps(edges), "g.json"),
    ]
    assert all(same(graph) == same(graphs[0]) for graph in graphs)


def test_a_line_of_routers() -> None:
    topology = parse(GRAPHML, "line.graphml")
    assert topology.name == "line"
    assert {s.name: [str(p) for p in s.subnets] for s in topology.segments.values()} == {
        "a--b": ["100.64.0.0/29", "fd00::/64"],
        "b--c": ["100.64.0.8/29", "fd00:0:0:1::/64"],
    }
    assert [nic.lan.name for nic in topology.machines["b"].nics] == ["a--b", "b--c"]
    assert all(machine.router for machine in topology.machines.values())
    (route,) = (r for r in topology.machines["a"].routes if r.prefix.version == 4)
    assert str(route.prefix) == "100.64.0.8/29"
    assert route.via in [a.ip for a in topology.machines["b"].nics[0].addresses]
    assert topology.machines["b"].routes == ()


def test_ways_of_a_larger_graph_arrive_and_are_shortest() -> None:
    graph: networkx.Graph[Any] = networkx.petersen_graph()
    text = "\n".join(networkx.generate_graphml(graph))
    topology = parse(text, "petersen.graphml")
    owners = {a.ip: m.name for m in topology.machines.values() for n in m.nics for a in n.addresses}
    for segment in topology.segments.values():
        ends = segment.name.split("--")
        for prefix in segment.subnets:
            for machine in topology.machines:
                hops, at = 0, machine
                while at not in ends:
                    (route,) = (r for r in topology.machines[at].routes if r.prefix == prefix)
                    at, hops = owners[route.via], hops + 1
                    assert hops < 10
                near = min(networkx.shortest_path_length(graph, int(machine), int(e)) for e in ends)
                assert hops == near


def test_order_of_edges_does_not_matter() -> None:
    turned = LINKS | {"links": list(reversed(LINKS["links"]))}
    assert same(parse(json.dumps(turned), "g.json")) == same(parse(json.dumps(LINKS), "g.json"))


def test_parallel_edges_are_separate_segments() -> None:
    twice = LINKS | {"links": LINKS["links"] * 2, "multigraph": True}
    topology = parse(json.dumps(twice), "g.json")
    assert list(topology.segments) == ["a--b", "a--b-2", "b--c", "b--c-2"]


def test_there_and_back_is_one_link() -> None:
    back = [{"source": link["target"], "target": link["source"]} for link in LINKS["links"]]
    both = LINKS | {"links": LINKS["links"] + back, "directed": True}
    assert same(parse(json.dumps(both), "g.json")) == same(parse(json.dumps(LINKS), "g.json"))


def test_names_are_cleaned() -> None:
    graph = {"nodes": [{"id": "São Paulo"}, {"id": 7}], "links": [{"source": "São Paulo", "target": 7}]}
    topology = parse(json.dumps(graph), "g.json")
    assert list(topology.machines) == ["S-o-Paulo", "7"]
    assert list(topology.segments) == ["7--S-o-Paulo"]


def test_long_names_stay_distinct() -> None:
    a, b, c = ("x" * (MAX_NAME - 2) + end for end in "abc")
    graph = {
        "nodes": [{"id": name} for name in (a, b, c)],
        "links": [{"source": a, "target": b}, {"source": a, "target": c}],
    }
    segments = parse(json.dumps(graph), "g.json").segments
    assert len(segments) == 2
    assert all(len(name) <= MAX_NAME for name in segments)


def test_dot_names_in_quotes_and_syntax_errors(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pydot")
    assert list(parse('graph { "a b" -- c }', "g.dot").machines) == ["a-b", "c"]
    with pytest.raises(TopologyError, match="is not DOT"):
        parse("graph { a -- ", "g.dot")
    assert capsys.readouterr().out == ""


def test_dot_without_pydot_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydot", None)
    with pytest.raises(FeatureUnavailable, match=r"pip install 'vnetlab\[dot\]'"):
        parse(DOT, "g.dot")


def test_the_text_loads_again() -> None:
    topology = parse(GRAPHML, "g.graphml")
    assert parse(topology.text, topology.file) == topology
