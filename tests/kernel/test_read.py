"""A State read back from the kernel: what was made, and what was not made by us too."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import taps

from vnetlab import names, plan
from vnetlab.compile import compile_topology
from vnetlab.kernel import read_messages
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.apply import apply
from vnetlab.kernel.netlink import Netlink
from vnetlab.kernel.read import device_settings, nodes_of, read
from vnetlab.kernel.read_messages import GET_LINKS
from vnetlab.kernel.read_tables import tables
from vnetlab.kernel.ready import wait_ready
from vnetlab.modes import guarantees_for
from vnetlab.policy import (
    BLACKHOLE,
    LOOKUP,
    NO_POLICY,
    PROHIBIT,
    USUAL,
    Policy,
    PolicyRule,
    TableRoute,
)
from vnetlab.predict.matrix import predict, predict_again
from vnetlab.state import Bridge, Namespace, State, StaticRoute, Sysctl, Veth
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.kernel.spaces import Spaces

pytestmark = pytest.mark.kernel

FILES = sorted(p for p in taps.TOPOLOGIES.iterdir() if p.suffix in (".yaml", ".graphml"))
TWO_HUBS = """
name: X-hubs
segments: {lan: {subnets: [192.0.2.0/24]}}
hosts:
  h1: {nics: {eth0: lan}, networks: {n: {mode: host-only, subnets: [10.1.0.0/24]}}, vms: {a: n, b: n}}
  h2: {nics: {eth0: lan}, networks: {n: {mode: host-only, subnets: [10.2.0.0/24]}}, vms: {c: n, d: n}}
"""


LISTING = """table inet t { # handle 1
  set s {
    type inet_service
    elements = { 22,
                 80 }
  }

  map m {
    type inet_service : verdict
    elements = { 22 comment "a, b" : accept, 80 : drop }
  }

  set by_time {
    type ipv4_addr
    flags dynamic,timeout
  }

  chain c {
    comment "what for"
    type filter hook input priority filter + 5; policy drop;
    tcp dport @s counter packets 1 bytes 60 accept comment "by set"
    counter name "n" drop
  }
}
table ip empty {
}
"""


def up(state: State) -> Iterator[Agent]:
    with Agent(None) as agent:
        agent.call(apply, plan.build(state))
        agent.call(wait_ready, state)
        yield agent


def rules_by_chain(namespace: Namespace) -> dict[tuple[str, str], list[str]]:
    return {
        (table.family, chain.name): [rule.comment for rule in chain.rules]
        for table in namespace.tables
        for chain in table.chains
    }


def run_in(spaces: Spaces, job: tuple[str, str]) -> None:
    """Run a shell command in a node's namespace."""
    node, command = job
    with spaces.inside(node):
        subprocess.run(["sh", "-c", command], check=True, capture_output=True)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_what_is_present_is_what_was_desired(file: Path) -> None:
    topology = taps.delivered(file.name)
    desired = compile_topology(topology)
    for agent in up(desired):
        present = agent.call(read, nodes_of(desired))
    assert sorted(n.name for n in present.namespaces) == sorted(n.name for n in desired.namespaces)
    for wanted in desired.namespaces:
        found = present.namespace(wanted.name)
        assert found.kind == wanted.kind
        assert set(found.links) == set(wanted.links)
        assert set(found.addresses) == set(wanted.addresses)
        assert set(found.routes) == set(wanted.routes)
        assert rules_by_chain(found) == rules_by_chain(wanted)
        assert found.beyond == ()
    guarantees = guarantees_for(topology)
    predicted = predict(topology, desired, guarantees)
    assert predict(topology, present, guarantees) == predicted
    assert predict_again(topology, predicted, present, guarantees) is predicted


def test_ends_of_equal_index_are_told_apart() -> None:
    """Two hosts whose ports have the same indices: only the kernel's namespace numbers tell."""
    topology = Topology.parse(TWO_HUBS, "X-hubs.yaml")
    desired = compile_topology(topology)
    for agent in up(desired):
        present = agent.call(read, nodes_of(desired))
    for name in topology.vms:
        link = present.namespace(name).link("eth0")
        assert isinstance(link, Veth)
        assert (link.peer_namespace, link.peer) == (topology.vms[name].host, names.port(name, "eth0"))


