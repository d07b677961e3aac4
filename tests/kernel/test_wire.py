"""The wire on real namespaces: what it sends arrives, what it says it saw was there, and lies are found.

Each test has a scratch lab of its own, which ends with its agent.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import Counter
from ipaddress import ip_address
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
import taps
from judged import probe
from msgspec.structs import replace

from vnetlab import names, plan
from vnetlab.compile import compile_topology
from vnetlab.guarantees import Flow, Guarantee, Outcome, Protocol, Seen, Special, Verdict, VerdictKind
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.apply import apply
from vnetlab.kernel.ready import wait_ready
from vnetlab.probe.flight import Listener
from vnetlab.probe.judge import judge
from vnetlab.probe.listeners import Ears
from vnetlab.probe.trial import plan_flight
from vnetlab.topology.model import Family, Topology

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vnetlab.kernel.spaces import Spaces

pytestmark = pytest.mark.kernel

HOLDS, BROKEN, INCONCLUSIVE = VerdictKind.HOLDS, VerdictKind.BROKEN, VerdictKind.INCONCLUSIVE
PAIR = """
hosts:
  hv:
    nics: {{eth0: lan}}
    networks:
      cell: {{mode: isolated, subnets: [10.2.0.0/24, "fd00:2::/64"]}}
      den: {{mode: isolated, subnets: [10.3.0.0/24, "fd00:3::/64"]}}
    vms:
      a: cell
      b: {{networks: [cell], backend: {backend}}}
      lone: den
segments: {{lan: {{subnets: [192.0.2.0/24]}}}}
machines: {{peer: lan}}
"""


@pytest.fixture(params=["namespace", pytest.param("tap", marks=taps.needed)])
def topology(request: pytest.FixtureRequest) -> Topology:
    return Topology.parse(PAIR.format(backend=request.param), "P-pair.yaml")


@pytest.fixture
def agent(topology: Topology) -> Iterator[Agent]:
    yield from up(topology)


def up(topology: Topology) -> Iterator[Agent]:
    state = compile_topology(topology)
    with Agent(None) as agent:
        agent.call(apply, plan.build(state))
        agent.call(wait_ready, state)
        yield agent


def flows(topology: Topology, source: str, destination: str) -> Iterator[tuple[Flow, Seen]]:
    """Every kind of flow between two VMs of one network, and how it has to look on arrival."""
    mine, theirs = topology.vms[source].nics[0], topology.vms[destination].nics[0]
    for family in Family:
        source_address, target = mine.address(family), theirs.address(family)
        assert source_address is not None
        assert target is not None
        base = Flow(
            family, Protocol.ICMP, target.ip, source_address.ip, 4000, out_nic="eth0", next_hop_mac=theirs.mac
        )
        seen = Seen("eth0", source_address.ip, mine.mac, 64, destination_address=target.ip)
        yield replace(base, protocol=Protocol.RESOLUTION, next_hop_mac=""), Seen(source_mac=theirs.mac)
        yield base, seen
        yield replace(base, protocol=Protocol.TCP, destination_port=7000), seen
        yield replace(base, protocol=Protocol.UDP, destination_port=7000), seen
        yield replace(base, protocol=Protocol.UDP, destination_port=7001, answer=False), seen
        fragments = replace(base, protocol=Protocol.UDP, destination_port=7002)
        yield replace(fragments, size=3000, special=Special.FRAGMENTS), seen


def between(topology: Topology, *pairs: tuple[str, str], **changes: Any) -> tuple[Guarantee, ...]:
    made = [
        Guarantee("x", "isolated", "", a, b, flow, Outcome.DELIVERED, "it is so", seen, answered=flow.answer)
        for a, b in pairs
        for flow, seen in flows(topology, a, b)
    ]
    return tuple(replace(one, **changes) for one in made)


def denied(topology: Topology, source: str, destination: str) -> tuple[Guarantee, ...]:
    return between(topology, (source, destination), expected=Outcome.SILENT, seen=None, answered=False)


def kinds(verdicts: Iterable[Verdict]) -> Counter[VerdictKind]:
    return Counter(verdict.kind for verdict in verdicts)


def run_in(spaces: Spaces, job: tuple[str, str]) -> None:
    """Run a shell command in a node's namespace."""
    node, command = job
    with spaces.inside(node):
        subprocess.run(["sh", "-c", command], check=True, capture_output=True)


