"""Every message that a wrong topology can earn: a folder has the file and all of its problems.

``VNETLAB_REGENERATE=1`` writes the messages anew; read the difference before keeping it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vnetlab.errors import TopologyError
from vnetlab.topology.load import parse

CASES = sorted(path for path in (Path(__file__).parent / "errors").iterdir() if path.is_dir())


def test_there_are_cases() -> None:
    assert len(CASES) >= 45


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_messages(case: Path) -> None:
    (source,) = case.glob("topology.*")
    with pytest.raises(TopologyError) as caught:
        parse(source.read_text(), source.name)
    messages = f"{caught.value}\n"
    golden = case / "errors.txt"
    if os.environ.get("VNETLAB_REGENERATE"):
        golden.write_text(messages)
    assert messages == golden.read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_problem_is_whole(case: Path) -> None:
    (source,) = case.glob("topology.*")
    with pytest.raises(TopologyError) as caught:
        parse(source.read_text(), source.name)
    for problem in caught.value.problems:
        assert problem.thing
        assert problem.wrong
        assert problem.remedy
        assert problem.place.file == source.name
