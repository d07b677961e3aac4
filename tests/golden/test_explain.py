"""The words of `explain`, case by case: read the difference before regenerating it.

A case is a folder: the file, the question as it is typed, and the answer. VNETLAB_REGENERATE=1 writes the
answers anew.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from vnetlab.cli.main import run

CASES = sorted(path.parent for path in Path(__file__).parent.glob("explain/*/topology.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_case(case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(case)
    words = shlex.split((case / "command.txt").read_text())
    assert words[:2] == ["vnetlab", "explain"]
    code = run(words[1:])
    shown = capsys.readouterr()
    assert shown.err == ""
    text = f"{shown.out}exit code {code}\n"
    file = case / "explanation.txt"
    if os.environ.get("VNETLAB_REGENERATE"):
        file.write_text(text)
    assert text == file.read_text()


def test_there_are_cases() -> None:
    assert len(CASES) >= 14
