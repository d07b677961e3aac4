"""The planner: what is sent once, what is opened, which controls a flight needs, in which order it flies."""

from __future__ import annotations

import pickle
from ipaddress import ip_address
from itertools import permutations

import pytest
from msgspec.structs import replace

from vnetlab import names
from vnetlab.guarantees import Flow, Guarantee, Outcome, Protocol, Seen, Special
from vnetlab.probe.flight import Kind, Listener, Role
from vnetlab.probe.order import PAIRS_PER_BLOCK
from vnetlab.probe.trial import plan_flight
from vnetlab.topology.model import Family, Topology

TOPOLOGY = Topology.parse(
    """
name: planned
segments: {lan: {subnets: [192.0.2.0/24, "2001:db8::/64"]}}
hosts:
  hv:
    nics: {eth0: {segment: lan, addresses: [192.0.2.10/24]}}
    networks:
      office: {mode: bridge, uplink: eth0}
      cell: {mode: isolated, subnets: [10.2.0.0/24]}
    vms:
      desk: office
      one: {networks: {cell: {addresses: [10.2.0.1/24]}}}
      two: {networks: {cell: {addresses: [10.2.0.2/24]}}, backend: tap}
machines:
  peer: {segments: {lan: {addresses: [192.0.2.20/24], mac: "02:00:00:00:00:20"}}}
""",
    "planned.yaml",
)
FLOW = Flow(
    Family.IPV4, Protocol.UDP, ip_address("10.2.0.2"), ip_address("10.2.0.1"), 4000, 7000,
    out_nic="eth0", next_hop_mac="02:00:00:00:00:99",
)  # fmt: skip


def promise(
    source: str = "one", destination: str = "two", expected: Outcome = Outcome.DELIVERED, flow: Flow = FLOW
) -> Guarantee:
    return Guarantee("x", "isolated", "hv/cell", source, destination, flow, expected, "it is so")


def test_a_flow_that_many_judge_is_sent_once() -> None:
    cast = replace(FLOW, special=Special.BROADCAST, destination_address=ip_address("255.255.255.255"))
    flight = plan_flight(TOPOLOGY, (promise(flow=cast), promise(destination="desk", flow=cast)))
    assert flight.shot_of == (0, 0)
    assert len(flight.shots) == 1
    assert flight.listeners == ()


def test_the_same_flow_of_two_senders_is_two_shots() -> None:
    flight = plan_flight(TOPOLOGY, (promise(), promise(source="desk")))
    assert flight.shot_of == (0, 1)


def test_stations_know_roles_devices_and_namespaces() -> None:
    flight = plan_flight(TOPOLOGY, (promise(), promise("desk", "hv"), promise("peer", "hv")))
    found = {station.name: station for station in flight.stations}
    assert {name: station.role for name, station in found.items()} == {
        "one": Role.MACHINE, "two": Role.GUEST, "desk": Role.MACHINE, "hv": Role.HOST, "peer": Role.MACHINE,
    }  # fmt: skip
    assert found["two"].space == "hv"
    assert found["two"].points[0].device == names.port("two", "eth0")
    host = TOPOLOGY.hosts["hv"]
    bridge = names.uplink_bridge("hv", "eth0")
    assert [(p.device, p.labels) for p in found["hv"].points] == [
        (bridge, ("eth0", "network:office")),
        (names.network_bridge(host, host.networks["cell"]), ("network:cell",)),
    ]
    assert not found["hv"].captures


def test_ports_are_open_but_for_those_that_are_to_refuse() -> None:
    refused = promise(expected=Outcome.REFUSED, flow=replace(FLOW, destination_port=1))
    also = promise(source="desk", flow=replace(FLOW, destination_port=1))
    forwarded = replace(promise(), seen=Seen(destination_port=80))
    flight = plan_flight(TOPOLOGY, (promise(), refused, also, forwarded))
    assert flight.listeners == (Listener("two", "udp", 7000), Listener("two", "udp", 80))


def test_a_host_chooses_its_own_source_and_way() -> None:
    flow = replace(FLOW, source_address=None, out_nic="", next_hop_mac="")
    shot = plan_flight(TOPOLOGY, (promise("hv", "desk", flow=flow),)).shots[0]
    assert (shot.source, shot.mac, shot.nic) == (b"", b"", "")


