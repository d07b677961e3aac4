"""Changes of what is there: a lab in one State becomes one in another, exactly, and back."""

from __future__ import annotations

import re
import subprocess
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from sabotage import in_chain, in_namespace, open_door, with_rule, with_sysctl, without_rules, without_tables

from vnetlab import plan
from vnetlab.compile import compile_topology
from vnetlab.kernel import writes
from vnetlab.kernel.agent import Agent
from vnetlab.kernel.apply import apply
from vnetlab.kernel.read import Node, read
from vnetlab.kernel.ready import wait_ready
from vnetlab.lab import Lab
from vnetlab.plan.wording import in_words_of
from vnetlab.state import Address, Bridge, Link, Neighbour, NftSet, State, StaticRoute, Veth
from vnetlab.switching import Option
from vnetlab.topology.model import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kernel

FILES = sorted((Path(__file__).parents[2] / "topologies").glob("*.yaml"))
HEAD = """
name: changing
segments: {lan: {subnets: [192.0.2.0/24, "2001:db8:1::/64"]}}
machines: {peer: lan}
hosts:
  hv:
    nics: {eth0: lan}
"""
PLAIN = """
    networks:
      a: {mode: MODE_A, UPLINK_A subnets: [10.1.0.0/24, "fd00:1::/64"]}
      b: {mode: MODE_B, UPLINK_B subnets: [10.2.0.0/24, "fd00:2::/64"]}
    vms: {a1: a, a2: a, b1: b}
"""


def state_of(body: str) -> State:
    return compile_topology(Topology.parse(HEAD + body, "changing.yaml"))


def of_modes(first: str, second: str) -> State:
    body = PLAIN
    for letter, mode in (("A", first), ("B", second)):
        uplink = "uplink: eth0," if mode in ("nat", "routed") else ""
        body = body.replace(f"MODE_{letter}", mode).replace(f"UPLINK_{letter}", uplink)
    return state_of(body)


NAT = state_of("""
    networks:
      home: {mode: nat, uplink: eth0, subnets: [10.1.0.0/24, "fd00:1::/64"]}
      den: {mode: host-only, subnets: [10.2.0.0/24]}
    vms: {web: home, cam: home, tool: den}
""")
BODIES = {
    "a VM less": """
    networks:
      home: {mode: nat, uplink: eth0, subnets: [10.1.0.0/24, "fd00:1::/64"]}
      den: {mode: host-only, subnets: [10.2.0.0/24]}
    vms: {web: home, tool: den}
""",
    "a network less": """
    networks:
      home: {mode: nat, uplink: eth0, subnets: [10.1.0.0/24, "fd00:1::/64"]}
    vms: {web: home, cam: home}
""",
    "a VM moved": """
    networks:
      home: {mode: nat, uplink: eth0, subnets: [10.1.0.0/24, "fd00:1::/64"]}
      den: {mode: host-only, subnets: [10.2.0.0/24]}
    vms: {web: home, cam: den, tool: den}
""",
    "a forward": """
    networks:
      home: {mode: nat, uplink: eth0, subnets: [10.1.0.0/24, "fd00:1::/64"],
             forwards: [{protocol: tcp, port: 8080, to: web, to_port: 80}]}
      den: {mode: host-only, subnets: [10.2.0.0/24]}
    vms: {web: home, cam: home, tool: den}
""",
    "port isolation": """
    networks:
      home: {mode: nat, uplink: eth0, subnets: [10.1.0.0/24, "fd00:1::/64"], port_isolation: true}
      den: {mode: host-only, subnets: [10.2.0.0/24]}
    vms: {web: home, cam: home, tool: den}
""",
    "another subnet": """
    networks:
      home: {mode: nat, uplink: eth0, subnets: [10.7.0.0/24]}
      den: {mode: host-only, subnets: [10.2.0.0/24]}
    vms: {web: home, cam: home, tool: den}
""",
    "on the LAN": """
    networks:
      home: {mode: bridge, uplink: eth0}
      den: {mode: host-only, subnets: [10.2.0.0/24]}
    vms: {web: home, cam: home, tool: den}
""",
    "another address": """
    networks:
      home: {mode: nat, uplink: eth0, subnets: [10.1.0.0/24, "fd00:1::/64"]}
      den: {mode: host-only, subnets: [10.2.0.0/24]}
    vms:
      web: {networks: {home: {addresses: [10.1.0.77/24, "fd00:1::77/64"]}}}
      cam: home
      tool: den
""",
    "nothing": "",
}


