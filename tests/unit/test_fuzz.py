"""Hostile files and names: a clear error or success, never a traceback, nothing that a terminal obeys.

VNETLAB_FUZZ multiplies the number of examples, for long runs by hand (with `--hypothesis-seed`).
"""

# ruff: noqa: E501
from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_labs import documents

from vnetlab import plan
from vnetlab.cli.main import run
from vnetlab.compile import compile_topology
from vnetlab.errors import FeatureUnavailable, TopologyError, VnetlabError
from vnetlab.modes import guarantees_for
from vnetlab.predict.matrix import predict
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis.strategies import DataObject

TIMES = int(os.environ.get("VNETLAB_FUZZ", "1"))
NO_LIMIT = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

HOSTILE = (
    "; rm -rf /", "$(reboot)", "`id`", "../../etc/passwd", "/", ".", "..", "-rf", "--help", "a\nb", "a\r\nb", '"', "'",
    "a\\", "\x00", "\x1b[2J", "\x1b]0;owned\x07", "\x7f", "\x85", "\u2028", "\u202elab", "p\u0430ypal", "\ufeff",
    "{}", "{0}", "%s", "${HOME}", "[red]x[/red]", "[/]", "a" * 130, "b" * 300, "c" * 5000, "all", "lo", "default",
    "segment:lan", "none", "null", "~", "*", "&a", "@", "drop; }", 'x" accept comment "', "_", "0", "eth0", "h.v-1_",
)  # fmt: skip
SCALARS = (
    "0.0.0.0/0", "::/0", "10.0.0.0/33", "10.0.0.0/8", "255.255.255.255", "fe80::1%eth0", "1e400", ".nan", "-.inf",
    "0x10", "0o17", "1_000", "9" * 60, "-1", "65536", "true", "yes", "2001-01-01", "12:30:45", "<<", "!!python/none",
    "02:00:00:00:00:01", "nat", "bridge", "routed", "isolated", "host-only", "default",
)  # fmt: skip
KEYS = (
    "name", "segments", "hosts", "machines", "expect", "subnets", "mtu", "nics", "networks", "vms", "routes", "backend",
    "mode", "uplink", "forwards", "reach", "port_isolation", "deny", "mac", "address", "addresses", "segment", "to",
    "via", "from", "protocol", "port", "to_port", "outcome", "family", "router", "network",
)  # fmt: skip
FRAGMENTS = (
    *KEYS, *SCALARS, ": ", ":", ", ", "\n", "\n  ", "\n    ", "- ", "{", "}", "[", "]", "&a ", "*a", "? ", "|\n", ">\n",
    '"', "'", "!!int ", "!", "---\n", "...\n", "%YAML 1.2\n", "#", "\t", "\r\n", "\\", "\x00", "\x1b", "\ufeff",
)  # fmt: skip

names = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=20))
scalars = st.one_of(names, st.sampled_from(SCALARS), st.integers(), st.floats(), st.booleans(), st.none())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), names), inner, max_size=4),
    ),
    max_leaves=12,
)
raw_texts = st.one_of(
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=4)), max_size=40).map("".join),
    st.text(max_size=200),
)


def refused_or(text: str, file: str = "fuzz.yaml") -> Topology | None:
    """Parse; a refusal must be one of ours, and fit for a terminal."""
    try:
        return Topology.parse(text, file)
    except (TopologyError, FeatureUnavailable) as error:
        assert_harmless(str(error))
        return None


def assert_harmless(text: str) -> None:
    assert [c for c in text if not c.isprintable() and c != "\n"] == []


def go_all_the_way(topology: Topology) -> None:
    state = compile_topology(topology)
    for step in plan.build(state).steps:
        assert_harmless(step.describe())
    for namespace in state.namespaces:
        for table in namespace.tables:
            assert_harmless(table.render())
            assert all(len(rule.comment.encode()) <= 128 for c in table.chains for rule in c.rules)
    guarantees = guarantees_for(topology)[:60]
    assert len(predict(topology, state, guarantees)) == len(guarantees)


@settings(max_examples=150 * TIMES, deadline=None, suppress_health_check=NO_LIMIT)
@given(raw_texts, st.sampled_from(["f.yaml", "f.json", "f.graphml", "f.dot", "\x1b[31m.yaml"]))
def test_raw_text(text: str, file: str) -> None:
    topology = refused_or(text, file)
    if topology is not None:
        go_all_the_way(topology)