def test_what_is_allowed_arrives_with_every_field(topology: Topology, agent: Agent) -> None:
    guarantees = between(topology, ("a", "b"), ("b", "a"))
    verdicts = probe(agent, topology, guarantees)
    assert [v.reason for v in verdicts if v.kind is not HOLDS] == []
    assert {v.observed for v in verdicts} == {Outcome.DELIVERED}


def test_a_lone_vm_is_proved_isolated_by_controls_at_its_port(topology: Topology, agent: Agent) -> None:
    nobody = (*denied(topology, "a", "lone"), *denied(topology, "lone", "b"))
    verdicts = probe(agent, topology, (*nobody, *between(topology, ("a", "b"))))
    assert [v.reason for v in verdicts if v.kind is not HOLDS] == []
    ports = [v for v in verdicts if any("its own port" in line for line in v.evidence)]
    assert len(ports) == len(nobody)


def test_a_leak_is_found_though_nobody_answers(topology: Topology, agent: Agent) -> None:
    """The two networks are joined by a cable, as a wrong compiler might."""
    host = topology.hosts["hv"]
    cell, den = (names.network_bridge(host, host.networks[n]) for n in ("cell", "den"))
    cable = (
        f"ip link add p0 type veth peer name p1; ip link set p0 up master {cell};"
        f"ip link set p1 up master {den}"
    )
    agent.call(run_in, ("hv", cable))
    guarantees = (*between(topology, ("a", "b")), *denied(topology, "a", "lone"))
    verdicts = probe(agent, topology, guarantees)
    leaks = verdicts[len(between(topology, ("a", "b"))) :]
    assert kinds(leaks) == {BROKEN: len(leaks)}
    assert {v.observed for v in leaks} == {Outcome.DELIVERED}


def test_a_sender_whose_link_is_down_proves_nothing(topology: Topology, agent: Agent) -> None:
    agent.call(run_in, ("lone", "ip link set eth0 down"))
    guarantees = (*between(topology, ("a", "b")), *denied(topology, "lone", "b"))
    verdicts = probe(agent, topology, guarantees)[len(between(topology, ("a", "b"))) :]
    assert HOLDS not in kinds(verdicts)


def test_a_dropped_answer_is_told_from_a_dropped_request(topology: Topology, agent: Agent) -> None:
    if topology.vms["b"].backend == "tap":
        host, rule = "hv", f'iifname "{names.port("b", "eth0")}" udp sport 7000 drop'
        hook = "table bridge t { chain c { type filter hook prerouting priority 0; %s; }; }"
    else:
        host, rule = "b", "udp sport 7000 drop"
        hook = "table inet t { chain c { type filter hook output priority 0; %s; }; }"
    agent.call(run_in, (host, f"nft '{hook % rule}'"))
    verdicts = probe(agent, topology, between(topology, ("a", "b")))
    broken = [v for v in verdicts if v.kind is BROKEN]
    assert len(broken) == 2
    assert all("answer did not reach a" in v.reason for v in broken)
    assert {v.observed for v in broken} == {Outcome.DELIVERED}


def test_a_closed_port_refuses(topology: Topology, agent: Agent) -> None:
    guarantees = tuple(
        replace(one, expected=Outcome.REFUSED, answered=False)
        for one in between(topology, ("a", "b"))
        if one.flow.protocol is Protocol.TCP
        or (one.flow.protocol is Protocol.UDP and one.flow.answer and not one.flow.size)
    )
    verdicts = probe(agent, topology, guarantees)
    assert [v.reason for v in verdicts if v.kind is not HOLDS] == []