def in_links(state: State, node: str, device: str, **changes: object) -> State:
    def changed(link: Link) -> Link:
        return replace(link, **changes) if link.name == device else link

    return in_namespace(state, node, lambda n: replace(n, links=tuple(changed(li) for li in n.links)))


def first_port(state: State, node: str) -> str:
    (link,) = (li for li in state.namespace(node).links if isinstance(li, Veth))
    return link.peer


def bridge(state: State, altname: str) -> str:
    return next(li.name for li in state.namespace("hv").links if li.altname == altname)


def options(**values: int) -> tuple[Option, ...]:
    return tuple(Option(name, value) for name, value in values.items())


WEB_PORT = first_port(NAT, "web")
HOME, DEN = bridge(NAT, "hv.home"), bridge(NAT, "hv.den")
GATEWAY = StaticRoute(ip_network("10.9.0.0/16"), ip_address("10.1.0.1"), "eth0")


def without_first_address(state: State, node: str) -> State:
    return in_namespace(state, node, lambda n: replace(n, addresses=n.addresses[1:], routes=n.routes[1:]))


def with_address(state: State, node: str, device: str, *addresses: str) -> State:
    added = tuple(Address(device, ip_interface(address)) for address in addresses)
    return in_namespace(state, node, lambda n: replace(n, addresses=(*added, *n.addresses)))


def with_bridge(state: State) -> State:
    extra = Bridge(name="extra", altname="one more", mac="02:00:00:00:00:77")
    return in_namespace(state, "hv", lambda n: replace(n, links=(*n.links, extra)))


def with_set(state: State) -> State:
    found = NftSet("ports", "set", "inet_service", ("22", "80"))
    return in_namespace(
        state, "hv", lambda n: replace(n, tables=tuple(replace(t, sets=(found,)) for t in n.tables))
    )


MUTATIONS: dict[str, Callable[[State], State]] = {
    "a rule less": lambda s: without_rules(s, "hv", "forward", "LAN and beyond"),
    "a rule more": lambda s: with_rule(s, "hv", "forward", "tcp dport 9 accept"),
    "an open door": lambda s: open_door(s, "hv", "home"),
    "no guard": lambda s: in_chain(s, "hv", "guard", lambda c: replace(c, rules=())),
    "rules in another order": lambda s: in_chain(
        s, "hv", "forward", lambda c: replace(c, rules=c.rules[::-1])
    ),
    "another priority": lambda s: in_chain(
        s, "hv", "leak", lambda c: replace(c, hook=c.hook.replace("110", "120"))
    ),
    "no table": lambda s: without_tables(s, "hv", "inet"),
    "a set": with_set,
    "forwarding": lambda s: with_sysctl(s, "hv", "net/ipv4/conf/all/forwarding", "1"),
    "no forwarding": lambda s: with_sysctl(s, "hv", "net/ipv6/conf/all/forwarding", "0"),
    "ARP": lambda s: with_sysctl(s, "hv", "net/ipv4/conf/eth0/proxy_arp", "1"),
    "no IPv6": lambda s: with_sysctl(s, "web", "net/ipv6/conf/eth0/disable_ipv6", "1"),
    "no IPv6 at all": lambda s: with_sysctl(s, "web", "net/ipv6/conf/all/disable_ipv6", "1"),
    "a MAC": lambda s: in_links(s, "web", "eth0", mac="02:00:00:00:00:99"),
    "a bridge's MAC": lambda s: in_links(s, "hv", HOME, mac="02:00:00:00:00:98"),
    "an MTU": lambda s: in_links(s, "web", "eth0", mtu=1400),
    "a name": lambda s: in_links(s, "hv", WEB_PORT, altname="another name"),
    "no name": lambda s: in_links(s, "hv", WEB_PORT, altname=""),
    "a device down": lambda s: in_links(s, "web", "eth0", up=False),
    "a bridge down": lambda s: in_links(s, "hv", HOME, up=False),
    "an isolated port": lambda s: in_links(s, "hv", WEB_PORT, isolated=True),
    "a moved port": lambda s: in_links(s, "hv", WEB_PORT, master=DEN),
    "a moved and isolated port": lambda s: in_links(s, "hv", WEB_PORT, master=DEN, isolated=True),
    "a loose port": lambda s: in_links(s, "hv", WEB_PORT, master=""),
    "a bridge more": with_bridge,
    "a hub": lambda s: in_links(s, "hv", HOME, options=options(ageing_time=0, mcast_snooping=1)),
    "an odd port": lambda s: in_links(
        s, "hv", WEB_PORT, options=options(hairpin=1, learning=0, flood=0, mcast_flood=0, bcast_flood=0)
    ),
    "a moved and odd port": lambda s: in_links(
        s, "hv", WEB_PORT, master=DEN, isolated=True, options=options(learning=0, group_fwd_mask=8)
    ),
    "a metric": lambda s: in_namespace(
        s, "web", lambda n: replace(n, routes=tuple(replace(r, metric=9) for r in n.routes))
    ),
    "a route besides": lambda s: in_namespace(
        s, "web", lambda n: replace(n, routes=(*n.routes, *(replace(r, metric=9) for r in n.routes)))
    ),
    "an address more": lambda s: with_address(s, "hv", HOME, "10.1.0.9/24", "10.8.0.1/24", "fd00:8::1/64"),
    "an address less": lambda s: without_first_address(s, "web"),
    "no address": lambda s: in_namespace(s, "web", lambda n: replace(n, addresses=(), routes=())),
    "a route more": lambda s: in_namespace(s, "web", lambda n: replace(n, routes=(*n.routes, GATEWAY))),
    "another route": lambda s: in_namespace(
        s, "web", lambda n: replace(n, routes=(replace(n.routes[0], via=ip_address("10.1.0.2")),))
    ),
    "a neighbour": lambda s: in_namespace(
        s,
        "web",
        lambda n: replace(
            n,
            neighbours=(
                Neighbour("eth0", ip_address("10.1.0.1"), "02:00:00:00:00:01"),
                Neighbour("eth0", ip_address("fd00:1::1"), "02:00:00:00:00:01"),
            ),
        ),
    ),
}


