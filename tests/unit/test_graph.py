"""The networkx view and the schema."""

from __future__ import annotations

from typing import Any

import pytest

from vnetlab.topology.graph import as_graph
from vnetlab.topology.load import parse
from vnetlab.topology.schema import json_schema, reference_markdown

TEXT = """
segments: {lan: {subnets: 192.0.2.0/24}}
hosts:
  hv:
    nics: {eth0: lan, eth1: {segment: lan, addresses: []}}
    networks: {office: {mode: bridge, uplink: eth0}, vault: isolated}
    vms: {a: [office, vault]}
machines: {peer: lan, gw: {segment: lan, router: true}}
"""


def test_nodes() -> None:
    graph = as_graph(parse(TEXT))
    kinds = {name: data["kind"] for name, data in graph.nodes(data=True)}
    assert kinds == {
        "segment:lan": "segment",
        "hv": "host",
        "network:hv/office": "network",
        "network:hv/vault": "network",
        "a": "vm",
        "peer": "machine",
        "gw": "router",
    }
    assert graph.nodes["network:hv/vault"]["mode"] == "isolated"


def test_edges() -> None:
    graph = as_graph(parse(TEXT))
    found = sorted((*sorted((u, v)), data["nic"]) for u, v, data in graph.edges(data=True))
    assert found == [
        ("a", "network:hv/office", "eth0"),
        ("a", "network:hv/vault", "eth1"),
        ("gw", "segment:lan", "eth0"),
        ("hv", "network:hv/office", "eth0"),
        ("hv", "network:hv/vault", ""),
        ("hv", "segment:lan", "eth0"),
        ("hv", "segment:lan", "eth1"),
        ("peer", "segment:lan", "eth0"),
    ]


def properties(schema: Any) -> list[tuple[str, dict[str, Any]]]:
    elements = {"top": schema} | schema["$defs"]
    return [
        (f"{element}.{key}", value)
        for element, body in elements.items()
        for key, value in body["properties"].items()
    ]


@pytest.mark.parametrize(("key", "value"), properties(json_schema()))
def test_every_key_is_described(key: str, value: dict[str, Any]) -> None:
    assert value["description"].endswith((".", "default."))


def test_references_of_the_schema_lead_somewhere() -> None:
    schema = json_schema()
    assert set(schema["$defs"]) >= {"Host", "Network", "Vm", "Machine", "Expect"}
    found: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                found.add(value["$ref"])
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(schema)
    assert found
    assert found <= {f"#/$defs/{name}" for name in schema["$defs"]}


def test_the_reference_has_every_key() -> None:
    text = reference_markdown()
    for key, _ in properties(json_schema()):
        assert f"| `{key.partition('.')[2]}` |" in text
    assert "`bridge` or `isolated` or `routed` or `host-only` or `nat`" in text
