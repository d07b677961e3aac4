"""The check of what was skipped: a list that is wrong either way is told."""

from pathlib import Path

import pytest
import skips
import taps

REPORT = """<testsuites><testsuite>
<testcase classname="a" name="one"/>
<testcase classname="a" name="two@a"><skipped message="no reason"/></testcase>
<testcase classname="a" name="three"><skipped message="{refused}"/></testcase>
</testsuite></testsuites>"""
REASON = "a::two: no reason"
REFUSED = f"a::three: {taps.REFUSED}"


@pytest.fixture
def report(tmp_path: Path) -> str:
    path = tmp_path / "report.xml"
    path.write_text(REPORT.format(refused=taps.REFUSED))
    return str(path)


def check(tmp_path: Path, report: str, *lines: str, part: bool = False) -> int:
    expected = tmp_path / "expected.txt"
    expected.write_text("".join(f"{line}\n" for line in lines))
    return skips.main([*(["--part"] if part else []), str(expected), "--", report])


@pytest.fixture(autouse=True)
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taps, "may_open", lambda: False)


def test_what_is_expected_is_well(tmp_path: Path, report: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, report, REASON, REFUSED) == 0
    assert capsys.readouterr().out.startswith("3 tests ran or were skipped, 2 were skipped, as ")


def test_a_skip_too_many_is_told(tmp_path: Path, report: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, report, REFUSED) == 1
    assert f"+{REASON}\n" in capsys.readouterr().err


def test_a_skip_for_another_reason_is_told(tmp_path: Path, report: str) -> None:
    assert check(tmp_path, report, REASON + " at all", REFUSED) == 1


@pytest.mark.parametrize("stale", ["a::one: ran after all", "a::gone: is no more"])
def test_a_skip_too_few_is_told(
    stale: str, tmp_path: Path, report: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path, report, REASON, REFUSED, stale) == 1
    assert f"-{stale}\n" in capsys.readouterr().err


def test_what_a_part_leaves_out_is_not_missed(tmp_path: Path, report: str) -> None:
    assert check(tmp_path, report, REASON, REFUSED, "b::other: left out", part=True) == 0
    assert check(tmp_path, report, REASON, REFUSED, "a::one: ran after all", part=True) == 1


def test_taps_are_no_excuse_where_they_can_be_made(
    tmp_path: Path, report: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taps, "may_open", lambda: True)
    assert check(tmp_path, report, REASON, REFUSED) == 1


def test_topologies_without_taps() -> None:
    for file in taps.TOPOLOGIES.glob("*.yaml"):
        text = file.read_text()
        assert taps.has_taps(text)
        assert not taps.has_taps(taps.without(text))
