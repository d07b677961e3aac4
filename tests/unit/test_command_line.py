"""The command line without a kernel: help, usage, and how errors become exit codes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from vnetlab.cli import main as cli
from vnetlab.cli.border import Border, Terminated
from vnetlab.cli.cmd_probe import is_file
from vnetlab.errors import (
    Absent,
    FeatureUnavailable,
    KernelError,
    LabNotFound,
    Place,
    Problem,
    TopologyError,
)

HEAVY = ("pydantic", "networkx", "numpy", "rich", "scapy", "yaml", "asyncio")


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example" in out
    assert f"\n    vnetlab {name}" in out


def test_help_lists_every_command_and_loads_nothing_heavy() -> None:
    done = python(
        "import sys\n"
        "from vnetlab.cli.main import run\n"
        "code = run(['--help'])\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)\n"
        "sys.exit(code)"
    )
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"
    assert all(f"\n  {name} " in done.stdout for name in cli.COMMANDS)


def test_the_pytest_plugin_loads_nothing_heavy() -> None:
    done = python(
        "import sys, vnetlab.pytest_plugin\n"
        f"sys.exit(str([m for m in {HEAVY!r} if m in sys.modules] or '') or 0)"
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["plan"],
        ["down", "one", "--all"],
        ["up", "--nonsense"],
        ["exec", "web"],
        ["exec"],
    ],
)
def test_usage_errors_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Usage:" in captured.err


@pytest.mark.parametrize("option", ["--junit", "--svg"])
def test_a_file_that_cannot_be_written_is_refused_at_once(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["test", "no-such.yaml", option, "/no/such/directory/x"]) == 2
    assert "no such directory" in capsys.readouterr().err


def test_a_missing_topology_file_is_the_users_move(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("plan", "up", "test"):
        assert cli.run([name, "no-such.yaml"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "no-such.yaml" in captured.err
        assert "Traceback" not in captured.err


PROBLEM = Problem(Place("x.yaml", 3, 7), "hosts.hv1", "hv1", "is wrong", "write it right")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TopologyError((PROBLEM,)), 2),
        (LabNotFound("no lab is up"), 2),
        (click.UsageError("no such option"), 2),
        (FeatureUnavailable((Absent("tap", "ENOENT", "load tun"),)), 3),
        (KernelError("EBUSY"), 4),
        (RuntimeError("surprise\nin two lines"), 4),
        (KeyboardInterrupt(), 130),
        (Terminated(signal.SIGTERM), 143),
    ],
)
def test_errors_become_exit_codes_and_no_traceback(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with Border() as border:
        raise error
    assert border.exit_code == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_problems_of_a_file_stand_at_the_beginning_of_their_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Border():
        raise TopologyError((PROBLEM,))
    assert capsys.readouterr().err == "x.yaml:3:7: hosts.hv1: hv1: is wrong; write it right\n"


def test_a_surprise_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Border():
        raise RuntimeError("surprise\nin two lines")
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "vnetlab: RuntimeError: surprise in two lines (VNETLAB_DEBUG=1 shows where)"


def test_debugging_shows_where(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VNETLAB_DEBUG", "1")
    with Border():
        raise RuntimeError("surprise")
    assert "Traceback" in capsys.readouterr().err


def test_a_closed_stdout_is_no_error_of_ours() -> None:
    code = "from vnetlab.cli.main import main; main()"
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" --help | true; exit ${PIPESTATUS[0]}', sys.executable, code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode in (0, 128 + signal.SIGPIPE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_unwind(number: signal.Signals) -> None:
    cleaned: list[str] = []
    # Under nohup(1) a hangup is ignored, here as in the command, and the test would wait for ever.
    inherited = signal.signal(number, signal.SIG_DFL)

    def work(done: Callable[[str], None]) -> None:
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        finally:
            done("cleaned")

    try:
        with Border() as border:
            work(cleaned.append)
    finally:
        signal.signal(number, inherited)
    assert cleaned == ["cleaned"]
    assert border.exit_code == 128 + number


def test_a_signal_while_a_class_is_made_is_a_signal() -> None:
    class Interrupted:
        def __set_name__(self, owner: type, name: str) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()

    inherited = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with Border() as border:
            type("Made", (), {"late": Interrupted()})
    finally:
        signal.signal(signal.SIGTERM, inherited)
    assert border.exit_code == 128 + signal.SIGTERM


class Finalized:
    """Its finalizer is where a signal arrives."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.sigtimedwait([], 0.01)


def finalize_and_wait() -> None:
    Finalized()
    signal.pause()


@pytest.mark.parametrize("work", [Finalized, finalize_and_wait])
def test_a_signal_in_a_finalizer_is_not_lost(
    work: Callable[[], object], capsys: pytest.CaptureFixture[str]
) -> None:
    inherited = [signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGALRM)]
    try:
        with Border() as border:
            work()
        assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGALRM), inherited, strict=True):
            signal.signal(number, handler)
    assert border.exit_code == 128 + signal.SIGTERM
    assert capsys.readouterr().err == ""


def test_files_are_told_from_labs() -> None:
    assert is_file("topologies/nat.yaml")
    assert is_file("nat.yaml")
    assert is_file("./lab")
    assert not is_file("nat")
