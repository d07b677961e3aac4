"""Every command that the documentation shows, run as a reader would: in order, in one place.

They run in a network namespace of their own, where no lab of anybody else is seen: a page may well
say `vnetlab down --all`.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nested
import pytest
import taps

from vnetlab.report.pages import Page, pages

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w+) *([\w.-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETUP_STAMP = ROOT / ".venv" / "setup.stamp"
DEADLINE = 180
ANSWERS = {"vnetlab plan": 10, "vnetlab status --drift": 1}
"""Exit codes of commands that tell of a difference: no failure where a page shows one."""
ISOLATE = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-Ucn"]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is to be written to, and its text."""

    language: str
    file: str
    text: str


def blocks(document: Path) -> tuple[Block, ...]:
    return tuple(Block(*found) for found in FENCE.findall(document.read_text(encoding="utf-8")))


def commands(block: Block) -> Iterator[str]:
    for line in block.text.splitlines():
        if line.startswith("$ "):
            command = line.removeprefix("$ ")
            answers = [str(code) for start, code in ANSWERS.items() if command.startswith(start)]
            yield f"{command} || test $? = {answers[0]}" if answers else command


@pytest.fixture
def reader(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Return a directory as a reader has it, and an environment with `vnetlab` on the PATH."""
    shutil.copytree(ROOT / "topologies", tmp_path / "topologies")
    for file in (tmp_path / "topologies").iterdir():
        file.write_text(taps.as_possible(file.read_text()))
    tools = tmp_path / ".tools"
    tools.mkdir()
    for name in ("vnetlab", "pytest"):
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {name} "$@"\n')
        (tools / name).chmod(0o755)
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return tmp_path, nested.environment() | {"PATH": path}


@pytest.mark.spread
@pytest.mark.parametrize(
    "document",
    [document for document in DOCUMENTS if any(b.language == "console" for b in blocks(document))],
    ids=lambda document: str(document.relative_to(ROOT)),
)
def test_commands_do_what_the_text_says(document: Path, reader: tuple[Path, dict[str, str]]) -> None:
    place, environment = reader
    script = ["trap 'vnetlab down --all' EXIT"]
    for number, block in enumerate(blocks(document)):
        if block.file:
            kept = place / ".tools" / f"block{number}"
            kept.write_text(block.text)
            script.append(f"cp {kept} {block.file}")
        if block.language == "console":
            script += [c for c in commands(block) if not c.startswith("scripts/")]
    done = run([*ISOLATE, "bash", "-euxc", "\n".join(script)], place, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@taps.needed
def test_the_demo_of_the_readme() -> None:
    """The other command that the README gives, `scripts/test`, is what runs this test."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "$ scripts/demo" in readme
    assert "scripts/test" in readme
    if not SETUP_STAMP.exists():
        pytest.skip("scripts/setup has not been run in this checkout; scripts/test runs it first")
    done = run(["scripts/demo"], ROOT, dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.path)
def test_generated_pages_are_current(page: Page) -> None:
    written = (ROOT / "docs" / page.path).read_text(encoding="utf-8")
    assert written == page.text, "run scripts/docs"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def run(argv: list[str], place: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
        stdin=subprocess.DEVNULL,
    )
