"""The known traps of virtual networks, each with a lab in which it is laid.

Every trap is tried twice: the honest lab must hold the guarantee that names it, and the same lab with the
trap's cause put back must be reported broken by that guarantee.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import pytest
import sabotage as s
import taps
from machine import left_behind
from msgspec.structs import replace

from vnetlab import Lab, Topology
from vnetlab.compile import compile_topology
from vnetlab.guarantees import Outcome, Verdict, VerdictKind
from vnetlab.state import NftChain, NftRule, NftTable, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BRIDGE_NETFILTER = "net/bridge/bridge-nf-call-iptables"


@dataclass(frozen=True)
class Trap:
    number: int
    title: str
    file: str
    guarantee: str
    causes: dict[str, Callable[[State], State]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.number}-{self.title.replace(' ', '-')}"


def _masquerade_everything(state: State) -> State:
    """Bridged frames meet the IP hooks, and the translation does not look where they go."""
    state = s.with_sysctl(state, "hv1", BRIDGE_NETFILTER, "1")
    state = s.with_rule(state, "hv1", "forward", "ip saddr 10.40.0.0/24 ip daddr 10.40.0.0/24 accept")
    return s.with_rule(state, "hv1", "srcnat", "ip saddr 10.40.0.0/24 masquerade")


def _uplink_in_private_bridge(state: State) -> State:
    bridge = s.bridge_of(state, "hv1", "hv1.home")
    return s.with_link(
        state, "hv1", lambda link: link.name == "eth0", lambda link: replace(link, master=bridge)
    )


def _wall_with_holes(state: State) -> State:
    bridge = s.bridge_of(state, "hv1", "hv1.vault")
    state = s.without_tables(state, "hv1", "netdev")
    return s.with_sysctl(state, "hv1", f"net/ipv6/conf/{bridge}/disable_ipv6", "0")


def _wall_missing(state: State) -> State:
    return s.without_tables(state, "hv1", "netdev")


def _bridged_frames_are_routed(state: State) -> State:
    """Do to bridged frames what a firewall on the host does once bridge netfilter is on."""
    hook = "type filter hook forward priority filter; policy drop;"
    none = NftChain("forward", hook, (NftRule('iifname "none" drop', "none"),))
    state = s.with_table(state, "hv1", NftTable("inet", "firewall", (none,)))
    return s.with_sysctl(state, "hv1", BRIDGE_NETFILTER, "1")


def _lowest_mac_wins(state: State) -> State:
    """Leave the bridge its own choice of MAC, and let a VM's port have the lowest."""
    state = s.with_link(
        state,
        "hv1",
        lambda link: link.altname == "hv1.eth0.switch",
        lambda link: replace(link, mac=""),
    )
    return s.with_link(
        state,
        "hv1",
        lambda link: link.altname == "early.eth0",
        lambda link: replace(link, mac="02:00:00:00:00:02"),
    )


def _listens_to_advertisements(state: State) -> State:
    device = next(link.name for link in state.namespace("hv1").links if link.altname == "hv1.eth0.switch")
    return s.with_sysctl(state, "hv1", f"net/ipv6/conf/{device}/accept_ra", "2")


def _kiosk_routes(state: State) -> State:
    for device in ("eth0", "eth1"):
        state = s.with_sysctl(state, "kiosk", f"net/ipv4/conf/{device}/forwarding", "1")
    return state


def _macs_without_the_host(state: State) -> State:
    """MACs made of the network's and the port's name alone are the same on both hosts."""
    mac = state.namespace("east-desk").links[0].mac
    return s.with_link(state, "west-desk", lambda _: True, lambda link: replace(link, mac=mac))


def _translation_unbound(state: State) -> State:
    """Name no uplink in the filter: what prefers the other NIC leaves there, untranslated."""
    state = s.reworded(state, "hv1", "forward", 'oifname "eth0" ip saddr 10.40', "ip saddr 10.40")
    return s.with_rule(state, "hv1", "forward", 'iifname "eth1" ct state established accept')


def _filter_bound_translation_elsewhere(state: State) -> State:
    return s.reworded(
        state, "hv1", "srcnat", 'oifname "eth0" ip saddr 10.40', 'oifname "eth1" ip saddr 10.40'
    )


def _untracked_leave(state: State) -> State:
    state = s.without_rules(state, "hv1", "forward", "would leave untranslated")
    return s.without_rules(state, "hv1", "leak", "nothing leaves untranslated")


