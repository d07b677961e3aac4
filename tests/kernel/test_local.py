"""Labs on this very machine, which a namespace plays: what they make, and that nothing is left of them."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from played import PACKAGES, Machine, done, streams

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes a machine's network")

FOUR = """
name: {name}
segments: {{lan: {{}}}}
hosts:
  here:
    backend: local
    nics: {{eth0: lan}}
    networks:
      vault: {{mode: isolated, subnets: [10.10.0.0/24]}}
      dmz: {{mode: routed, subnets: [10.{net}0.0.0/24, "fd00:{net}0::/64"]}}
      bench: {{mode: host-only, subnets: [10.{net}1.0.0/24]}}
      home:
        mode: nat
        subnets: [10.{net}2.0.0/24, "fd00:{net}2::/64"]
        forwards: [{{protocol: tcp, port: 80{net}0, to: web, to_port: 80}}]
    vms:
      safe1: vault
      safe2: vault
      guest: {{network: vault, backend: tap, owner: nobody, group: "0"}}
      www: dmz
      tool: bench
      web: home
"""
BRIDGED = """
name: bridged
segments: {lan: {}}
hosts:
  here:
    backend: local
    nics: {eth0: lan}
    networks:
      office: bridge
      home: {mode: nat, subnets: [10.40.0.0/24, "fd00:40::/64"]}
    vms:
      desk: {network: office, addresses: [192.0.2.50/24, "2001:db8:1::50/64"]}
      web: home
      guest: {network: home, backend: tap}
"""


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as played:
        yield played


def written(folder: Path, text: str) -> str:
    file = folder / f"{text.split()[1]}.yaml"
    file.write_text(text)
    return str(file)


def test_four_modes_hold_and_nothing_is_left(machine: Machine, tmp_path: Path) -> None:
    file = written(tmp_path, FOUR.format(name="four", net=4))
    before = machine.state()
    done(machine.vnetlab("plan", file), 10)
    assert machine.state() == before
    done(machine.vnetlab("up", file))
    for node, address in (
        ("web", "198.51.100.1"), ("web", "2001:db8:2::1"), ("web", "10.42.0.1"), ("www", "192.0.2.10"),
        ("tool", "10.41.0.1"), ("here", "198.51.100.1"),
    ):  # fmt: skip
        assert machine.reaches(address, node), (node, address)
    for node, address in (
        ("tool", "192.0.2.1"), ("tool", "192.0.2.10"), ("web", "10.41.0.1"), ("safe1", "192.0.2.10"),
    ):  # fmt: skip
        assert not machine.reaches(address, node), (node, address)
    assert machine.reaches(address_of(machine, "safe2"), "safe1")
    machine.gateway("ip", "route", "add", "10.0.0.0/8", "via", "192.0.2.10")
    assert machine.gateway.reaches(address_of(machine, "www"))
    for node in ("web", "tool"):
        assert not machine.gateway.reaches(address_of(machine, node))
    assert not machine.gateway.reaches("10.41.0.1")
    assert "as its file says" in machine.vnetlab("status", "--drift").stdout
    assert "as the file says" in done(machine.vnetlab("up", file))
    done(machine.vnetlab("down"))
    assert machine.state() == before


def address_of(machine: Machine, node: str) -> str:
    found = machine.vnetlab("exec", node, "--", "ip", "-4", "-j", "address", "show", "eth0")
    address = json.loads(found.stdout)[0]["addr_info"][0]["local"]
    assert isinstance(address, str)
    return address


COUNTED = """
table netdev counted {
  chain out {
    type filter hook egress device "other0" priority 0;
    icmp type echo-request counter
    icmpv6 type echo-request counter
  }
}
"""


def test_a_host_is_no_router_by_accident(machine: Machine, tmp_path: Path) -> None:
    """Forwarding that a lab turns on opens no path between the machine's own interfaces."""
    machine.all("""
        ip link add other0 type veth peer name far0
        ip link set other0 up
        ip link set far0 up
        ip address add 172.16.0.1/24 dev other0
        ip -6 address add fd01::1/64 dev other0 nodad
        ip -4 neighbour add 172.16.0.2 lladdr 02:00:00:00:00:02 dev other0
        ip -6 neighbour add fd01::2 lladdr 02:00:00:00:00:02 dev other0
    """)
    machine.gateway.all("""
        ip route add 172.16.0.0/24 via 192.0.2.10
        ip -6 route add fd01::/64 via 2001:db8:1::10
    """)
    machine("nft", COUNTED)
    settings = ("net.ipv4.conf.eth0.forwarding", "net.ipv6.conf.all.forwarding")
    machine("sysctl", "-qw", *(f"{key}=1" for key in settings))
    assert forwarded(machine) == 2, "the path is there where the machine forwards"
    machine("sysctl", "-qw", *(f"{key}=0" for key in settings))
    done(machine.vnetlab("up", written(tmp_path, FOUR.format(name="four", net=4))))
    assert machine("sysctl", "-n", *settings).split() == ["1", "1"]
    assert forwarded(machine) == 2
    done(machine.vnetlab("down"))