@pytest.mark.parametrize("topology", ["namespace"], indirect=True)
def test_a_program_of_the_users_keeps_its_port(topology: Topology, agent: Agent) -> None:
    agent.call(occupy, ("b", 7000))
    verdicts = probe(agent, topology, between(topology, ("a", "b")))
    found = {(v.guarantee.flow.protocol, v.guarantee.flow.destination_port): v.kind for v in verdicts}
    assert found[Protocol.TCP, 7000] is HOLDS
    assert found[Protocol.UDP, 7000] is INCONCLUSIVE
    assert found[Protocol.UDP, 7001] is HOLDS


def occupy(spaces: Spaces, job: tuple[str, int]) -> None:
    """Listen on a port of both protocols as long as the agent lives."""
    node, port = job
    with spaces.inside(node):
        OCCUPANTS.append(socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True))
        datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        datagrams.bind(("::", port))
        OCCUPANTS.append(datagrams)


OCCUPANTS: list[socket.socket] = []


@taps.needed
def test_a_tap_that_has_a_guest_is_unavailable() -> None:
    topology = Topology.parse(PAIR.format(backend="tap"), "P-busy.yaml")
    for agent in up(topology):
        agent.call(hold_tap, names.port("b", "eth0"))
        verdicts = probe(agent, topology, between(topology, ("a", "b")))
        assert kinds(verdicts) == {VerdictKind.UNAVAILABLE: len(verdicts)}
        assert "busy" in verdicts[0].reason


def hold_tap(spaces: Spaces, device: str) -> None:
    """Be a guest on a tap of the host."""
    from vnetlab.kernel.tap import attach

    with spaces.inside("hv"):
        HELD.append(attach(device))


HELD: list[int] = []


def test_a_host_sends_by_its_own_routes_and_hears_behind_its_own_filter(
    topology: Topology, agent: Agent
) -> None:
    nic = topology.hosts["hv"].nics["eth0"]
    peer = topology.machines["peer"].nics[0]
    own, theirs = nic.address(Family.IPV4), peer.address(Family.IPV4)
    assert own is not None
    assert theirs is not None
    out = Flow(Family.IPV4, Protocol.UDP, theirs.ip, None, 4100, 7000)
    back = Flow(
        Family.IPV4, Protocol.UDP, own.ip, theirs.ip, 4101, 7000, out_nic="eth0", next_hop_mac=nic.mac
    )
    there = Guarantee(
        "x", "", "", "hv", "peer", out, Outcome.DELIVERED, "p", Seen("eth0", own.ip, nic.mac, 64)
    )
    here = Guarantee(
        "x", "", "", "peer", "hv", back, Outcome.DELIVERED, "p", Seen("eth0", theirs.ip, peer.mac)
    )
    both = tuple(replace(one, answered=True) for one in (there, here))
    assert [v.reason for v in probe(agent, topology, both) if v.kind is not HOLDS] == []
    table = "table inet p { chain c { type filter hook input priority 500; udp dport 7000 drop; }; }"
    agent.call(run_in, ("hv", f"nft '{table}'"))
    outward, inward = probe(agent, topology, both)
    assert outward.kind is HOLDS
    assert (inward.kind, inward.observed) == (BROKEN, Outcome.SILENT)


@pytest.mark.parametrize("topology", ["namespace"], indirect=True)
def test_a_router_advertisement_that_is_believed_is_found(topology: Topology, agent: Agent) -> None:
    flow = Flow(
        Family.IPV6, Protocol.ICMP, ip_address("ff02::1"), ip_address("fe80::2"),
        answer=False, special=Special.ADVERTISEMENT, out_nic="eth0", next_hop_mac="33:33:00:00:00:01",
    )  # fmt: skip
    advertised = Guarantee("x", "isolated", "", "a", "b", flow, Outcome.SILENT, "p")
    guarantees = (advertised, *between(topology, ("a", "b"), ("b", "a")))
    assert probe(agent, topology, guarantees)[0].kind is HOLDS
    agent.call(run_in, ("b", "echo 2 > /proc/sys/net/ipv6/conf/eth0/accept_ra"))
    believed = probe(agent, topology, guarantees)[0]
    assert (believed.kind, believed.observed) == (BROKEN, Outcome.DELIVERED)