TRAPS = (
    Trap(
        1,
        "static route into a NAT network",
        "nat.yaml",
        "nat.unsolicited-inbound",
        {"no filter": lambda state: s.open_door(state, "hv1", "home")},
    ),
    Trap(
        2,
        "two NAT networks of one host",
        "forwards.yaml",
        "nat.to-nat-network",
        {"no filter": lambda state: s.open_door(state, "hv1", "other")},
    ),
    Trap(
        3,
        "host-only beside NAT gets out",
        "host-only.yaml",
        "host-only.outbound",
        {"no filter": lambda state: s.open_door(state, "hv1", "bench")},
    ),
    Trap(
        4,
        "isolated VM gets an answer from the bridge",
        "isolated.yaml",
        "isolated.host-absent",
        {"no wall": _wall_with_holes},
    ),
    Trap(
        4,
        "isolated VM reaches an address of the host",
        "isolated.yaml",
        "isolated.host-lan-address",
        {"no wall": _wall_missing},
    ),
    Trap(
        5,
        "NAT within the network",
        "nat.yaml",
        "nat.same-network",
        {"bridge netfilter": _masquerade_everything},
    ),
    Trap(
        6,
        "traceroute without its errors",
        "nat.yaml",
        "nat.ttl-exceeded",
        {"only established": lambda state: s.reworded(state, "hv1", "forward", ",related", "")},
    ),
    Trap(
        6,
        "path MTU discovery without its errors",
        "nat.yaml",
        "nat.fragmentation-needed",
        {"only established": lambda state: s.reworded(state, "hv1", "forward", ",related", "")},
    ),
    Trap(
        7,
        "broadcast of a NAT network on the LAN",
        "host-only.yaml",
        "nat.broadcast-scope",
        {"uplink in the bridge": _uplink_in_private_bridge},
    ),
    Trap(
        7,
        "multicast of a NAT network on the LAN",
        "host-only.yaml",
        "nat.multicast-scope",
        {"uplink in the bridge": _uplink_in_private_bridge},
    ),
    Trap(
        8,
        "ARP flux",
        "nat.yaml",
        "nat.address-not-on-lan",
        {
            "arp_ignore": lambda state: s.with_sysctl(
                s.with_sysctl(state, "hv1", "net/ipv4/conf/all/arp_ignore", "0"),
                "hv1",
                "net/ipv4/conf/default/arp_ignore",
                "0",
            )
        },
    ),
    Trap(
        9,
        "peer without a return route",
        "routed.yaml",
        "routed.outbound",
        {
            "return route": lambda state: s.with_route(state, "stranger", "peer", "10.20.0.0/24"),
            "masquerade": lambda state: s.with_table(
                state,
                "hv1",
                NftTable(
                    "ip",
                    "hidden",
                    (
                        NftChain(
                            "srcnat",
                            "type nat hook postrouting priority srcnat; policy accept;",
                            (NftRule('oifname "eth0" ip saddr 10.20.0.0/24 masquerade', "sabotage"),),
                        ),
                    ),
                ),
            ),
        },
    ),
    Trap(
        10,
        "a blocked connect looks like a closed port",
        "nat.yaml",
        "nat.to-nat-network",
        {
            "reset": lambda state: s.with_rule(
                state, "hv1", "forward", "meta l4proto tcp reject with tcp reset"
            )
        },
    ),
    Trap(
        11,
        "uplink binds the filter or the translation alone",
        "nat.yaml",
        "nat.outbound",
        {
            "filter unbound": _translation_unbound,
            "translation elsewhere": _filter_bound_translation_elsewhere,
        },
    ),
    Trap(
        1,
        "untracked packets leave untranslated",
        "host-only.yaml",
        "nat.untracked",
        {"no filter of them": _untracked_leave},
    ),
    Trap(
        12,
        "forward without hairpin",
        "forwards.yaml",
        "nat.forward-hairpin",
        {
            "no masquerade": lambda state: s.without_rules(
                state, "hv1", "srcnat", "answer by way of the host"
            ),
        },
    ),
    Trap(
        12,
        "forward not for the host itself",
        "forwards.yaml",
        "nat.forward-from-host",
        {"no output hook": lambda state: s.without_rules(state, "hv1", "dstnat-local", "from the host")},
    ),
    Trap(
        12,
        "forward opens the VM's own port",
        "forwards.yaml",
        "nat.forward-not-direct",
        {"any status": lambda state: s.reworded(state, "hv1", "forward", "ct status dnat ", "")},
    ),
    Trap(
        13,
        "bridge takes a VM's MAC",
        "bridge.yaml",
        "segment.to-host",
        {"mac unset": _lowest_mac_wins},
    ),
    Trap(
        14,
        "bridge mode needs forwarding",
        "bridge.yaml",
        "bridge.inbound",
        {"bridge netfilter": _bridged_frames_are_routed},
    ),
    Trap(
        16,
        "router advertisement of a VM",
        "bridge.yaml",
        "bridge.router-advertisement",
        {"accept_ra": _listens_to_advertisements},
    ),
    Trap(
        19,
        "VM on two networks is a path",
        "five-modes.yaml",
        "vm.no-path",
        {"forwarding": _kiosk_routes},
    ),
    Trap(
        20,
        "networks of one name on two hosts",
        "two-hosts.yaml",
        "bridge.inbound",
        {"same MAC": _macs_without_the_host},
    ),
)


