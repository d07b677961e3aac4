"""Model and kernel side by side: a lab is changed by hand, and both say the same of every flow.

What the lab is by then is read back; the model of that is asked, and packets are sent.
"""

from __future__ import annotations

import subprocess
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pytest
import taps
from judged import probe

from vnetlab import names, plan
from vnetlab.compile import compile_topology
from vnetlab.guarantees import VerdictKind
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.apply import apply
from vnetlab.kernel.read import nodes_of, read
from vnetlab.kernel.ready import wait_ready
from vnetlab.modes import guarantees_for
from vnetlab.predict.matrix import predict
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from vnetlab.guarantees import Verdict
    from vnetlab.kernel.spaces import Spaces
    from vnetlab.predict.journey import Prediction

pytestmark = pytest.mark.kernel

LAB = """
name: X-lab
segments:
  lan: {subnets: [192.0.2.0/24, "2001:db8:1::/64"]}
  far: {subnets: [198.51.100.0/24, "2001:db8:2::/64"]}
hosts:
  hv:
    nics: {eth0: {segment: lan, addresses: [192.0.2.10/24, "2001:db8:1::10/64"]}}
    networks:
      office: {mode: bridge, uplink: eth0}
      vault: {mode: isolated, subnets: [10.10.0.0/24]}
      dmz: {mode: routed, uplink: eth0, subnets: [10.20.0.0/24, "fd00:20::/64"]}
      bench: {mode: host-only, subnets: [10.30.0.0/24]}
      home:
        mode: nat
        uplink: eth0
        subnets: [10.40.0.0/24, "fd00:40::/64"]
        forwards: [{protocol: tcp, port: 8080, to: web, to_port: 80}]
    vms:
      desk: office
      safe1: vault
      safe2: {networks: [vault], backend: TAP}
      www: dmz
      tool: bench
      web: home
      kiosk: {networks: [home, bench]}
machines:
  peer: {segment: lan}
  gw: {segments: [lan, far], router: true}
  remote: {segment: far}
"""


class Change(NamedTuple):
    """What is done to which node; ``{dmz}`` is the network's bridge, ``{www}`` the VM's port."""

    node: str
    command: str


def table(family: str, hook: str, *rules: str, sets: tuple[str, ...] = ()) -> str:
    """Return the command that adds a table of one base chain and a chain `d` to jump to."""
    lines = [f"add table {family} x", f"add chain {family} x d", f"add chain {family} x c {{ type {hook} }}"]
    lines += [f"add {kind} {family} {rest}" for kind, _, rest in (each.partition(" ") for each in sets)]
    return f"nft '{'; '.join([*lines, *(f'add rule {family} x {rule}' for rule in rules)])}'"