@settings(max_examples=150 * TIMES, deadline=None, suppress_health_check=NO_LIMIT)
@given(values)
def test_well_formed_nonsense(value: Any) -> None:
    topology = refused_or(json.dumps(value))
    if topology is not None:
        go_all_the_way(topology)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, part in inner for found in places(part, (*path, key)))]


def spoil(document: Any, path: tuple[Any, ...], value: Any, as_key: bool) -> Any:
    if not path:
        return value
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    if as_key and isinstance(holder, dict):
        holder[str(value)] = holder.pop(path[-1])
    else:
        holder[path[-1]] = value
    return document


@settings(max_examples=60 * TIMES, deadline=None, suppress_health_check=NO_LIMIT)
@given(st.data(), documents(max_vms=5))
def test_valid_labs_with_something_hostile_in_them(data: DataObject, document: Any) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(document)))
        document = spoil(document, path, data.draw(values), data.draw(st.booleans()))
    topology = refused_or(json.dumps(document))
    if topology is not None:
        go_all_the_way(topology)


def renamed(value: Any, new: dict[str, str]) -> Any:
    """Return the document with every name, as key and as reference, replaced."""
    if isinstance(value, dict):
        return {new.get(key, key): renamed(part, new) for key, part in value.items()}
    if isinstance(value, list):
        return [renamed(part, new) for part in value]
    return new.get(value, value) if isinstance(value, str) else value


def declared(document: Any) -> list[str]:
    hosts = document["hosts"].values()
    return [
        *document["segments"], *document["hosts"], *document["machines"],
        *(name for host in hosts for kind in ("networks", "vms", "nics") for name in host[kind]),
    ]  # fmt: skip


@settings(max_examples=25 * TIMES, deadline=None, suppress_health_check=NO_LIMIT)
@given(st.data(), documents(max_vms=4))
def test_labs_whose_names_are_as_odd_as_allowed(data: DataObject, document: Any) -> None:
    old = sorted(set(declared(document)))
    odd = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,300}[A-Za-z0-9_])", fullmatch=True)
    fresh = data.draw(st.lists(odd, min_size=len(old), max_size=len(old), unique=True))
    topology = refused_or(json.dumps(renamed(document, dict(zip(old, fresh, strict=True)))))
    if topology is not None:
        go_all_the_way(topology)


@settings(max_examples=60 * TIMES, deadline=None, suppress_health_check=NO_LIMIT)
@given(
    st.sampled_from(["plan", "predict", "status", "down", "up", "nonsense"]),
    st.one_of(names, st.binary(max_size=6).map(os.fsdecode)),
    st.sampled_from([(), ("--json",), ("--name", "\x1b[31m"), ("--\x1b[31m",), ("--lab",)]),
    st.one_of(raw_texts.map(str.encode), st.binary(max_size=60)),
)
def test_the_command_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    name: str,
    options: tuple[str, ...],
    data: bytes,
) -> None:
    if command in ("up", "down", "status"):  # these act; a name that is no lab's, and a file that is none
        name = f"no such\x1b[31m\n{name}"
    elif (
        "/" not in name and "\0" not in name and name not in ("", ".", "..") and len(os.fsencode(name)) < 250
    ):
        (tmp_path / name).write_bytes(data)
        name = str(tmp_path / name)
    capsys.readouterr()
    code = run([command, *options, "--", name])
    said = capsys.readouterr()
    assert code in (0, 1, 2)
    assert "Traceback" not in said.err
    assert_harmless(said.out + said.err)
    if code == 0 and "--json" in options:
        json.loads(said.out)


@pytest.mark.parametrize("name", [n for n in HOSTILE if "\0" not in n])
def test_hostile_names_are_refused_or_become_harmless(name: str) -> None:
    text = yaml.safe_dump({"hosts": {"h": {"networks": {name: {"mode": "isolated"}}, "vms": {"v": name}}}})
    topology = refused_or(text)
    if topology is not None:
        go_all_the_way(topology)


def test_errors_of_the_project_are_all_that_a_program_meets() -> None:
    with pytest.raises(VnetlabError):
        Topology.parse("\x1b")