def _probe(file: str, change: Callable[[State], State] | None = None) -> Sequence[Verdict]:
    topology = taps.delivered(file)
    state = compile_topology(topology)
    with Lab(topology, f"trap.{os.getpid()}", state=change(state) if change else state) as lab:
        return lab.probe()


_honest = lru_cache(maxsize=None)(_probe)


@pytest.mark.kernel
@pytest.mark.parametrize("trap", TRAPS, ids=str)
def test_the_honest_lab_holds(trap: Trap) -> None:
    verdicts = [v for v in _honest(trap.file) if v.guarantee.id == trap.guarantee]
    assert verdicts, f"no guarantee {trap.guarantee} in {trap.file}"
    assert {v.kind for v in verdicts} == {VerdictKind.HOLDS}


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("trap", "cause"), [(t, c) for t in TRAPS for c in t.causes], ids=lambda value: str(value)
)
def test_the_cause_put_back_is_reported_broken(trap: Trap, cause: str) -> None:
    verdicts = [v for v in _probe(trap.file, trap.causes[cause]) if v.guarantee.id == trap.guarantee]
    assert VerdictKind.BROKEN in {v.kind for v in verdicts}


@pytest.mark.kernel
def test_trap_9_the_answers_have_no_way_back() -> None:
    found = [
        v.guarantee
        for v in _honest("routed.yaml")
        if v.guarantee.destination == "stranger" and v.guarantee.id == "routed.outbound"
    ]
    asked = [g for g in found if g.flow.answer and g.expected is Outcome.DELIVERED]
    assert asked
    assert not any(g.answered for g in asked)


@pytest.mark.kernel
def test_trap_14_the_host_of_a_bridge_does_not_forward() -> None:
    with Lab(taps.delivered("bridge.yaml"), f"trap.{os.getpid()}") as lab:
        settings = lab["hv1"].run(
            ["cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"]
        )
    assert settings.stdout.split() == ["0", "0"]


@pytest.mark.kernel
def test_trap_15_a_port_in_the_listening_state_is_reported_broken() -> None:
    """A bridge with the spanning tree protocol eats what it gets until the forward delay is over."""
    topology = taps.delivered("bridge.yaml")
    switch = s.bridge_of(compile_topology(topology), "hv1", "hv1.eth0.switch")
    with Lab(topology, f"trap.{os.getpid()}") as lab:
        for settings in (["stp_state", "1", "forward_delay", "3000"],):
            done = lab["hv1"].run(["ip", "link", "set", switch, "type", "bridge", *settings])
            assert done.returncode == 0, done.stderr
        for change in ("down", "up"):
            assert lab["hv1"].run(["ip", "link", "set", switch, change]).returncode == 0
        verdicts = [v for v in lab.probe() if v.guarantee.id == "bridge.inbound"]
    assert VerdictKind.BROKEN in {v.kind for v in verdicts}


LONG = """
hosts:
  hypervisor:
    networks: {bench: {mode: host-only, subnets: [10.30.0.0/24]}}
    vms: {machine-number-one: bench, machine-number-two: bench}
"""


@pytest.mark.kernel
def test_trap_17_down_removes_its_own_lab_and_no_other(session_mark: str) -> None:
    bystander = f"trap.{os.getpid()}.bystander"
    with Lab(taps.delivered("isolated.yaml"), bystander) as other:
        before = left_behind(session_mark, patience=0)
        with Lab(taps.delivered("nat.yaml"), f"trap.{os.getpid()}"):
            assert len(left_behind(session_mark, patience=0)) > len(before), "the check sees a lab that is up"
        after = {line.split()[0] for line in left_behind(session_mark, patience=0)}
        assert {line.split()[0] for line in before} <= after
        assert {v.kind for v in other.probe()} == {VerdictKind.HOLDS}


@pytest.mark.kernel
def test_trap_18_names_that_begin_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = Topology.parse(LONG, "long.yaml")
    with Lab(topology, f"trap.{os.getpid()}") as lab:
        assert {v.kind for v in lab.probe()} == {VerdictKind.HOLDS}
    monkeypatch.setattr("vnetlab.names.port", lambda node, nic: f"{node}.{nic}"[:15])
    again = Topology.parse(LONG, "long.yaml")
    with pytest.raises(ValueError, match="has no other end"), Lab(again, f"trap.{os.getpid()}"):
        pass
