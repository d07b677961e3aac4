"""A host that is this very machine: what is read of it and made of it, and the journal. Without a kernel."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from vnetlab import plan
from vnetlab.compile import compile_topology
from vnetlab.description import decode, describe
from vnetlab.errors import KernelError, TopologyError
from vnetlab.interference import hindrances, with_outside
from vnetlab.kernel.local import carriage
from vnetlab.kernel.local.journal import Journal, Record, forget, records
from vnetlab.kernel.read_tables import tables
from vnetlab.localise import localise
from vnetlab.plan import MoveNic
from vnetlab.state import Sysctl
from vnetlab.topology.facts import Facts, NicFacts, RouteFacts, decoded, encoded
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from pathlib import Path

    from vnetlab.state import Namespace

LINK = Record("link", "vlb0123456789", "02:00:00:00:00:01 vnetlab.one.hv1.home")
SETTING = Record("sysctl", "net/ipv6/conf/all/forwarding", "1", before="0")
ETH0 = NicFacts("eth0", "02:00:00:00:00:09", 1400, ("192.0.2.10/24", "2001:db8:1::10/64", "192.0.2.99/32"))
FACTS = Facts((ETH0,), ("eth0",), (RouteFacts("192.0.2.0/24", "eth0"), RouteFacts("0.0.0.0/0", "eth0")))
FILE = """
name: here
segments: {lan: {}}
hosts:
  me:
    backend: local
    nics: {eth0: lan}
    networks:
      office: bridge
      vault: {mode: isolated, subnets: [10.10.0.0/24]}
      home: {mode: nat, subnets: [10.40.0.0/24, "fd00:40::/64"]}
    vms:
      desk: {network: office, address: 192.0.2.50/24}
      safe: vault
      web: home