@pytest.mark.parametrize(
    ("protocol", "address", "mac", "kind"),
    [
        (Protocol.RESOLUTION, "10.2.0.2", "ff:ff:ff:ff:ff:ff", Kind.ARP),
        (Protocol.RESOLUTION, "2001:db8::a:b0c", "33:33:ff:0a:0b:0c", Kind.NS),
        (Protocol.UDP, "224.128.0.251", "01:00:5e:00:00:fb", Kind.UDP),
        (Protocol.ICMP, "ff02::1", "33:33:00:00:00:01", Kind.ICMP),
    ],
)
def test_groups_have_the_frame_destination_of_their_rfc(
    protocol: Protocol, address: str, mac: str, kind: Kind
) -> None:
    to = ip_address(address)
    family = Family.IPV4 if to.version == 4 else Family.IPV6
    flow = Flow(family, protocol, to, out_nic="eth0")
    shot = plan_flight(TOPOLOGY, (promise("desk", "peer", flow=flow),)).shots[0]
    assert (shot.mac.hex(":"), shot.kind) == (mac, kind)


def test_a_no_needs_controls_only_where_no_promise_gives_them() -> None:
    no = promise("one", "peer", Outcome.SILENT, replace(FLOW, destination_address=ip_address("192.0.2.20")))
    flight = plan_flight(TOPOLOGY, (no,))
    (sends, receives) = flight.controls
    assert (sends.node, sends.sends, sends.seen_at, sends.seen_nic) == (
        "one", True, "ports:hv", names.port("one", "eth0"),
    )  # fmt: skip
    assert (receives.node, receives.sends, receives.seen_at) == ("peer", False, "peer")
    out = flight.shots[receives.shot]
    assert (out.station, out.nic) == ("ports:segment:lan", names.port("peer", "eth0"))
    assert out.mac.hex(":") == "02:00:00:00:00:20"
    to_peer = replace(promise("desk", "peer"), seen=Seen(nic="eth0"))
    assert plan_flight(TOPOLOGY, (no, promise(), to_peer)).controls == ()


def test_a_host_that_may_talk_to_nobody_talks_to_itself() -> None:
    flight = plan_flight(TOPOLOGY, (promise("hv", "one", Outcome.SILENT), promise("two", "one")))
    assert {control.seen_nic for control in flight.controls} == {"lo"}
    assert {flight.shots[control.shot].destination for control in flight.controls} == {
        ip_address("127.0.0.1").packed,
        ip_address("::1").packed,
    }


def test_pairs_stay_together_and_ask_first_and_every_shot_flies_once() -> None:
    many = [f"m{i}" for i in range(25)]
    vms = "".join(f"      {name}: cell\n" for name in many)
    text = "hosts:\n  hv:\n    networks:\n      cell: {mode: isolated, subnets: [10.2.0.0/16]}\n    vms:\n"
    topology = Topology.parse(text + vms, "many.yaml")
    asks = replace(FLOW, protocol=Protocol.RESOLUTION)
    router = Flow(
        Family.IPV6,
        Protocol.ICMP,
        ip_address("ff02::1"),
        ip_address("fe80::1"),
        special=Special.ADVERTISEMENT,
        out_nic="eth0",
    )
    guarantees = [promise("m1", "m0", flow=router)]
    for a, b in permutations(many, 2):
        guarantees += [
            promise(a, b, flow=replace(FLOW, destination_address=ip_address(f"10.2.1.{many.index(b)}")))
        ]
        guarantees += [
            promise(a, b, flow=replace(asks, destination_address=ip_address(f"10.2.1.{many.index(b)}")))
        ]
    flight = plan_flight(topology, tuple(guarantees))
    flown = [number for block in flight.blocks for number in block.shots]
    assert sorted(flown) == list(range(len(flight.shots)))
    assert flight.blocks[-1].shots == (0,)
    for block in flight.blocks[:-1]:
        sent = [flight.shots[number] for number in block.shots]
        assert len({(shot.station, shot.destination) for shot in sent}) <= 2 * PAIRS_PER_BLOCK
    assert len(flight.blocks) <= 1 + 2 * -(-25 * 24 // 2 // PAIRS_PER_BLOCK)
    home: dict[frozenset[str], int] = {}
    for guarantee, number in list(zip(guarantees, flight.shot_of, strict=True))[1:]:
        at = next(i for i, block in enumerate(flight.blocks) if number in block.shots)
        assert home.setdefault(frozenset((guarantee.source, guarantee.destination)), at) == at
    for block in flight.blocks[:-1]:
        kinds = [flight.shots[number].kind for number in block.shots]
        assert kinds == sorted(kinds, key=lambda kind: kind is not Kind.ARP)


def test_the_plan_is_a_value() -> None:
    guarantees = (promise(), promise("desk", "hv", Outcome.SILENT))
    flight = plan_flight(TOPOLOGY, guarantees)
    assert plan_flight(TOPOLOGY, guarantees) == flight
    assert pickle.loads(pickle.dumps(flight)) == flight


def test_only_host_unreachable_is_waited_for() -> None:
    late = replace(promise(expected=Outcome.REJECTED), error_code="host-unreachable")
    assert plan_flight(TOPOLOGY, (late,)).linger > 3
    assert plan_flight(TOPOLOGY, (promise(),)).linger < 1
