"""Labs at random: four answers that agree.

What the topology promises, what the model says of the compiled State and of the one read back from the
kernel, and what packets do; and the rules that flows meet in the model are those that the kernel counted.

What earlier labs found is kept in tests/regressions/, each as small as it could be made.

VNETLAB_LABS sets how many labs are tried (200 unless set), VNETLAB_SEED which.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from many_labs import Ground, disagreements, random_documents

from vnetlab import Topology

if TYPE_CHECKING:
    from random_labs import Document

LABS = int(os.environ.get("VNETLAB_LABS", "200"))
SEED = int(os.environ.get("VNETLAB_SEED", "20261124"))
AT_ONCE = 10
FOUND = sorted((Path(__file__).parents[1] / "regressions").glob("*.yaml"))


@cache
def labs() -> list[Document]:
    return random_documents(LABS, SEED)


@pytest.mark.kernel
@pytest.mark.spread
@pytest.mark.parametrize("first", range(0, LABS, AT_ONCE))
def test_four_answers_agree(first: int) -> None:
    wrong = []
    with Ground() as ground:
        for document in labs()[first : first + AT_ONCE]:
            found = disagreements(ground.examine(Topology.of(**document)))
            if found:
                wrong.append("\n\n".join([json.dumps(document), *found[:5]]))
    assert not wrong, "\n\n\n".join(wrong)


@pytest.mark.kernel
@pytest.mark.parametrize("file", FOUND, ids=lambda path: path.stem)
def test_what_was_found_before(file: Path) -> None:
    with Ground() as ground:
        findings = ground.examine(Topology.load(file))
    assert findings.verdicts
    assert disagreements(findings) == []


@pytest.mark.kernel
@pytest.mark.spread
def test_built_twice_is_built_alike() -> None:
    """A law: what one file makes does not depend on when, or on what stood there before."""
    with Ground() as ground:
        for document in labs()[:AT_ONCE]:
            topology = Topology.of(**document)
            assert ground.build(topology) == ground.build(topology)