FORWARD = "filter hook forward priority 0; policy accept;"
PREROUTING = "filter hook prerouting priority -50; policy accept;"
CHANGES = {
    "no-ipv4-forwarding": Change("hv", "echo 0 > /proc/sys/net/ipv4/conf/{office}/forwarding"),
    "no-ipv6-forwarding": Change("hv", "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding"),
    "no-guard": Change("hv", "nft flush chain inet vnetlab guard"),
    "no-forward-rules": Change("hv", "nft flush chain inet vnetlab forward"),
    "no-input-rules": Change("hv", "nft flush chain inet vnetlab input"),
    "no-translation": Change("hv", "nft flush chain inet vnetlab srcnat"),
    "leaks": Change("hv", "nft 'flush chain inet vnetlab srcnat; flush chain inet vnetlab leak'"),
    "no-forwards": Change("hv", "nft flush chain inet vnetlab dstnat"),
    "no-rules": Change("hv", "nft flush ruleset"),
    "no-wall": Change("hv", "nft delete table netdev vnetlab"),
    "port-on-another-bridge": Change("hv", "ip link set {tool-port} master {dmz}"),
    "port-down": Change("hv", "ip link set {www-port} down"),
    "ports-isolated": Change("hv", "for d in {desk-port} eth0; do bridge link set dev $d isolated on; done"),
    "no-route-back": Change("gw", "ip route del 10.20.0.0/24; ip -6 route del fd00:20::/64"),
    "next-hop-nobody": Change("gw", "ip route replace 10.20.0.0/24 via 192.0.2.99"),
    "arp-flux": Change("hv", "for f in /proc/sys/net/ipv4/conf/*/arp_ignore; do echo 0 > $f; done"),
    "host-in-the-vault": Change(
        "hv", "nft delete table netdev vnetlab; ip addr add 10.10.0.1/24 dev {vault}"
    ),
    "wrong-neighbour": Change(
        "hv", "ip neigh replace {www} lladdr 02:00:00:00:00:77 nud permanent dev {dmz}"
    ),
    "header-fields": Change(
        "gw",
        table(
            "inet",
            FORWARD,
            "c ip ttl < 63 drop",
            "c ip6 hoplimit 62 drop",
            "c tcp dport 49401 reject with tcp reset",
            "c icmp type { echo-request, 17 } ip daddr 10.20.0.0/24 reject with icmp host-prohibited",
        ),
    ),
    "jumps-and-marks": Change(
        "hv",
        table(
            "ip",
            PREROUTING,
            "d meta mark 7 drop",
            "c meta l4proto vmap { icmp : continue, udp : drop, tcp : jump d }",
            "c icmp type echo-reply drop",
            "c meta mark set 7",
        ),
    ),
    "goto-returns-to-policy": Change(
        "hv",
        table("inet", FORWARD, "d tcp dport 49401 drop", "d udp dport 1-49402 return", "c goto d", "c drop"),
    ),
    "bridge-family": Change(
        "hv",
        table(
            "bridge",
            "filter hook prerouting priority 0; policy accept;",
            "c ether type arp accept",
            "c ip6 nexthdr icmpv6 accept",
            "c ip protocol { tcp, udp } drop",
        ),
    ),
    "conntrack": Change(
        "hv",
        table(
            "inet",
            FORWARD,
            "c ct state established ct direction reply udp sport 49402 drop",
            "c ct state new tcp flags & (syn|ack) == syn ip saddr . tcp dport { 10.40.0.0/24 . 49401 } drop",
        ),
    ),
    "untracked": Change(
        "hv",
        table("inet", "filter hook prerouting priority -310; policy accept;", "c udp dport 49402 notrack"),
    ),
    "output-filter": Change(
        "hv",
        table(
            "inet",
            "filter hook output priority 0; policy accept;",
            "c icmp type destination-unreachable drop",
            "c udp dport 49403 reject",
        ),
    ),
    "snat": Change(
        "hv",
        table(
            "ip",
            "nat hook postrouting priority 99; policy accept;",
            'c ip saddr 10.20.0.0/24 udp dport 49402 oifname "{office}" snat to 192.0.2.10:40000-41000',
        ),
    ),
    "dnat-to-another": Change(
        "hv",
        table(
            "ip",
            "nat hook prerouting priority -110; policy accept;",
            "c ip daddr 192.0.2.10 udp dport 49402 dnat to {www}",
        ),
    ),
    "sets-and-maps": Change(
        "hv",
        table(
            "inet",
            FORWARD,
            "c ip daddr @near tcp dport @ports drop",
            "c udp dport vmap @voted",
            sets=(
                "set x ports { type inet_service; flags interval; elements = { 80, 49400-49401 }; }",
                "set x near { type ipv4_addr; flags interval; elements = { 10.20.0.0/24, 192.0.2.0/24 }; }",
                "map x voted { type inet_service : verdict; elements = { 49402 : accept, 49403 : jump d }; }",
            ),
        ),
    ),
    "fib": Change(
        "hv",
        table(
            "inet",
            PREROUTING,
            "c fib saddr . iif oif missing drop",
            "c fib daddr . iif type local udp dport 49402 drop",
        ),
    ),
}


@cache
def topology() -> Topology:
    backend = "tap" if taps.OPEN else "namespace"
    return Topology.parse(LAB.replace("TAP", backend), "X-lab.yaml")


def filled_in(command: str) -> str:
    """Return a command with the names of bridges, ports and addresses in it."""
    host = topology().hosts["hv"]
    words = {f"{{{n}}}": names.network_bridge(host, network) for n, network in host.networks.items()}
    for vm in topology().vms.values():
        words[f"{{{vm.name}-port}}"] = names.port(vm.name, "eth0")
        words[f"{{{vm.name}}}"] = str(vm.nics[0].addresses[0].ip)
    for word, value in words.items():
        command = command.replace(word, value)
    return command


def run_in(spaces: Spaces, change: Change) -> None:
    """Run a shell command in a node's namespace."""
    with spaces.inside(change.node):
        done = subprocess.run(["sh", "-c", change.command], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def changed(change: Change) -> tuple[tuple[Verdict, ...], tuple[Prediction, ...]]:
    """Return what packets and what the model say of the lab after a change."""
    desired, guarantees = compile_topology(topology()), guarantees_for(topology())
    nodes = nodes_of(desired)
    with Agent(None) as agent:
        agent.call(apply, plan.build(desired))
        agent.call(wait_ready, desired)
        agent.call(run_in, Change(change.node, filled_in(change.command)))
        present = agent.call(read, nodes)
        verdicts = probe(agent, topology(), guarantees)
    return verdicts, predict(topology(), present, guarantees)


@pytest.mark.parametrize("name", CHANGES)
def test_model_and_packets_agree(name: str) -> None:
    verdicts, predictions = changed(CHANGES[name])
    pairs = [(v, p) for v, p in zip(verdicts, predictions, strict=True) if v.observed is not None]
    known = [(v, p) for v, p in pairs if p.outcome is not None]
    wrong = [
        (v.guarantee.id, v.guarantee.flow, v.observed, v.reason, p.outcome, p.reason)
        for v, p in known
        if v.observed is not p.outcome
    ]
    assert wrong == []
    assert len(known) >= 0.95 * len(verdicts)
    # A change that changes nothing would show nothing.
    assert any(v.kind is VerdictKind.BROKEN for v, _ in known)