UNBUILDABLE = ("no IPv6", "a device down", "a bridge down")
"""States with addresses or routes that such devices cannot have; a change leaves those out."""


def sorted_state(state: State) -> State:
    """Return a State in an order of its own: that of the kernel is that of the making."""
    spaces = []
    for n in sorted(state.namespaces, key=lambda n: n.name):
        tables = tuple(
            replace(t, chains=tuple(sorted(t.chains, key=lambda c: c.name)))
            for t in sorted(n.tables, key=lambda t: t.family)
        )
        spaces.append(
            replace(
                n,
                links=tuple(sorted(n.links, key=lambda li: li.name)),
                addresses=tuple(sorted(n.addresses, key=str)),
                neighbours=tuple(sorted(n.neighbours, key=str)),
                routes=tuple(sorted(n.routes, key=str)),
                sysctls=tuple(sorted(n.sysctls, key=str)),
                tables=tables,
            )
        )
    return State(tuple(spaces))


def present(agent: Agent, *states: State) -> State:
    kinds = {n.name: n.kind for state in states for n in state.namespaces if n.kind != "segment"}
    return sorted_state(agent.call(read, tuple(Node(name, kind) for name, kind in kinds.items())))


def settled(agent: Agent, *states: State) -> State:
    """Return what is there when every port that can forward does."""
    whole = [all(link.up for n in state.namespaces for link in n.links) for state in states]
    if whole[0]:
        agent.call(wait_ready, states[0])
    return present(agent, *states)


def built(state: State) -> State:
    with Agent(None) as agent:
        agent.call(apply, plan.build(state))
        return settled(agent, state)


@pytest.fixture
def lab() -> Iterator[Agent]:
    with Agent(None) as agent:
        yield agent


def parts(state: State) -> set[str]:
    """Return everything in a State as a line of its own, so that a failed comparison can be read."""
    found = set()
    for n in state.namespaces:
        carried = (*n.addresses, *n.neighbours, *n.routes)
        lines = (n.kind, n.beyond, *n.links, *carried, *n.sysctls, *n.tables)
        found |= {f"{n.name}: {line}" for line in lines}
    return found


def assert_equal(found: State, wanted: State) -> None:
    assert parts(found) - parts(wanted) == set()
    assert parts(wanted) - parts(found) == set()
    assert found == wanted


def there_and_back(lab: Agent, first: State, second: State, buildable: bool = True) -> None:
    lab.call(apply, plan.build(first))
    before = settled(lab, first, second)
    lab.call(apply, plan.diff(first, second))
    if buildable:
        assert_equal(settled(lab, second, first), built(second))
    else:
        assert settled(lab, second, first) != before
    lab.call(apply, plan.diff(second, first))
    assert_equal(settled(lab, first, second), before)
    assert plan.diff(first, first).steps == ()
    assert plan.diff(second, second).steps == ()


