"""Checks that just those tests were skipped which lists expect: ``skips.py [--part] LIST... -- REPORT...``.

A list has a line for each test and reason. In part of a run, tests that it left out are not missed. A skip
for want of taps is expected only where whoever runs this may not make any.
"""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import taps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def main(arguments: list[str]) -> int:
    """Compare, tell the differences, and return the exit code."""
    part = arguments[0] == "--part"
    end = arguments.index("--")
    lists, reports = arguments[part:end], arguments[end + 1 :]
    lines = [line for name in lists for line in Path(name).read_text(encoding="utf-8").splitlines()]
    ran, skipped = outcomes(reports)
    expected = sorted(expectations(lines, ran if part else None, may_open_taps=taps.may_open()))
    told = f"{len(ran)} tests ran or were skipped, {len(skipped)} were skipped"
    if expected == sorted(skipped):
        sys.stdout.write(f"{told}, as {' and '.join(lists)} says\n")
        return 0
    differences = difflib.unified_diff(expected, sorted(skipped), "expected", "skipped", lineterm="", n=0)
    sys.stderr.write("\n".join([*differences, f"{told}, which is not what {' and '.join(lists)} says", ""]))
    return 1


def outcomes(reports: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return the tests of JUnit reports, and a line for each that was skipped."""
    ran, skipped = set(), set()
    for case in (case for file in reports for case in ElementTree.parse(file).iter("testcase")):
        # Behind the @ stands which process of the run it belongs to.
        name = re.sub(r"@\w+$", "", f"{case.get('classname')}::{case.get('name')}")
        ran.add(name)
        skipped |= {f"{name}: {skip.get('message')}" for skip in case.iter("skipped")}
    return ran, skipped


def expectations(lines: Iterable[str], ran: set[str] | None, *, may_open_taps: bool) -> Iterator[str]:
    """Return the lines that hold on this machine, of all tests or of those that ran."""
    for line in lines:
        wants_taps = line.endswith(f": {taps.REFUSED}")
        of_run = ran is None or any(line.startswith(f"{name}: ") for name in ran)
        if of_run and not (wants_taps and may_open_taps):
            yield line


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
