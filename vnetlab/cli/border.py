"""Where errors become exit codes: nothing that a user does wrong shows a traceback.

Termination signals become an exception too, so that whatever was made is unmade on the way out.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from io import StringIO
from typing import TYPE_CHECKING

import click

from vnetlab.errors import TopologyError, VnetlabError
from vnetlab.visible import visible_lines

if TYPE_CHECKING:
    from types import FrameType, TracebackType

USAGE = 2
OTHER = 4
AGAIN = 0.001  # seconds: by then Python has left whatever could not be interrupted
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
DEBUG_VARIABLE = "VNETLAB_DEBUG"


class Terminated(BaseException):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


class Border:
    """A context that ends every exception: one complaint on stderr, and an exit code."""

    def __init__(self) -> None:
        self.exit_code = 0
        self._handlers = {number: signal.getsignal(number) for number in SIGNALS}
        self._unraisable = sys.unraisablehook
        self._lost: Terminated | None = None

    def __enter__(self) -> Border:
        for number, handler in self._handlers.items():
            # One that is ignored, as nohup does, stays ignored. Python's own handler of SIGINT raises
            # KeyboardInterrupt, after which Python may kill itself by SIGINT rather than exit with our code.
            if handler in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, _terminate)
        sys.unraisablehook = self._not_raised
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        lost, self._lost = self._lost, None
        sys.unraisablehook = self._unraisable
        if lost:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        error = error or lost
        if error is None:
            return False
        if os.environ.get(DEBUG_VARIABLE) == "1":
            traceback.print_exception(error)
        self.exit_code = _complain(error)
        return True

    def _not_raised(self, lost: sys.UnraisableHookArgs) -> None:
        """Raise a signal again that came during a finalizer: Python drops what is raised there."""
        if not isinstance(lost.exc_value, Terminated):
            self._unraisable(lost)
            return
        self._lost = lost.exc_value
        self._handlers.setdefault(signal.SIGALRM, signal.signal(signal.SIGALRM, self._raise_lost))
        signal.setitimer(signal.ITIMER_REAL, AGAIN)

    def _raise_lost(self, number: int, frame: FrameType | None) -> None:
        if self._lost:  # else the command has ended meanwhile
            raise self._lost


def _complain(error: BaseException) -> int:
    """Say on stderr what went wrong, and return the exit code for it."""
    match error:
        case TopologyError():
            # Bare, so that an editor finds FILE:LINE:COLUMN at the beginning of each line.
            click.echo(visible_lines(str(error)), err=True)
            return error.exit_code
        case VnetlabError():
            _say(str(error))
            return error.exit_code
        case click.ClickException():
            said = StringIO()
            error.show(said)
            click.echo(visible_lines(said.getvalue()), err=True, nl=False)
            return USAGE
        case KeyboardInterrupt() | click.Abort():
            return 128 + signal.SIGINT
        case Terminated():
            return 128 + error.number
        # Outside its standalone mode, click exits by itself for one reason: a broken pipe.
        case BrokenPipeError() | SystemExit():
            _give_up_stdout()
            return 128 + signal.SIGPIPE
        case _ if signalled := _signal_behind(error):
            return 128 + signalled.number
        case _:
            text = " ".join(str(error).split())
            _say(f"{type(error).__name__}: {text} ({DEBUG_VARIABLE}=1 shows where)")
            return OTHER


def _signal_behind(error: BaseException) -> Terminated | None:
    """Return the signal that an error comes of: Python makes others of one raised while a class is made."""
    behind = error.__cause__ or error.__context__
    while behind:
        if isinstance(behind, Terminated):
            return behind
        behind = behind.__cause__ or behind.__context__
    return None


def _say(text: str) -> None:
    for line in visible_lines(text).split("\n"):
        click.echo(f"vnetlab: {line}", err=True)


def _give_up_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush has no reader to miss."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(number: int, frame: FrameType | None) -> None:
    # A second signal must not interrupt the cleaning up that the first one began.
    for again in SIGNALS:
        signal.signal(again, signal.SIG_IGN)
    raise Terminated(number)