@pytest.fixture
def hubs() -> Iterator[tuple[Agent, State]]:
    desired = compile_topology(Topology.parse(TWO_HUBS, "X-hubs.yaml"))
    for agent in up(desired):
        yield agent, desired


def test_a_name_is_no_proof_of_what_is_behind_a_port(hubs: tuple[Agent, State]) -> None:
    agent, desired = hubs
    for host, vm, other in (("h1", "a", "c"), ("h2", "c", "a")):
        port, name = names.port(vm, "eth0"), names.port(other, "eth0")
        agent.call(run_in, (host, f"ip link set {port} down && ip link set {port} name {name}"))
    present = agent.call(read, nodes_of(desired))
    for host, vm, other in (("h1", "a", "c"), ("h2", "c", "a")):
        link = present.namespace(host).link(names.port(other, "eth0"))
        assert isinstance(link, Veth)
        assert (link.peer_namespace, link.peer) == (vm, "eth0")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("ip rule add to 10.9.0.0/16 table 99", "policy rule 32765: from all to 10.9.0.0/16 lookup 99"),
        ("ip rule add ipproto udp dport 53 table 99", "policy rule 32765 of a kind"),
        ("ip rule del table default", "no policy rule 32767: from all lookup default"),
        ("ip rule del table local", "that do not begin with the table local"),
        ("ip route add 10.9.0.0/16 via 10.1.0.9 table 99", "route to 10.9.0.0/16 via 10.1.0.9 dev "),
        ("ip route add blackhole 10.9.0.0/16", "route to 10.9.0.0/16"),
        ("nft 'table ip x {{ flags dormant; }}'", "dormant"),
    ],
)
def test_what_a_state_has_no_word_for_is_told(hubs: tuple[Agent, State], command: str, told: str) -> None:
    agent, desired = hubs
    agent.call(run_in, ("h1", command.format(port=names.port("a", "eth0"))))
    (found,) = agent.call(read, nodes_of(desired)).namespace("h1").unplanned
    assert told in found


def test_policy_routing_is_read(hubs: tuple[Agent, State]) -> None:
    agent, desired = hubs
    commands = (
        "ip rule add from 10.1.0.0/24 to 10.9.0.0/16 iif eth0 fwmark 0x10/0xf0 priority 7 table 300;"
        "ip -6 rule add oif eth0 priority 40000 blackhole;"
        "ip -6 rule add from fd00:9::/32 prohibit; ip rule add not from 10.2.0.1 table main;"
        "ip route add 10.9.0.0/16 via 10.1.0.9 metric 5 table 300"
    )
    agent.call(run_in, ("h1", commands))
    found = agent.call(read, nodes_of(desired)).namespace("h1")
    via = next(link.name for link in found.links if isinstance(link, Bridge) and link.name.startswith("vb"))
    assert found.policy == Policy(
        (
            PolicyRule(
                4, 7, 300, LOOKUP, ip_network("10.1.0.0/24"), ip_network("10.9.0.0/16"), "eth0", "", 16, 240
            ),
            *USUAL[4][1:],
            PolicyRule(6, 32765, 0, PROHIBIT, ip_network("fd00:9::/32")),
            *USUAL[6][1:],
            PolicyRule(6, 40000, 0, BLACKHOLE, oif="eth0"),
        ),
        (TableRoute(300, StaticRoute(ip_network("10.9.0.0/16"), ip_address("10.1.0.9"), via, 5)),),
    )
    assert found.beyond == ("policy rule 6 of a kind that the model does not know",)
    assert agent.call(read, nodes_of(desired)).namespace("h2").policy == NO_POLICY


