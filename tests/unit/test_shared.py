"""One question about many things, half of it asked by another process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from vnetlab.errors import KernelError, NodeNotFound
from vnetlab.kernel import shared

MANY = range(shared.WORTHWHILE + 1)


@pytest.fixture(autouse=True)
def _two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


def who(item: int) -> tuple[int, int]:
    return item, os.getpid()


def children() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def test_answers_come_in_the_order_of_the_questions() -> None:
    found = shared.answers(who, MANY)
    assert [item for item, _ in found] == [*MANY]
    assert len({process for _, process in found}) == 2


def test_few_are_asked_here() -> None:
    assert {process for _, process in shared.answers(who, range(10))} == {os.getpid()}


def test_one_processor_asks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert {process for _, process in shared.answers(who, MANY)} == {os.getpid()}


@pytest.mark.parametrize("bad", [4, 5])
def test_an_error_is_raised_here_whoever_met_it(bad: int) -> None:
    def ask(item: int) -> int:
        if item == bad:
            raise NodeNotFound("nobody")
        return item

    before = children()
    with pytest.raises(NodeNotFound, match="nobody"):
        shared.answers(ask, MANY)
    assert children() == before


def test_a_process_that_is_killed_is_missed() -> None:
    own = os.getpid()

    def ask(item: int) -> int:
        if os.getpid() != own:
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    before = children()
    with pytest.raises(KernelError, match="ended without a word"):
        shared.answers(ask, MANY)
    assert children() == before
