"""A machine restarted with a lab on it: what was recorded is no more, and what is there is not the lab's.

The machine is played: its namespaces are thrown away, with every device and setting, and others made, in
which the kernel says another boot id; the folder of the journals is the same.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from typing import TYPE_CHECKING

import pytest
from played import Machine, done
from test_local import BRIDGED, written

from vnetlab.kernel import control

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes a machine's network")

FORWARDING = ("net.ipv4.conf.eth0.forwarding", "net.ipv6.conf.all.forwarding")

COOKIE = "import socket; print('%x' % int.from_bytes(socket.socket(1, 2).getsockopt(1, 71, 8), 'little'))"


class Restarted:
    """A machine on which a lab was when its power went, and that is up again."""

    def __init__(self, folder: Path) -> None:
        self.file = written(folder, BRIDGED.replace("name: bridged", "name: b.ridged"))
        self._run, self._boot = folder / "run", folder / "boot"
        self._run.mkdir()
        self._start()
        try:
            done(self.machine.vnetlab("up", self.file))
            self.recorded = [json.loads(line) for line in self.journal().read_text().splitlines()]
            self.made = json.loads(self.machine("ip", "-j", "link"))
        finally:
            self.machine.cut_power()
        self._start()

    def _start(self) -> None:
        self._boot.write_text(f"{uuid.uuid4()}\n")
        self.machine = Machine(self._run, self._boot)
        assert self.machine("cat", "/proc/sys/kernel/random/boot_id") == self._boot.read_text().strip()

    def journal(self) -> Path:
        (found,) = (self._run / "vnetlab").glob("*.journal")
        return found

    def number_journal_anew(self) -> None:
        """Give the journal the name that this uptime would: a first namespace may keep its number."""
        old = self.journal()
        number = self.machine("python3", "-c", COOKIE)
        old.rename(old.with_name(f"{number}.{control.file_name('b.ridged')}.journal"))

    def forgotten(self) -> bool:
        return not (self._run / "vnetlab").exists()

    def state(self) -> tuple[str, ...]:
        """Return what of the machine must not change: all but the files of the journals."""
        return self.machine.state()[:-1]

    def make_alike(self) -> None:
        """Have the new uptime use the very names, marks and values that the lab had recorded."""
        m = self.machine
        for link in self.made:
            if link["ifname"].startswith("vl"):
                m("ip", "link", "add", link["ifname"], "address", link["address"], "type", "bridge")
                for name in link.get("altnames", ()):
                    m("ip", "link", "property", "add", "dev", link["ifname"], "altname", name)
        for record in self.recorded:
            if record["kind"] == "table" and record["name"].split()[0] in ("inet", "arp"):
                m("nft", "add", "table", *record["name"].split())
            if record["kind"] == "sysctl" and "vl" not in record["name"] and record["mark"]:
                m("sysctl", "-w", f"{record['name'].replace('/', '.')}={record['mark']}")


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[Restarted]:
    found = Restarted(tmp_path)
    with found.machine:
        yield found


def test_the_lab_had_changed_what_a_restart_takes_back(restarted: Restarted) -> None:
    """If not, the tests below could not fail."""
    written_over = {r["name"].replace("/", "."): r for r in restarted.recorded if r["kind"] == "sysctl"}
    assert all(written_over[key]["before"] == "0" for key in FORWARDING[1:])
    assert {r["kind"] for r in restarted.recorded} == {"lab", "link", "table", "sysctl", "nic"}
    assert not [each for each in restarted.machine.state() if "vnetlab" in each and "journal" not in each]
    assert restarted.recorded[0]["name"] == "b.ridged"


@pytest.mark.parametrize(
    ("command", "numbered"),
    [(("recover",), "same number"), (("down", "b.ridged"), "another number")],
    ids=["recover", "down"],
)
def test_nothing_of_the_new_uptime_is_touched(
    restarted: Restarted, command: tuple[str, ...], numbered: str
) -> None:
    if numbered == "same number":
        restarted.number_journal_anew()
    restarted.make_alike()
    before = restarted.state()
    assert len(re.findall("vl[bup]", " ".join(before))) > 3
    assert restarted.machine("sysctl", "-n", FORWARDING[1]) == "1"
    status = restarted.machine.vnetlab("status")
    assert status.returncode == 0
    assert "lab b.ridged ended with a restart of this machine: `vnetlab recover`" in status.stderr
    assert restarted.journal().exists()
    assert restarted.state() == before
    assert "restarted since" in done(restarted.machine.vnetlab(*command))
    assert restarted.forgotten()
    assert restarted.state() == before
    assert "nothing was left behind" in done(restarted.machine.vnetlab("recover"))
    assert restarted.machine.vnetlab("down", "b.ridged").returncode == 2
    assert restarted.machine.vnetlab("status").stderr == ""
    assert restarted.state() == before


def test_up_makes_it_anew_and_down_restores_the_new_uptime(restarted: Restarted) -> None:
    machine = restarted.machine
    machine("sysctl", "-w", f"{FORWARDING[1]}=1")
    before = restarted.state()
    told = done(machine.vnetlab("up", restarted.file))
    assert "restarted since" in told
    assert "lab b.ridged is up" in told
    records = [json.loads(line) for line in restarted.journal().read_text().splitlines()]
    assert [record["kind"] for record in records].count("lab") == 1
    assert machine.reaches("198.51.100.1", "web")
    assert "as its file says" in machine.vnetlab("status", "--drift").stdout
    assert machine.vnetlab("status").stderr == ""
    done(machine.vnetlab("down", "b.ridged"))
    assert restarted.state() == before
    assert restarted.forgotten()


def test_one_that_takes_its_names_is_not_taken_over(restarted: Restarted) -> None:
    """`up` refuses devices that are there already, whoever had such names before the restart."""
    restarted.make_alike()
    before = restarted.state()
    refused = restarted.machine.vnetlab("up", restarted.file)
    assert refused.returncode == 4
    assert "already, which this lab did not make" in refused.stderr
    assert restarted.state() == before
    assert restarted.forgotten()


def test_a_journal_under_the_very_name_of_the_new_one(restarted: Restarted) -> None:
    restarted.number_journal_anew()
    before = restarted.state()
    done(restarted.machine.vnetlab("up", restarted.file))
    lines = restarted.journal().read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines].count("lab") == 1
    done(restarted.machine.vnetlab("down"))
    assert restarted.state() == before
    assert restarted.forgotten()
