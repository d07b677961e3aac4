"""Random labs by the hundred: each as a Lab makes it and examined as a Lab is, without the price of one.

A Lab of its own costs three processes that import the same again, a second in all. Here one process inside
scratch namespaces makes lab after lab, and clears each away before the next.
"""

from __future__ import annotations

import ctypes
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import taps
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from random_labs import Document, documents

from vnetlab import plan
from vnetlab.compile import compile_topology
from vnetlab.examine import Findings, examine
from vnetlab.guarantees import VerdictKind
from vnetlab.kernel import agent, control
from vnetlab.kernel.apply import apply
from vnetlab.kernel.read import nodes_of, read
from vnetlab.kernel.ready import wait_ready
from vnetlab.modes import guarantees_for
from vnetlab.probe import PRELOAD
from vnetlab.report.paragraph import paragraph
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from vnetlab.kernel.spaces import Spaces
    from vnetlab.state import State

_libc = ctypes.CDLL(None, use_errno=True)


def random_documents(count: int, seed: int) -> list[Document]:
    """Return so many topologies, no two alike; the same for the same seed and version of hypothesis."""
    found: dict[str, Document] = {}

    @seeded(seed)
    @settings(
        max_examples=count + count // 50 + 10,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(documents(taps=taps.OPEN))
    def collect(document: Document) -> None:
        found[json.dumps(document, sort_keys=True)] = document

    collect()
    assert len(found) >= count, f"only {len(found)} different topologies"
    return list(found.values())[:count]


class Ground:
    """Scratch namespaces in which labs stand, one at a time."""

    def __init__(self) -> None:
        self._agent = agent.Agent(None, (*agent.PRELOAD, *PRELOAD))

    def __enter__(self) -> Ground:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._agent.close()

    def examine(self, topology: Topology) -> Findings:
        """Make a lab, put all its guarantees to the test, and clear it away."""
        with self._standing(topology) as state:
            return examine(self._agent, topology, state, guarantees_for(topology))

    def build(self, topology: Topology) -> State:
        """Make a lab, and return what is read back of it."""
        with self._standing(topology) as state:
            return self._agent.call(read, nodes_of(state))

    @contextmanager
    def _standing(self, topology: Topology) -> Iterator[State]:
        state = compile_topology(topology)
        try:
            self._agent.call(apply, plan.build(state))
            self._agent.call(wait_ready, state)
            yield state
        finally:
            self._agent.call(clear, None)


def clear(spaces: Spaces, _: None) -> None:
    """Unmount every namespace: with its last mount goes the namespace, and all that is in it."""
    for name in spaces.names():
        mount = Path(spaces._path, control.file_name(name))
        if _libc.umount2(os.fsencode(mount), 0):
            raise OSError(ctypes.get_errno(), "umount2", str(mount))
        mount.unlink()


def disagreements(findings: Findings) -> list[str]:
    """Return in words where the four answers differ, or the model and the counters of the rules."""
    found = []
    for v in findings.verdicts:
        answers = (v.guarantee.expected, v.predicted, v.present, v.observed)
        if v.kind is not VerdictKind.HOLDS:
            found.append(paragraph(v))
        elif len(set(answers)) > 1:
            found.append(f"said to hold, with the answers {answers}: {paragraph(v)}")
    if findings.coverage is not None:
        found += [f"disputed: {item}" for item in findings.coverage.disputed]
    return found