def forwarded(machine: Machine) -> int:
    """Have the gateway ping through the machine; return how many such pings ever left it there."""
    for address in ("172.16.0.2", "fd01::2"):
        assert not machine.gateway.reaches(address)
    counted = re.findall(r"counter packets (\d+)", machine("nft", "list", "table", "netdev", "counted"))
    return sum(map(int, counted))


def test_a_nic_becomes_a_port_and_back_without_a_packet_lost(machine: Machine, tmp_path: Path) -> None:
    file = written(tmp_path, BRIDGED)
    before = machine.state()
    with streams(machine) as lost:
        done(machine.vnetlab("up", file))
    assert lost == []
    for node, address in (
        ("desk", "198.51.100.1"), ("desk", "192.0.2.10"), ("desk", "2001:db8:1::1"), ("web", "198.51.100.1"),
        ("web", "2001:db8:2::1"), ("here", "198.51.100.1"),
    ):  # fmt: skip
        if node == "desk" and address == "198.51.100.1":
            machine.vnetlab("exec", "desk", "--", "ip", "route", "add", "default", "via", "192.0.2.1")
        assert machine.reaches(address, node), (node, address)
    assert machine.gateway.reaches("192.0.2.50")
    assert machine.gateway.reaches("2001:db8:1::50")
    with streams(machine) as lost:
        done(machine.vnetlab("down"))
    assert lost == []
    assert machine.state() == before


def test_leases_go_along_and_are_told_of(machine: Machine, tmp_path: Path) -> None:
    lease = ("192.0.2.12/24", "dev", "eth0", "valid_lft", "5000", "preferred_lft", "4000")
    machine("ip", "address", "add", *lease)
    assert "has a lifetime" in done(machine.vnetlab("up", written(tmp_path, BRIDGED)))
    assert lifetime(machine, "192.0.2.12") in range(4800, 5001)
    done(machine.vnetlab("down"))
    assert lifetime(machine, "192.0.2.12") in range(4800, 5001)


def lifetime(machine: Machine, address: str) -> int:
    found = json.loads(machine("ip", "-4", "-j", "address"))
    return int(
        next(info["valid_life_time"] for d in found for info in d["addr_info"] if info["local"] == address)
    )


def test_a_bridge_that_somebody_removed_is_no_loss(machine: Machine, tmp_path: Path) -> None:
    """What it carried is in the journal too; and what came to it since goes along."""
    file = written(tmp_path, BRIDGED)
    before = machine.state()
    done(machine.vnetlab("up", file))
    switch = re.findall(r"(vlu\w+):", machine("ip", "link"))[0]
    machine("ip", "route", "add", "198.18.0.0/24", "via", "192.0.2.1", "dev", switch)
    done(machine.vnetlab("down"))
    machine("ip", "route", "del", "198.18.0.0/24", "via", "192.0.2.1", "dev", "eth0")
    assert machine.state() == before
    done(machine.vnetlab("up", file))
    machine("ip", "link", "delete", switch)
    assert "routes of eth0 onto vlu" in " ".join(machine.vnetlab("status", "--drift").stdout.split())
    assert "is changed" in done(machine.vnetlab("up", file))
    assert machine.reaches("192.0.2.1")
    machine("ip", "link", "delete", switch)
    done(machine.vnetlab("down"))
    assert machine.state() == before


FAULTS = str(PACKAGES / "tests/local_faults.py")
STRIDE = int(os.environ.get("VNETLAB_STRIDE", "13"))
"""Each of so many steps is tried; every one takes minutes, and was."""


def faulty(machine: Machine, *arguments: str) -> int:
    path = os.pathsep.join([str(PACKAGES), str(PACKAGES / "tests")])
    return machine.run("env", f"PYTHONPATH={path}", sys.executable, FAULTS, *arguments).returncode