"""
UNBRIDGED = FILE.replace("      office: bridge\n", "").replace(
    "      desk: {network: office, address: 192.0.2.50/24}\n", ""
)


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "one.journal"
    with Journal(path) as journal:
        journal.write(LINK)
        assert records(path) == (LINK,)
    with Journal(path) as journal:
        journal.write(SETTING)
    assert records(path) == (LINK, SETTING)
    assert path.stat().st_mode & 0o777 == 0o644


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
        "from vnetlab.kernel.local.journal import Journal, Record\n"
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


def test_the_machine_says_what_the_file_does_not() -> None:
    topology = Topology.parse(FILE, facts=FACTS)
    nic = topology.hosts["me"].nics["eth0"]
    assert (nic.mac, nic.mtu) == (ETH0.mac, 1400)
    assert [str(address) for address in nic.addresses] == ["192.0.2.10/24", "2001:db8:1::10/64"]
    assert [str(subnet) for subnet in topology.segments["lan"].subnets] == ["192.0.2.0/24", "2001:db8:1::/64"]
    assert decoded(json.loads(json.dumps(encoded(FACTS)))) == FACTS
    assert decode(describe(topology).encode()).topology() == topology


def test_vms_on_real_lans_have_macs_of_their_machine() -> None:
    """Two machines of one LAN may run the same file."""
    other = Facts((NicFacts("eth0", "02:00:00:00:00:0a", 1500, ("192.0.2.11/24", "2001:db8:1::11/64")),))
    one, two = (Topology.parse(FILE, facts=facts).vms for facts in (FACTS, other))
    assert one["desk"].nics[0].mac != two["desk"].nics[0].mac
    assert one["web"].nics[0].mac == two["web"].nics[0].mac


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (Facts((), ("enp1s0",)), "there is no device eth0 on this machine; did you mean enp1s0"),
        (Facts((NicFacts("eth0", "02:00:00:00:00:09", 1500, ()),)), "no IPv4 address to translate to"),
        (
            Facts((ETH0,), (), (RouteFacts("10.0.0.0/8", "tun0"),)),
            "this machine has a route to 10.0.0.0/8 by tun0",
        ),
        (Facts((NicFacts("eth0", ETH0.mac, 1500, ETH0.addresses, "bridge"),)), "is a bridge"),
        (Facts((NicFacts("eth0", ETH0.mac, 1500, ETH0.addresses, "", "br0"),)), "is a port of br0 already"),
    ],
)
def test_what_does_not_fit_the_machine_is_refused(facts: Facts, said: str) -> None:
    with pytest.raises(TopologyError) as caught:
        Topology.parse(FILE, facts=facts)
    assert said.split(";")[0] in str(caught.value)


def machine_of(text: str, lab: str, facts: Facts = FACTS) -> Namespace:
    topology = Topology.parse(text, facts=facts)
    return localise(topology, compile_topology(topology), lab).namespace("me")


def test_two_labs_of_one_file_share_no_name() -> None:
    one, two = (machine_of(FILE, lab) for lab in ("one", "two"))
    assert not {link.name for link in one.links} & {link.name for link in two.links}
    assert not {link.altname for link in one.links} & {link.altname for link in two.links}
    assert not {table.name for table in one.tables} & {table.name for table in two.tables}
    assert all(link.altname.startswith("vnetlab.one.") for link in one.links)


def test_only_what_is_the_labs_is_written_and_denied() -> None:
    here = machine_of(FILE, "one")
    own = {link.name for link in here.links}
    foreign = [s for s in here.sysctls if not any(f"/{device}/" in s.key for device in own)]
    assert foreign == [Sysctl("net/ipv6/conf/all/forwarding", "1")]
    assert "eth0" not in own
    for table in here.tables:
        for chain in table.chains:
            assert "policy drop" not in chain.hook or any(device in chain.hook for device in own)


def test_paths_that_were_open_before_stay_open() -> None:
    def closed(facts: Facts) -> int:
        found = [
            c for t in machine_of(UNBRIDGED, "one", facts).tables for c in t.chains if c.name == "forward"
        ]
        return sum("did not forward" in rule.comment for rule in found[0].rules)

    router = Facts((NicFacts("eth0", ETH0.mac, 1500, ETH0.addresses, forwards=True),), forwards_ipv6=True)
    assert closed(FACTS) == 2
    assert closed(router) == 0


def test_the_nic_moves_last_of_all() -> None:
    topology = Topology.parse(FILE, facts=FACTS)
    state = localise(topology, compile_topology(topology), "one")
    switch = next(link.name for link in state.namespace("me").links if link.name.startswith("vlu"))
    steps = plan.build_on_machine(state, "me", {switch: "eth0"}).steps
    assert steps[-1] == MoveNic("me", "eth0", switch)
    assert not any(step.describe().startswith("me: create network namespace") for step in steps)


DOCKER = """table ip filter {
  chain USER {
%s
  }
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
    counter jump USER
    iifname "docker0" counter accept
  }
}
"""


def test_a_drop_elsewhere_is_found_and_an_accept_there_helps() -> None:
    topology = Topology.parse(UNBRIDGED, facts=FACTS)
    found = hindrances(topology, "one", tables(DOCKER % ""))
    assert [each.reason for each in found] == ["me: forward: ip filter FORWARD: policy: drop"]
    assert found[0].sure
    assert any(text.startswith("web to the-lan") for text in found[0].examples)
    accepting = DOCKER % '    iifname "vlb*" accept\n    oifname "vlb*" accept'
    assert hindrances(topology, "one", tables(accepting)) == ()
    harmless = DOCKER.replace("policy drop", "policy accept") % ""
    assert hindrances(topology, "one", tables(harmless)) == ()


def test_frames_that_meet_ip_rules_are_told_of() -> None:
    topology = Topology.parse(UNBRIDGED.replace("home: {mode: nat", "home: {mode: host-only"), facts=FACTS)
    found = hindrances(topology, "one", tables(DOCKER % ""))
    on = (Sysctl("net/bridge/bridge-nf-call-iptables", "1"),)
    more = hindrances(topology, "one", tables(DOCKER % ""), on)
    assert [each.examples for each in more if each not in found] == [
        ("VM to VM on vault", "VM to VM on home")
    ]


def test_the_stand_in_takes_an_address_that_nobody_has() -> None:
    whole = with_outside(Topology.parse(FILE, facts=FACTS))
    addresses = [str(address) for address in whole.machines["the-lan"].nics[0].addresses]
    assert addresses == ["192.0.2.1/24", "2001:db8:1::1/64"]


def test_a_route_of_several_hops_cannot_be_carried() -> None:
    hop = struct.pack("=HBBi", 8, 0, 0, 2)
    body = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 4, 0, 1, 0) + struct.pack("=HH", 4 + len(hop), 9) + hop
    with pytest.raises(KernelError, match="several next hops"):
        carriage.check("eth0", carriage.Carried((), (body,)))
    plain = carriage.Carried((b"1234",), (b"5678",))
    assert carriage.Carried.decode(plain.encode()) == plain
