"""The command line on a real kernel: what scripts rely on, as root and as an ordinary user."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import parse

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.ordinary]
ROOT = Path(__file__).parents[2]
VNETLAB = [sys.executable, "-m", "vnetlab"]
# A user namespace whose one user is not root has no capabilities, whoever made it.
ORDINARY = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
DEADLINE = 60

SMALL = """
name: c-small
segments:
  lan: {subnets: [192.0.2.0/24]}
hosts:
  hv1:
    nics: {eth0: lan}
    networks:
      home: {mode: nat, uplink: eth0, subnets: [10.40.0.0/24]}
    vms:
      web: home
      cam: home
machines:
  peer: lan
"""


def vnetlab(
    *arguments: str, prefix: list[str] | None = None, path: str = "", **options: Any
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path or os.environ["PATH"]}
    options = {"stdin": subprocess.DEVNULL} | options
    if "input" in options:
        del options["stdin"]
    return subprocess.run(
        [*(prefix or []), *VNETLAB, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
        env=environment,
        **options,
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def lab(small: Path) -> Iterator[str]:
    name = f"c-cli-{os.getpid()}"
    done = vnetlab("up", str(small), "--name", name)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    yield name
    vnetlab("down", name)


def names_of_labs() -> list[str]:
    labs = json.loads(vnetlab("status", "--json").stdout)["labs"]
    return [lab["name"] for lab in labs]


def test_status_is_the_contract(lab: str) -> None:
    done = vnetlab("status", lab, "--json")
    (found,) = json.loads(done.stdout)["labs"]
    assert found.keys() == {"name", "holder", "nodes"}
    assert found["name"] == lab
    assert Path(f"/proc/{found['holder']}").exists()
    assert found["nodes"] == {
        "hv1": {"kind": "host", "backend": "namespace", "host": ""},
        "web": {"kind": "vm", "backend": "namespace", "host": "hv1"},
        "cam": {"kind": "vm", "backend": "namespace", "host": "hv1"},
        "peer": {"kind": "machine", "backend": "namespace", "host": ""},
    }
    assert lab in vnetlab("status").stdout


def test_a_lab_that_is_up_is_changed_in_its_place(lab: str, small: Path) -> None:
    holder = holder_of(lab)
    again = vnetlab("up", str(small), "--name", lab)
    assert again.returncode == 0, again.stderr
    assert "as the file says" in again.stderr
    small.write_text(
        SMALL.replace("mode: nat, uplink: eth0", "mode: host-only").replace("      cam: home\n", "")
    )
    plan = vnetlab("plan", str(small), "--name", lab, "--json")
    assert plan.returncode == 10, plan.stderr
    changes = json.loads(plan.stdout)["changes"]
    assert {"effect": "remove", "node": "cam", "step": "cam: remove network namespace"} in changes
    changed = vnetlab("up", str(small), "--name", lab)
    assert changed.returncode == 0, changed.stderr
    assert "- cam: remove network namespace" in changed.stderr
    assert vnetlab("plan", str(small), "--name", lab).returncode == 0
    assert vnetlab("exec", "--lab", lab, "cam", "--", "true").returncode == 2
    assert holder_of(lab) == holder
    done = vnetlab("probe", lab, "--json")
    assert done.returncode == 0, done.stdout + done.stderr


def holder_of(lab: str) -> int:
    (found,) = json.loads(vnetlab("status", lab, "--json").stdout)["labs"]
    return int(found["holder"])


@pytest.mark.parametrize(
    "commands",
    [
        (
            "nft delete table inet vnetlab",
            "ip route add 203.0.113.0/24 via 192.0.2.1",
            "ip link set $(ip -br link | grep -o '^vp[0-9a-f]*' | head -1) nomaster",
        ),
        (
            "nft insert rule inet vnetlab forward accept",
            "ip address add 10.40.0.99/24 dev eth0",
            "sysctl -qw net.ipv4.conf.all.forwarding=1",
        ),
    ],
    ids=["rules, route, port", "rule, address, setting"],
)
def test_drift_is_shown_and_mended(lab: str, small: Path, commands: tuple[str, ...]) -> None:
    assert vnetlab("status", lab, "--drift").returncode == 0
    done = vnetlab("exec", "--lab", lab, "hv1", "--", "sh", "-ec", "\n".join(commands))
    assert done.returncode == 0, done.stderr
    shown = vnetlab("status", lab, "--drift", "--json")
    assert shown.returncode == 1, shown.stderr
    (found,) = json.loads(shown.stdout)["labs"]
    assert {change["node"] for change in found["drift"]["changes"]} == {"hv1"}
    assert len(found["drift"]["changes"]) >= len(commands)
    assert vnetlab("up", str(small), "--name", lab).returncode == 0
    assert vnetlab("status", lab, "--drift").returncode == 0


def test_what_no_change_takes_away_is_shown_and_left(lab: str, small: Path) -> None:
    vnetlab("exec", "--lab", lab, "hv1", "--", "ip", "rule", "add", "to", "10.9.0.0/16", "table", "99")
    shown = vnetlab("status", lab, "--drift")
    assert shown.returncode == 1
    assert "policy rule" in shown.stdout
    done = vnetlab("up", str(small), "--name", lab)
    assert done.returncode == 0
    assert "left alone" in done.stderr


def test_commands_on_one_lab_wait_for_each_other(lab: str, small: Path) -> None:
    from vnetlab.kernel.holder import Holder
    from vnetlab.kernel.lock import alone

    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with Holder.find(lab) as holder, alone(holder, "a test"):
        waiting = subprocess.Popen(
            [*VNETLAB, "up", str(small), "--name", lab], stderr=subprocess.PIPE, text=True, env=environment
        )
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == (
            f"vnetlab: lab {lab} is in use, waiting for a test (process {os.getpid()})\n"
        )
        assert waiting.poll() is None
        assert vnetlab("exec", "--lab", lab, "web", "--", "true").returncode == 0
        assert vnetlab("status", lab).returncode == 0
    assert waiting.wait(DEADLINE) == 0
    waiting.stderr.close()


def test_many_at_once_make_one_lab(small: Path) -> None:
    name = f"c-many-{os.getpid()}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    commands = [
        subprocess.Popen(
            [*VNETLAB, "up", str(small), "--name", name], stderr=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(3)
    ]
    complaints = [each.communicate(timeout=DEADLINE)[1] for each in commands]
    assert [each.returncode for each in commands] == [0, 0, 0], complaints
    assert sum("nodes in" in text for text in complaints) == 1, complaints
    assert sum("as the file says" in text for text in complaints) == 2, complaints
    downs = [
        subprocess.Popen([*VNETLAB, "down", name], stderr=subprocess.PIPE, text=True, env=environment)
        for _ in "ab"
    ]
    complaints = [each.communicate(timeout=DEADLINE)[1] for each in downs]
    assert sorted(each.returncode for each in downs) == [0, 2], complaints


def test_two_labs_of_one_file(lab: str, small: Path) -> None:
    other = f"{lab}-other"
    assert vnetlab("up", str(small), "--name", other).returncode == 0
    assert {lab, other} <= set(names_of_labs())
    small.write_text(SMALL.replace("      cam: home\n", ""))
    assert vnetlab("up", str(small), "--name", other).returncode == 0
    assert vnetlab("exec", "--lab", lab, "cam", "--", "true").returncode == 0
    assert vnetlab("exec", "--lab", other, "cam", "--", "true").returncode == 2
    assert vnetlab("down", other).returncode == 0


def test_down_removes_the_lab_once(lab: str) -> None:
    assert vnetlab("down", lab).returncode == 0
    assert lab not in names_of_labs()
    again = vnetlab("down", lab)
    assert again.returncode == 2
    assert lab in again.stderr
    assert vnetlab("status", lab).returncode == 2


def test_exec_passes_everything_through(lab: str) -> None:
    done = vnetlab("exec", "--lab", lab, "web", "--", "sh", "-c", "cat; exit 7", input="hello")
    assert (done.returncode, done.stdout) == (7, "hello")
    done = vnetlab("exec", "--lab", lab, "web", "--", "sh", "-c", "echo oops >&2; kill -9 $$")
    assert (done.returncode, done.stdout, done.stderr) == (137, "", "oops\n")
    done = vnetlab("exec", "--lab", lab, "web", "ip", "-4", "address")
    assert "10.40.0." in done.stdout
    assert "192.0.2." in vnetlab("exec", "--lab", lab, "peer", "ip", "route").stdout


def test_nodes_find_each_other_by_name(lab: str) -> None:
    done = vnetlab("exec", "--lab", lab, "web", "--", "getent", "hosts", "peer")
    assert (done.returncode, done.stdout.split()[0][:8]) == (0, "192.0.2.")


def test_administration_is_found_whatever_the_callers_path(lab: str) -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), "/usr/bin", "/bin"))
    done = vnetlab("exec", "--lab", lab, "hv1", "--", "nft", "list", "tables", path=path)
    assert (done.returncode, done.stdout.strip()) == (0, "table inet vnetlab"), done.stderr


def test_exec_of_what_is_not_there(lab: str) -> None:
    done = vnetlab("exec", "--lab", lab, "nobody", "--", "true")
    assert done.returncode == 2
    assert "nobody" in done.stderr
    done = vnetlab("exec", "--lab", lab, "web", "--", "no-such-command")
    assert done.returncode == 127
    assert "no-such-command" in done.stderr
    assert vnetlab("exec", "--lab", "c-no-such-lab", "web", "--", "true").returncode == 2


def test_shell_says_where_one_is(lab: str) -> None:
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        [*VNETLAB, "shell", "--lab", lab, "web"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, b"echo inside-$VNETLAB_NODE; exit 3\n")
    # Read when all is written: a reader that is kept from running between finding nothing there and finding
    # the other side closed is told EIO (`n_tty_read`), with what was written meanwhile still to be read.
    assert shell.wait(DEADLINE) == 3
    output = b""
    with suppress(OSError):  # EIO: the last one that had the terminal open is gone
        while True:
            output += os.read(ours, 4096)
    os.close(ours)
    assert b"inside-web" in output
    assert b"[web] $" in output


def test_probe_of_a_healthy_lab(lab: str) -> None:
    done = vnetlab("probe", lab, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["lab"] == lab
    assert report["summary"]["holds"] == len(report["verdicts"]) > 0
    assert {verdict["verdict"] for verdict in report["verdicts"]} == {"holds"}


def test_probe_names_what_a_flushed_ruleset_breaks(lab: str) -> None:
    flushed = vnetlab("exec", "--lab", lab, "hv1", "--", "nft", "flush", "ruleset")
    assert flushed.returncode == 0, flushed.stderr
    done = vnetlab("probe", lab)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "\nBROKEN nat." in done.stdout
    assert "promised: " in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("prefix", [[], ORDINARY], ids=["caller", "ordinary-user"])
def test_a_file_is_tested_and_nothing_stays(prefix: list[str], small: Path, tmp_path: Path) -> None:
    junit = tmp_path / "verdicts.xml"
    done = vnetlab("test", str(small), "--json", "--junit", str(junit), prefix=prefix)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["lab"] == "c-small"
    assert report["summary"]["holds"] == len(report["verdicts"]) > 0
    assert len(list(parse(junit).iter("testcase"))) == len(report["verdicts"])
    assert not [name for name in names_of_labs() if name.startswith("c-small")]


def test_probe_takes_a_file_too(small: Path) -> None:
    done = vnetlab("probe", str(small))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" not in done.stdout
    assert " holds" in done.stdout


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGKILL, -9),
    ],
)
@pytest.mark.parametrize("seen", ["before-the-lab", "with-the-lab"])
def test_a_signal_leaves_nothing(number: signal.Signals, code: int, seen: str, small: Path) -> None:
    test = subprocess.Popen(
        [*VNETLAB, "test", str(small)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    name = f"c-small.{test.pid}"
    if seen == "with-the-lab":
        wait_until(lambda: socket_of(name))
    else:
        wait_until(lambda: catches(test.pid, signal.SIGTERM))
    test.send_signal(number)
    _, complaints = test.communicate(timeout=DEADLINE)
    assert test.returncode == code, complaints
    assert "Traceback" not in complaints
    wait_until(lambda: not socket_of(name))


def test_a_missing_feature_is_named_before_anything_is_made(small: Path) -> None:
    small.write_text(SMALL.replace("web: home", "web: {networks: [home], backend: tap}"))
    hidden = 'mount -t tmpfs none /dev/net && exec "$@"'
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    prefix = ["unshare", "--mount", *user, "sh", "-c", hidden, "sh"]
    done = vnetlab("test", str(small), prefix=prefix)
    assert done.returncode == 3, done.stderr
    assert "/dev/net/tun" in done.stderr
    assert not [name for name in names_of_labs() if name.startswith("c-small")]


def test_an_ordinary_user_has_taps_or_hears_why_not(ordinary_user: list[str], lab_name: str) -> None:
    file = Path("/tmp") / f"{lab_name}.yaml"
    file.write_text(SMALL.replace("web: home", "web: {networks: [home], backend: tap}"))
    opening = [*ordinary_user, "-c", "open('/dev/net/tun', 'r+b', 0)"]
    refused = subprocess.run(opening, capture_output=True, check=False).returncode
    argv = [*ordinary_user, "-m", "vnetlab", "test", str(file)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=DEADLINE)
    finally:
        file.unlink()
    if refused:
        assert (done.returncode, done.stdout) == (3, ""), done.stderr
        assert done.stderr.startswith("vnetlab: tap devices: /dev/net/tun: ")
        assert "`backend: tap`" in done.stderr
    else:
        assert done.returncode == 0, done.stdout + done.stderr


def socket_of(lab: str) -> bool:
    return f"/{lab}\n" in Path("/proc/net/unix").read_text()


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for a signal; Python by itself has none but for SIGINT."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line for line in status if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def wait_until(condition: Any, deadline: float = 10) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "deadline passed"
        time.sleep(0.02)