@pytest.mark.alone  # the flood may overflow the machine's backlog, which proves nothing to other flights
def test_captures_that_overflow_are_noticed() -> None:
    """A flight that does not read between shots loses packets, and then no `no` may hold."""
    topology = Topology.parse(PAIR.format(backend="namespace"), "P-flood.yaml")
    flow, seen = list(flows(topology, "a", "b"))[4]
    flood = tuple(
        Guarantee("x", "isolated", "", "a", "b", one, Outcome.DELIVERED, "it is so", seen)
        for one in (replace(flow, source_port=5000 + i, size=1400) for i in range(12_000))
    )
    guarantees = (*denied(topology, "a", "lone"), *flood)
    flight = plan_flight(topology, guarantees)
    for agent in up(topology):
        verdicts = judge(guarantees, flight, agent.call(fly_without_reading, flight))
        assert kinds(v for v in verdicts if v.guarantee.expected is Outcome.SILENT) == {INCONCLUSIVE: 12}
        found = kinds(verdicts)
        assert found[BROKEN] == 0
        assert found[INCONCLUSIVE] > 12
        calm = probe(agent, topology, guarantees)
        assert kinds(calm) == {HOLDS: len(guarantees)}


def fly_without_reading(spaces: Spaces, flight: Any) -> Any:
    """Fly with chunks so large that no capture is read before the last shot of a block."""
    from vnetlab.probe import sending, wire

    before = sending.CHUNK
    sending.CHUNK = 1_000_000
    try:
        return wire.fly(spaces, flight)
    finally:
        sending.CHUNK = before


def test_half_open_connections_are_soon_given_up() -> None:
    """What is sent again and again for half a minute moves counters that no flow of a flight moved."""
    ears = Ears(Listener("any", "tcp", 0), nonce=1)
    tries = [sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT) for sock in ears.sockets]
    ears.close()
    assert set(tries) == {1}


def test_neighbour_tables_do_not_limit_a_flight() -> None:
    """Forty machines that answer each other need 1,560 entries of a table of 1,024."""
    text = "hosts:\n  hv:\n    networks: {cell: {mode: isolated, subnets: [10.2.0.0/16]}}\n    vms:\n"
    topology = Topology.parse(text + "".join(f"      m{i}: cell\n" for i in range(40)), "P-forty.yaml")
    guarantees = tuple(
        one
        for a, b in permutations(topology.vms, 2)
        for one in [
            Guarantee("x", "isolated", "", a, b, flow, Outcome.DELIVERED, "p", seen, answered=True)
            for flow, seen in ipv4_echo(topology, a, b)
        ]
    )
    for agent in up(topology):
        verdicts = probe(agent, topology, guarantees)
        assert kinds(verdicts) == {HOLDS: 40 * 39}


def ipv4_echo(topology: Topology, source: str, destination: str) -> Iterator[tuple[Flow, Seen]]:
    mine, theirs = topology.vms[source].nics[0], topology.vms[destination].nics[0]
    own, target = mine.address(Family.IPV4), theirs.address(Family.IPV4)
    assert own is not None
    assert target is not None
    yield (
        Flow(Family.IPV4, Protocol.ICMP, target.ip, own.ip, 7, out_nic="eth0", next_hop_mac=theirs.mac),
        Seen("eth0", own.ip, mine.mac, 64),
    )


def test_an_ordinary_user_probes_too(ordinary_user: list[str]) -> None:
    done = subprocess.run([*ordinary_user, __file__], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("holds 24\n", 0), done.stderr


def main() -> None:
    """Probe a pair, for the test above."""
    topology = Topology.parse(PAIR.format(backend="namespace"), "P-user.yaml")
    for agent in up(topology):
        verdicts = probe(agent, topology, between(topology, ("a", "b"), ("b", "a")))
        for kind, count in kinds(verdicts).items():
            sys.stdout.write(f"{kind} {count}\n")


if __name__ == "__main__":
    main()