@pytest.mark.spread
@pytest.mark.parametrize("when", ["before", "after", "behind", "moving"])
def test_a_death_at_any_step_leaves_a_machine_that_recovers(
    machine: Machine, tmp_path: Path, when: str
) -> None:
    file = written(tmp_path, BRIDGED)
    before = machine.state()
    done(machine.vnetlab("up", file))
    steps = len(machine("sh", "-c", "cat /run/vnetlab/*.journal").splitlines())
    done(machine.vnetlab("down"))
    died = 0
    for nth in range(1, 100 if when == "moving" else steps + 1, STRIDE):
        code = faulty(machine, "make", file, str(nth), when)
        if code:
            assert code == 9
            done(machine.vnetlab("recover"))
        else:
            done(machine.vnetlab("down"))
        assert machine.state() == before, (when, nth)
        died += bool(code)
        if not code and when == "moving":
            break
    assert died > steps // 2 // STRIDE


@pytest.mark.spread
def test_a_death_while_a_lab_is_undone_leaves_a_machine_that_recovers(
    machine: Machine, tmp_path: Path
) -> None:
    file = written(tmp_path, BRIDGED)
    before = machine.state()
    for nth in range(1, 100, STRIDE):
        done(machine.vnetlab("up", file))
        code = faulty(machine, "undo", "bridged", str(nth))
        if not code:
            break
        assert code == -signal.SIGKILL
        done(machine.vnetlab("recover"))
        assert machine.state() == before, nth
    assert 10 < nth < 99
    assert machine.state() == before


def test_the_last_of_two_labs_restores_what_both_needed(machine: Machine, tmp_path: Path) -> None:
    one, two = (written(tmp_path, FOUR.format(name=name, net=net)) for name, net in (("one", 4), ("two", 5)))
    before = machine.state()
    for first, second in (("one", "two"), ("two", "one")):
        done(machine.vnetlab("up", one))
        done(machine.vnetlab("up", two))
        for lab in ("one", "two"):
            assert machine.vnetlab("exec", "--lab", lab, "web", "--", *ping("198.51.100.1")).returncode == 0
        done(machine.vnetlab("down", first))
        assert machine.vnetlab("exec", "--lab", second, "web", "--", *ping("198.51.100.1")).returncode == 0
        assert machine("sysctl", "-n", "net.ipv6.conf.all.forwarding") == "1"
        done(machine.vnetlab("down", second))
        assert machine.state() == before


def ping(address: str) -> list[str]:
    return [sys.executable, str(PACKAGES / "tests/pinging.py"), address, "1", "0"]


def test_a_killed_holder_is_told_of_and_recovered(machine: Machine, tmp_path: Path) -> None:
    file = written(tmp_path, BRIDGED)
    before = machine.state()
    done(machine.vnetlab("up", file))
    status = json.loads(machine.vnetlab("status", "--json").stdout)
    os.kill(status["labs"][0]["holder"], 9)
    time.sleep(0.3)
    assert "`vnetlab recover`" in machine.vnetlab("status").stderr
    assert machine.reaches("198.51.100.1")
    assert "is undone" in done(machine.vnetlab("down", "bridged"))
    assert machine.state() == before
    assert "nothing was left behind" in done(machine.vnetlab("recover"))


def test_what_others_have_stays(machine: Machine, tmp_path: Path) -> None:
    """Docker's and libvirt's own things are neither touched nor taken for the lab's."""
    machine("nft", "add table ip filter; add chain ip filter DOCKER { type filter hook input priority 0; }")
    machine.all("""
        ip link add docker0 type bridge
        ip link set docker0 up
        ip link add veth0 master docker0 type veth peer name veth1
        sysctl -qw net.ipv4.conf.docker0.forwarding=1
    """)
    file = written(tmp_path, FOUR.format(name="four", net=4))
    time.sleep(2.5)  # duplicate address detection
    before = machine.state()
    done(machine.vnetlab("up", file))
    assert "as its file says" in machine.vnetlab("status", "--drift").stdout
    done(machine.vnetlab("down"))
    assert machine.state() == before


DOCKER = """
table ip filter {
  chain DOCKER-USER { counter return; }
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
    counter jump DOCKER-USER
    iifname "docker0" oifname != "docker0" counter accept
  }
}
"""


