"""Lanes: who sends what, in which order, and how far ahead of the kernel."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from vnetlab.probe import counters
from vnetlab.probe.lanes import AT_ONCE, FULL_BACKLOG, WORTHWHILE, Lane, Lanes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from vnetlab.probe.draining import Drain

TWO = len(os.sched_getaffinity(0)) > 1


class Drained:
    """Takes the place of what reads sockets: tells how often it was let."""

    def __init__(self) -> None:
        self.waits = 0

    def wait(self, seconds: float) -> None:
        self.waits += 1


@pytest.fixture
def shared() -> Iterator[Lanes]:
    made = Lanes(range(10), cast("Drain", Drained()))
    yield made
    made.close()


def sent_by(shared: Lanes, parts: Sequence[int], frames: int) -> dict[int, list[int]]:
    """Return the parts in the order in which each thread sent them."""
    found: dict[int, list[int]] = {}

    def send(_: Lane, some: Sequence[int]) -> None:
        found.setdefault(threading.get_ident(), []).extend(some)

    shared.share(send, parts, frames)
    return found


def test_a_few_frames_are_sent_by_who_is_asked(shared: Lanes) -> None:
    assert sent_by(shared, [1, 2, 3], WORTHWHILE - 1) == {threading.get_ident(): [1, 2, 3]}
    assert sent_by(shared, [1], 10 * WORTHWHILE) == {threading.get_ident(): [1]}
    assert sent_by(shared, [], 0) == {threading.get_ident(): []}


@pytest.mark.skipif(not TWO, reason="one processor only")
def test_many_are_sent_by_two_each_in_order(shared: Lanes) -> None:
    found = sent_by(shared, range(11), WORTHWHILE)
    assert sorted(found.values()) == [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9]]
    assert threading.get_ident() not in found


@pytest.mark.skipif(not TWO, reason="one processor only")
def test_each_of_two_stays_on_a_processor_and_nobody_else_does(shared: Lanes) -> None:
    before, found = os.sched_getaffinity(0), []
    shared.share(lambda *_: found.append(frozenset(os.sched_getaffinity(0))), range(2), WORTHWHILE)
    assert {frozenset({each}) for each in sorted(before)[:2]} == set(found)
    assert os.sched_getaffinity(0) == before


def test_one_processor_is_one_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    alone = Lanes(range(10), cast("Drain", Drained()))
    assert sent_by(alone, [1, 2], 10 * WORTHWHILE) == {threading.get_ident(): [1, 2]}
    alone.close()


def test_what_goes_wrong_is_raised(shared: Lanes) -> None:
    def send(*_: Any) -> None:
        raise OSError("no")

    for frames in (0, WORTHWHILE):
        with pytest.raises(OSError, match="no"):
            shared.share(send, range(4), frames)


@pytest.mark.parametrize(("stations", "room"), [(10, FULL_BACKLOG - 10), (FULL_BACKLOG + 1, 0)])
def test_a_broadcast_waits_for_room_for_all_its_copies(
    monkeypatch: pytest.MonkeyPatch, stations: int, room: int
) -> None:
    waiting = [room + 2]

    def backlog(processor: int | None) -> int:
        return waiting[0] if processor == 3 else FULL_BACKLOG

    def wait() -> None:
        waiting[0] -= 1

    monkeypatch.setattr(counters, "backlog", backlog)

    Lane(range(stations), wait, 3).make_room()
    assert waiting == [room]


def test_frames_to_one_are_looked_after_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []

    def backlog(processor: int | None) -> int:
        asked.append(processor)
        return 0

    monkeypatch.setattr(counters, "backlog", backlog)
    lane = Lane(range(10), lambda: None)
    for _ in range(4):
        lane.pace(AT_ONCE // 2)
    assert asked == [None, None]


def test_the_backlog_of_one_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Columns as `softnet_seq_show` writes them: the 12th is how many wait, the 13th whose they are."""
    file = tmp_path / "softnet_stat"
    rows = [[0] * 11 + [waiting, processor, 0, 0] for waiting, processor in ((5, 0), (0x10, 2))]
    file.write_text("".join(" ".join(f"{value:08x}" for value in row) + "\n" for row in rows))
    monkeypatch.setattr(counters, "SOFTNET", file)
    assert [counters.backlog(each) for each in (None, 0, 1, 2)] == [21, 5, 0, 16]
