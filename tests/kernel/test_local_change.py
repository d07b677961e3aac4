"""Labs on this very machine, which a namespace plays, are changed while they are up: all of it or nothing."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from played import PACKAGES, Machine, done, streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes a machine's network")

GATEWAY = "192.0.2.1"
HEAD = """
name: moving
segments: {{lan: {{}}}}
hosts:
  here:
    backend: local
    nics: {{eth0: lan}}
    networks:
{networks}
    vms:
{vms}
"""
OFFICE = (
    "      office: bridge",
    '      desk: {network: office, addresses: [192.0.2.50/24, "2001:db8:1::50/64"]}',
)
HOME = (
    '      home: {mode: nat, subnets: [10.40.0.0/24, "fd00:40::/64"], forwards: [{protocol: tcp, port: 8080,'
    " to: web, to_port: 80}]}",
    "      web: home",
)
DMZ = "      dmz: {mode: routed, subnets: [10.41.0.0/24]}", "      www: dmz"
VAULT = (
    "      vault: {mode: isolated, subnets: [10.42.0.0/24]}",
    "      safe: {network: vault, backend: tap, owner: nobody}\n      safe2: vault",
)
BENCH = "      bench: {mode: host-only, subnets: [10.43.0.0/24]}", "      tool: bench"
ISOLATED_HOME = "      home: {mode: isolated, subnets: [10.40.0.0/24]}", "      web: home"

STRIDE = os.environ.get("VNETLAB_STRIDE", "97")
"""Of so many kernel calls one is tried; every one takes minutes, and was."""


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as played:
        yield played


def written(folder: Path, name: str, *parts: tuple[str, str]) -> str:
    file = folder / f"{name}.yaml"
    networks, vms = ("\n".join(part[n] for part in parts) for n in (0, 1))
    file.write_text(HEAD.format(networks=networks, vms=vms))
    return str(file)


def namespace_of(machine: Machine, node: str) -> str:
    found = machine.vnetlab("exec", node, "--", "readlink", "/proc/self/ns/net")
    return found.stdout


def test_every_change_takes_effect_and_nothing_is_left(machine: Machine, tmp_path: Path) -> None:
    before = machine.state()
    file = written(tmp_path, "one", VAULT, BENCH)
    done(machine.vnetlab("up", file))
    kept = namespace_of(machine, "tool")
    isolated = machine.state()
    for name, parts, open_from, closed_from in (
        ("two", (VAULT, BENCH, HOME), ["web"], ["tool", "safe2"]),
        ("three", (OFFICE, BENCH, ISOLATED_HOME), ["desk"], ["tool", "web"]),
        ("four", (DMZ, BENCH), [], ["tool"]),
    ):
        file = written(tmp_path, name, *parts)
        assert "is changed" in done(machine.vnetlab("up", file)), name
        done(machine.vnetlab("plan", file))
        assert machine.gateway.reaches("192.0.2.10"), name
        for node in open_from:
            assert machine.reaches(GATEWAY, node), (name, node)
        for node in closed_from:
            assert not machine.reaches(GATEWAY, node), (name, node)
        assert namespace_of(machine, "tool") == kept
    assert "not as its file says" not in machine.vnetlab("status", "--drift").stdout
    done(machine.vnetlab("plan", written(tmp_path, "one", VAULT, BENCH)), 10)
    done(machine.vnetlab("up", written(tmp_path, "one", VAULT, BENCH)))
    assert told_apart(machine.state(), isolated) == set()
    done(machine.vnetlab("down"))
    assert machine.state() == before


def test_a_setting_that_another_lab_had_written_stays_when_that_ends(
    machine: Machine, tmp_path: Path
) -> None:
    before = machine.state()
    other = tmp_path / "other.yaml"
    text = HEAD.format(networks="      shop: {mode: nat, subnets: [10.49.0.0/24]}", vms="      till: shop")
    other.write_text(text.replace("name: moving", "name: other"))
    done(machine.vnetlab("up", str(other)))
    done(machine.vnetlab("up", written(tmp_path, "one", VAULT)))
    done(machine.vnetlab("up", written(tmp_path, "two", HOME)))
    done(machine.vnetlab("down", "other"))
    assert machine.reaches("198.51.100.1", "web")
    assert machine.reaches("2001:db8:2::1", "web")
    done(machine.vnetlab("up", written(tmp_path, "one", VAULT)))
    assert machine("sysctl", "-n", "net.ipv4.conf.eth0.forwarding") == "0"
    done(machine.vnetlab("down"))
    assert machine.state() == before


def test_a_nic_comes_and_goes_in_a_lab_that_is_up_without_a_packet_lost(
    machine: Machine, tmp_path: Path
) -> None:
    without, bridged = written(tmp_path, "one", HOME), written(tmp_path, "two", HOME, OFFICE)
    done(machine.vnetlab("up", without))
    for file in (bridged, without):
        with streams(machine) as lost:
            done(machine.vnetlab("up", file))
        assert lost == []
        assert machine.reaches("198.51.100.1", "web")
    done(machine.vnetlab("down"))


def told_apart(one: tuple[str, ...], other: tuple[str, ...]) -> set[str]:
    """Return what differs between two states of a machine, whatever the order of its devices and tables.

    Link-local addresses the kernel makes by itself, a moment after a carrier.
    """
    first, second = (
        {line for text in state for line in text.splitlines() if "fe80::" not in line}
        for state in (one, other)
    )
    return first ^ second


def test_what_somebody_changed_by_hand_is_mended(machine: Machine, tmp_path: Path) -> None:
    file = written(tmp_path, "one", OFFICE, HOME, VAULT)
    done(machine.vnetlab("up", file))
    whole = machine.state()
    switch = re.findall(r"(vlu\w+):", machine("ip", "link"))[0]
    bridge = re.findall(r"(vlb\w+):", machine("ip", "link"))[0]
    table = re.findall(r"table inet (vnetlab-\w+)", machine("nft", "list", "tables"))[0]
    for commands in (
        f"ip link delete {switch}",
        "ip link set eth0 nomaster",
        f"ip link set {bridge} down\nip address add 10.99.0.1/24 dev {bridge}",
        f"nft delete table inet {table}",
        "sysctl -q -w net.ipv6.conf.all.forwarding=0",
    ):
        machine.all(commands)
        assert "is changed" in done(machine.vnetlab("up", file)), commands
        assert machine.reaches(GATEWAY, "desk"), commands
        assert told_apart(machine.state(), whole) == set(), commands


def test_a_fault_at_any_call_restores_what_was_there(
    machine: Machine, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    files = [
        written(tmp_path, name, *parts)
        for name, parts in (("one", (VAULT, HOME)), ("two", (OFFICE, ISOLATED_HOME, DMZ)))
    ]
    begun = machine.state()
    for before, after in (files, files[::-1]):
        done(machine.vnetlab("up", before))
        present = machine.state()
        found = machine.run(
            "env", f"PYTHONPATH={PACKAGES}:{PACKAGES / 'tests'}", sys.executable,
            str(PACKAGES / "tests/local_faults.py"), "change", before, after, STRIDE,
            timeout=3600,
        )  # fmt: skip
        assert not found.returncode, found.stderr
        record_property(f"kernel calls: change of a lab on this machine to {Path(after).stem}", found.stdout)
        assert told_apart(machine.state(), present) == set()
    done(machine.vnetlab("down"))
    assert machine.state() == begun