def test_rules_that_would_break_a_promise_are_named(machine: Machine, tmp_path: Path) -> None:
    """Docker drops what it does not know, and an accept elsewhere does not undo that."""
    machine("nft", DOCKER)
    file = written(tmp_path, FOUR.format(name="four", net=4))
    before = machine.state()
    for text in (done(machine.vnetlab("up", file), 1), machine.vnetlab("doctor", file).stdout):
        told = " ".join(text.split())
        assert "ip filter FORWARD: policy: drop: breaks" in told
        assert "nft insert rule" in told
    assert machine.state() == before
    assert "ip filter FORWARD" in done(machine.vnetlab("up", file, "--force"))
    assert not machine.reaches("198.51.100.1", "web")
    done(machine.vnetlab("down"))
    assert machine.state() == before
    for side in ("iifname", "oifname"):
        machine("nft", f'insert rule ip filter DOCKER-USER {side} "vlb*" accept')
    done(machine.vnetlab("up", file))
    assert machine.reaches("198.51.100.1", "web")
    done(machine.vnetlab("down"))


def test_forwarding_that_others_turned_on_since_stays(machine: Machine, tmp_path: Path) -> None:
    done(machine.vnetlab("up", written(tmp_path, FOUR.format(name="four", net=4))))
    machine("sysctl", "-qw", "net.ipv4.ip_forward=1")
    assert "somebody else has this machine forward IPv4 since" in done(machine.vnetlab("down"))
    assert machine("sysctl", "-n", "net.ipv4.conf.eth0.forwarding") == "1"


def test_a_device_of_that_name_is_refused_and_stays(machine: Machine, tmp_path: Path) -> None:
    from vnetlab import names

    taken = names.on_machine("four", names._hashed("vb", "here", "home"))
    machine("ip", "link", "add", taken, "type", "bridge")
    file = written(tmp_path, FOUR.format(name="four", net=4))
    before = machine.state()
    assert f"this machine has a device {taken} already" in done(machine.vnetlab("up", file), 4)
    assert machine.state() == before


ATTACH = """
import fcntl, os, struct, sys
tun = os.open("/dev/net/tun", os.O_RDWR)
user, group = int(sys.argv[1]), int(sys.argv[2])
os.setgroups([])
os.setresgid(group, group, group)
os.setresuid(user, user, user)
fcntl.ioctl(tun, 0x400454CA, struct.pack("=16sH22x", sys.argv[3].encode(), 0x1002))
"""
"""As an emulator does it (TUNSETIFF with IFF_TAP and IFF_NO_PI); opened before, as the file may be root's."""


def test_a_tap_belongs_to_its_owner(machine: Machine, tmp_path: Path) -> None:
    done(machine.vnetlab("up", written(tmp_path, FOUR.format(name="four", net=4))))
    taps = machine("ip", "-d", "link", "show", "type", "tun")
    assert "persist on user nobody group root" in taps
    name = re.findall(r"(vlp\w+):", taps)[0]
    for user, group, code in ((65534, 0, 0), (65533, 0, 1), (65534, 65534, 1)):
        argv = (sys.executable, "-c", ATTACH, str(user), str(group), name)
        assert machine.run(*argv).returncode == code, (user, group)
    done(machine.vnetlab("down"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("eth0: lan", "eth7: lan", "there is no device eth7 on this machine"),
        ("10.40.0.0/24", "192.0.2.128/25", "this machine has a route to 192.0.2.0/24 by eth0"),
        ("owner: nobody", "owner: nobody-at-all", "this machine has no user nobody-at-all"),
    ],
)
def test_what_does_not_fit_the_machine_is_said_with_its_place(
    machine: Machine, tmp_path: Path, old: str, new: str, said: str
) -> None:
    file = written(tmp_path, FOUR.format(name="four", net=4).replace(old, new))
    before = machine.state()
    text = done(machine.vnetlab("up", file), 2)
    assert said in text
    assert text.startswith(f"{file}:")
    assert machine.state() == before


@pytest.mark.parametrize("command", ["test", "mutate"])
def test_nothing_is_sent_to_a_real_lan(machine: Machine, tmp_path: Path, command: str) -> None:
    file = written(tmp_path, FOUR.format(name="four", net=4))
    assert "would go out to the real LAN" in done(machine.vnetlab(command, file), 2)


def test_without_the_privileges_nothing_is_begun(machine: Machine, tmp_path: Path) -> None:
    file = written(tmp_path, FOUR.format(name="four", net=4))
    argv = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", sys.executable, "-m", "vnetlab"]
    found = machine.run(*argv, "up", file, cwd=PACKAGES)
    assert "CAP_NET_ADMIN" in done(found, 3)
