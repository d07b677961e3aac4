"""A journal says what was begun, whatever happened after that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vnetlab.errors import KernelError
from vnetlab.kernel.journal import Journal, Record, forget, records

LINK = Record("link", "vb0123456789", "vnetlab.one.hv1.home")
SETTING = Record("sysctl", "net/ipv6/conf/all/forwarding", "1", before="0")


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "one.journal"
    with Journal(path) as journal:
        journal.write(LINK)
        assert records(path) == (LINK,)
    with Journal(path) as journal:
        journal.write(SETTING)
    assert records(path) == (LINK, SETTING)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("length", range(1, 40, 7))
def test_a_line_cut_short_was_never_begun(tmp_path: Path, length: int) -> None:
    path = tmp_path / "one.journal"
    with Journal(path) as journal:
        journal.write(LINK)
        whole = path.stat().st_size
        journal.write(SETTING)
    os.truncate(path, whole + length)
    assert records(path) == (LINK,)
    with Journal(path) as journal:
        journal.write(SETTING)
    assert records(path) == (LINK, SETTING)


def test_a_foreign_line_undoes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "one.journal"
    path.write_text('{"kind": "link"}\n')
    with pytest.raises(KernelError, match="line 1 is none of vnetlab's"):
        records(path)


def test_a_kill_right_after_a_record_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "one.journal"
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from vnetlab.kernel.journal import Journal, Record\n"
        f"Journal(Path(sys.argv[1])).write({LINK!r}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert records(path) == (LINK,)


def test_forgetting_twice_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "one.journal"
    Journal(path).close()
    forget(path)
    forget(path)
    assert records(path) == ()


def test_no_place_for_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="No such file"):
        Journal(tmp_path / "missing" / "one.journal")