@pytest.mark.parametrize("name", BODIES)
def test_a_lab_becomes_another_and_comes_back(lab: Agent, name: str) -> None:
    there_and_back(lab, NAT, state_of(BODIES[name]))


@pytest.mark.parametrize("first", ["isolated", "host-only", "nat", "routed"])
@pytest.mark.parametrize("second", ["isolated", "host-only", "nat", "routed"])
def test_modes_change_places(lab: Agent, first: str, second: str) -> None:
    there_and_back(lab, of_modes(first, second), of_modes(second, first))


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_state_changed_by_hand_is_made_and_mended(lab: Agent, name: str) -> None:
    there_and_back(lab, NAT, MUTATIONS[name](NAT), buildable=name not in UNBUILDABLE)


def writes_in(agent: Agent, state: State, nodes: tuple[Node, ...]) -> int:
    """Compare as `up` does, and change what differs; return how many writing calls that made."""
    before = agent.call(writes.count, None)
    found = agent.call(read, nodes)
    agent.call(apply, plan.diff(found, in_words_of(found, state)))
    return agent.call(writes.count, None) - before


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_second_up_makes_no_call_that_writes(lab: Agent, file: Path) -> None:
    state = compile_topology(Topology.load(file))
    nodes = tuple(Node(n.name, n.kind) for n in state.namespaces if n.kind != "segment")
    lab.call(apply, plan.build(state))
    lab.call(wait_ready, state)
    assert lab.call(writes.count, None) > len(nodes)
    assert writes_in(lab, state, nodes) == 0


def test_a_second_up_starts_no_change(lab_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = FILES[0]
    with Lab(file, lab_name) as first:
        first._running().keep(first.description.encode())
        monkeypatch.setattr("vnetlab.kernel.detect.missing", lambda *_: pytest.fail("something was tried"))
        monkeypatch.setattr("vnetlab.kernel.change.carry_out", lambda *_: pytest.fail("a change was begun"))
        second = Lab(file, lab_name)
        found = second.up()
        second.close()
    assert found is not None
    assert found.same


def test_unchanged_machines_keep_what_they_have(lab_name: str, tmp_path: Path) -> None:
    """A process, a TCP connection through the NAT, counters, neighbour entries: all outlive a change."""
    file = tmp_path / "changing.yaml"
    file.write_text(HEAD + BODIES["port isolation"].replace(", port_isolation: true", ""))
    with Lab(file, lab_name) as lab:
        lab._running().keep(lab.description.encode())
        server = lab["peer"].popen(["python3", "-c", SERVER], stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        address = lab["peer"].run(["getent", "ahostsv4", "peer"]).stdout.split()[0]
        client = lab["web"].popen(
            ["python3", "-c", CLIENT, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stdout.readline() == "one\n"
        before = neighbours(lab), counters(lab)
        file.write_text(HEAD + BODIES["a network less"])
        changed = Lab(file, lab_name)
        found = changed.up()
        changed.close()
        assert found is not None
        assert found.plan.steps
        after = neighbours(lab), counters(lab)
        assert after[0] == before[0]
        assert all(count >= before[1][rule] for rule, count in after[1].items() if rule in before[1])
        assert sum(after[1].values()) >= sum(before[1][rule] for rule in after[1] if rule in before[1]) > 0
        client.stdin.write("\n")
        client.stdin.flush()
        assert client.stdout.readline() == "two\n"
        assert client.wait(5) == 0
        server.wait(5)


SERVER = """
import socket
listener = socket.create_server(("", 80))
print("ready", flush=True)
connection = listener.accept()[0]
while data := connection.recv(9):
    connection.sendall(data)
"""
CLIENT = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 80))
connection.settimeout(5)
for word in ("one", "two"):
    connection.sendall(word.encode())
    print(connection.recv(9).decode(), flush=True)
    word == "one" and input()
"""


def neighbours(lab: Lab) -> set[tuple[str, str]]:
    shown = lab["web"].run(["ip", "neigh"]).stdout
    return {(line.split()[0], line.split()[4]) for line in shown.splitlines() if "lladdr" in line}


def counters(lab: Lab) -> dict[str, int]:
    """Return the packets that each rule has counted, by its comment."""
    shown = lab["hv"].run(["nft", "list", "ruleset"]).stdout
    return {
        comment: int(packets)
        for packets, comment in re.findall(r'counter packets (\d+) .* comment "(.*)"', shown)
    }