def test_changes_by_hand_are_read(hubs: tuple[Agent, State]) -> None:
    agent, desired = hubs
    before: Any = agent.call(read, nodes_of(desired)).namespace("h1")
    port = names.port("a", "eth0")
    bridge = before.link(port).master
    commands = (
        f"ip link set {port} down; bridge link set dev {port} isolated on hairpin on learning off;"
        f"ip link set {bridge} type bridge stp_state 1 ageing_time 0;"
        "ip addr add 10.7.0.1/24 dev eth0; ip route add 10.8.0.0/16 via 10.7.0.2 metric 7;"
        "ip neigh add 10.7.0.2 lladdr 02:00:00:00:00:07 nud permanent dev eth0;"
        "echo 2 > /proc/sys/net/ipv4/conf/eth0/rp_filter;"
        "nft 'table ip x { chain c { type filter hook input priority 5; tcp dport 22 counter drop; }; }'"
    )
    agent.call(run_in, ("h1", commands))
    after: Any = agent.call(read, nodes_of(desired)).namespace("h1")
    assert (after.link(port).up, after.link(port).isolated) == (False, True)
    assert [str(a.address) for a in set(after.addresses) - set(before.addresses)] == ["10.7.0.1/24"]
    assert [(str(r.via), r.metric) for r in set(after.routes) - set(before.routes)] == [("10.7.0.2", 7)]
    assert list(map(str, after.link(port).options)) == ["hairpin 1", "learning 0"]
    assert list(map(str, after.link(bridge).options)) == ["stp_state 1", "forward_delay 200", "ageing_time 0"]
    assert [n.mac for n in after.neighbours] == ["02:00:00:00:00:07"]
    assert {s.value for s in set(after.sysctls) - set(before.sysctls)} == {"2"}
    assert after.tables[-1].chains[0].rules[0].text == "tcp dport 22 drop"


def test_a_listing_is_taken_apart() -> None:
    first, second = tables(LISTING)
    (chain,) = first.chains
    assert (first.family, second.name, second.chains) == ("inet", "empty", ())
    assert chain.hook == "type filter hook input priority filter + 5; policy drop;"
    assert [(s.name, s.kind, s.type, s.elements) for s in first.sets] == [
        ("s", "set", "inet_service", ("22", "80")),
        ("m", "map", "inet_service : verdict", ("22 : accept", "80 : drop")),
    ]
    assert [(rule.text, rule.comment) for rule in chain.rules] == [
        ("tcp dport @s accept", "by set"),
        ('counter name "n" drop', ""),
    ]


def test_an_ordinary_user_reads_too(ordinary_user: list[str]) -> None:
    done = subprocess.run([*ordinary_user, __file__], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("same\n", 0), done.stderr


def main() -> None:
    """Read a lab back, for the test above."""
    desired = compile_topology(Topology.parse(TWO_HUBS, "X-user.yaml"))
    for agent in up(desired):
        present = agent.call(read, nodes_of(desired))
    same = all(set(present.namespace(n.name).links) == set(n.links) for n in desired.namespaces)
    sys.stdout.write("same\n" if same else "different\n")


if __name__ == "__main__":
    main()


OF_A_DEVICE = {
    "ipv4": "forwarding rp_filter accept_local route_localnet proxy_arp arp_filter arp_ignore",
    "ipv6": "forwarding force_forwarding accept_ra hop_limit disable_ipv6",
}


def as_listed(netlink: Netlink, device: str) -> dict[str, str]:
    links = map(read_messages.link, (body for _, body in netlink.dump(read_messages.dump(GET_LINKS))))
    return dict(device_settings([link for link in links if link.name == device]))


def set_one_by_one(spaces: Spaces, device: str) -> list[tuple[str, str | None, str | None]]:
    """Return each setting of a device, what it was set to, and what is listed; None: there is none."""
    found: list[tuple[str, str | None, str | None]] = []
    with spaces.inside("a"), Netlink() as netlink:
        for family, keys in OF_A_DEVICE.items():
            for key in (f"net/{family}/conf/{device}/{name}" for name in keys.split()):
                before = spaces.settings.read(key)
                if before is None:
                    found.append((key, None, as_listed(netlink, device).get(key)))
                    continue
                value = "77" if "hop_limit" in key else str(1 - int(before))
                spaces.settings.write((Sysctl(key, value),))
                found.append((key, value, as_listed(netlink, device).get(key)))
                spaces.settings.write((Sysctl(key, before),))
    return found


def test_settings_of_devices_are_those_of_their_files() -> None:
    for agent in up(compile_topology(Topology.parse(TWO_HUBS))):
        found = agent.call(set_one_by_one, "eth0")
        assert len(found) == 12
        for key, value, listed in found:
            assert listed == value, key
