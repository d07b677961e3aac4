"""What a topology becomes and what it promises, case by case: read the difference before regenerating it.

VNETLAB_REGENERATE=1 writes the files anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vnetlab import Topology
from vnetlab.compile import compile_topology
from vnetlab.guarantees import Guarantee
from vnetlab.modes import guarantees_for
from vnetlab.plan import SetSysctls, build
from vnetlab.settings import NODE, ROUTER, SWITCH
from vnetlab.state import State, Sysctl

CASES = sorted(path.parent for path in Path(__file__).parent.glob("compile/*/topology.yaml"))


def _plan(state: State) -> str:
    """Return the steps and the rules, without the settings that every namespace gets alike."""
    lines = [step.describe() for step in build(state).steps if not isinstance(step, SetSysctls)]
    for namespace in state.namespaces:
        common = {"segment": SWITCH, "machine": (*NODE, *ROUTER)}.get(namespace.kind, NODE)
        own = [s for s in namespace.sysctls if s not in common]
        lines += [f"{namespace.name}: {_setting(s)}" for s in own]
        for table in namespace.tables:
            lines += ["", f"# {namespace.name}", table.render().rstrip()]
    return "\n".join(lines) + "\n"


def _setting(sysctl: Sysctl) -> str:
    return f"{sysctl.key} = {sysctl.value}"


def _promise(guarantee: Guarantee) -> str:
    flow, seen = guarantee.flow, guarantee.seen
    words = [guarantee.id, guarantee.network or "-", f"{guarantee.source} -> {guarantee.destination}"]
    words += [f"{flow.source_address or 'own'} -> {flow.destination_address}", flow.protocol.value]
    words += [str(flow.destination_port)] if flow.destination_port else []
    words += [flow.special.value] if flow.special else []
    words.append(f": {guarantee.expected.value}")
    words += [f"({guarantee.error_code} from {guarantee.error_from})"] if guarantee.error_code else []
    if seen:
        words.append(f"as {seen.source_address} {seen.source_mac} ttl {seen.ttl}")
    return " ".join([*words, "answered" if guarantee.answered else "unanswered"])


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
@pytest.mark.parametrize("what", ["plan.txt", "guarantees.txt"])
def test_case(case: Path, what: str) -> None:
    topology = Topology.load(case / "topology.yaml")
    if what == "plan.txt":
        text = _plan(compile_topology(topology))
    else:
        text = "".join(f"{_promise(g)}\n" for g in guarantees_for(topology))
    file = case / what
    if os.environ.get("VNETLAB_REGENERATE"):
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_the_same_file_gives_the_same_state(case: Path) -> None:
    first, second = (compile_topology(Topology.load(case / "topology.yaml")) for _ in range(2))
    assert first == second
