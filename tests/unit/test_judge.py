"""The judge is fed truth and lies: it must not say that a promise holds unless the log shows it."""

from __future__ import annotations

import errno
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from vnetlab.guarantees import Flow, Guarantee, Outcome, Protocol, Seen, Special, Verdict, VerdictKind
from vnetlab.probe.flight import Drop, Failure, Flight, Listener, Log, SendError, Sighting, Taken, What
from vnetlab.probe.judge import judge
from vnetlab.probe.trial import plan_flight
from vnetlab.topology.model import Family, Topology
from vnetlab.verdicts import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

HOLDS, BROKEN = VerdictKind.HOLDS, VerdictKind.BROKEN
INCONCLUSIVE, UNAVAILABLE = VerdictKind.INCONCLUSIVE, VerdictKind.UNAVAILABLE

TOPOLOGY = Topology.parse(
    """
name: judged
segments: {lan: {subnets: [192.0.2.0/24]}}
hosts:
  hv:
    nics: {eth0: {segment: lan, addresses: [192.0.2.10/24]}}
    networks:
      home: {mode: nat, subnets: [10.1.0.0/24]}
      cell: {mode: isolated, subnets: [10.2.0.0/24]}
    vms:
      web: {networks: {home: {addresses: [10.1.0.2/24], mac: "02:00:00:00:00:02"}}}
      dog: {networks: {home: {addresses: [10.1.0.3/24], mac: "02:00:00:00:00:03"}}}
      mole: {networks: {cell: {addresses: [10.2.0.2/24], mac: "02:00:00:00:00:04"}}}
machines:
  peer: {segments: {lan: {addresses: [192.0.2.20/24], mac: "02:00:00:00:00:20"}}}
""",
    "judged.yaml",
)
WEB, DOG, PEER = (ip_address(a) for a in ("10.1.0.2", "10.1.0.3", "192.0.2.20"))
HOST, GATE, MOLE = (ip_address(a) for a in ("192.0.2.10", "10.1.0.1", "10.2.0.2"))
HOST_MAC = TOPOLOGY.hosts["hv"].nics["eth0"].mac


def flow(**changes: Any) -> Flow:
    base = Flow(Family.IPV4, Protocol.UDP, PEER, WEB, 4000, 7000, out_nic="eth0", next_hop_mac=HOST_MAC)
    return replace(base, **changes)


def promise(expected: Outcome = Outcome.DELIVERED, **changes: Any) -> Guarantee:
    base = Guarantee("nat.x", "nat", "hv/home", "web", "peer", flow(), expected, "it is so")
    return replace(base, **changes)


YES = promise(
    seen=Seen("eth0", HOST, HOST_MAC, 63, source_port_unprivileged=True, destination_port=7000),
    answered=True,
)
NO = promise(
    Outcome.SILENT,
    source="peer",
    destination="web",
    flow=flow(destination_address=WEB, source_address=PEER, answer=False),
)
REJECTED = promise(
    Outcome.REJECTED,
    flow=flow(destination_port=8, source_port=4001),
    error_from=GATE,
    error_code="admin-prohibited",
)
BACK = promise(
    source="peer",
    destination="web",
    flow=flow(destination_address=WEB, source_address=PEER, source_port=5, answer=False),
    id="control",
)


class Scene:
    """A flight for some guarantees, and a log to make up for it."""

    def __init__(self, *guarantees: Guarantee) -> None:
        self.guarantees = guarantees
        self.flight: Flight = plan_flight(TOPOLOGY, guarantees)
        self.stations = [station.name for station in self.flight.stations]
        self.log = Log(())

    def saw(self, index: int, station: str, what: What, origin: Any, /, **changes: Any) -> Scene:
        """Add a sighting of the shot of the guarantee of that index."""
        mac = bytes.fromhex(HOST_MAC.replace(":", ""))
        one = Sighting(
            self.flight.shot_of[index], self.stations.index(station), what, "eth0", True,
            origin.packed, PEER.packed, mac, 63, 4000, 7000,
        )._replace(**changes)  # fmt: skip
        self.log = replace(self.log, sightings=(*self.log.sightings, one))
        return self

    def with_log(self, **changes: Any) -> Scene:
        self.log = replace(self.log, **changes)
        return self

    def verdicts(self) -> Sequence[Verdict]:
        """Judge; what is told by columns has to be what is told of each by itself."""
        found = judge(self.guarantees, self.flight, self.log)
        assert [KINDS[kind] for kind in found.kinds] == [found.remade(at).kind for at in range(len(found))]
        return found

    def verdict(self) -> Verdict:
        """Judge, and return the verdict on the first guarantee."""
        return self.verdicts()[0]


def yes() -> Scene:
    return Scene(YES).saw(0, "peer", What.REQUEST, HOST)


def answered(scene: Scene) -> Scene:
    return scene.saw(0, "web", What.ANSWER, PEER)


def no(guarantee: Guarantee = NO) -> Scene:
    """Return a denied flow with the controls that both ends work."""
    scene = Scene(guarantee, YES, BACK)
    scene.saw(1, "peer", What.REQUEST, HOST).saw(1, "web", What.ANSWER, PEER)
    return scene.saw(2, "web", What.REQUEST, PEER)


def test_a_yes_that_shows_everything_holds() -> None:
    verdict = answered(yes()).verdict()
    assert (verdict.kind, verdict.observed) == (HOLDS, Outcome.DELIVERED)
    assert any("sent by web eth0" in line for line in verdict.evidence)
    assert any("request seen at peer eth0: from 192.0.2.10" in line for line in verdict.evidence)


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ({"source": WEB.packed}, "from 10.1.0.2 instead of 192.0.2.10"),
        ({"mac": b"\x02\0\0\0\0\x99"}, "from MAC 02:00:00:00:00:99"),
        ({"ttl": 64}, "TTL 64 instead of 63"),
        ({"nic": "eth1"}, "at eth1 instead of eth0"),
        ({"source_port": 400}, "from port 400, below 1024"),
        ({"destination_port": 80}, "for port 80 instead of 7000"),
        ({"addressed": False}, "peer saw nothing"),
    ],
)
def test_a_yes_with_one_wrong_field_is_broken(lie: dict[str, Any], words: str) -> None:
    verdict = answered(Scene(YES).saw(0, "peer", What.REQUEST, HOST, **lie)).verdict()
    assert verdict.kind is BROKEN
    assert words in verdict.reason


def test_a_second_copy_under_another_source_is_broken() -> None:
    verdict = answered(yes().saw(0, "peer", What.REQUEST, WEB)).verdict()
    assert verdict.kind is BROKEN
    assert "from 10.1.0.2 as well" in verdict.reason


def test_a_yes_without_its_answer_is_broken() -> None:
    assert "answer did not reach web" in yes().verdict().reason
    assert yes().verdict().kind is BROKEN


def test_an_answer_from_a_wrong_address_is_broken() -> None:
    verdict = yes().saw(0, "web", What.ANSWER, HOST).verdict()
    assert verdict.kind is BROKEN
    assert "answer came from 192.0.2.10 instead of 192.0.2.20" in verdict.reason


def test_an_answer_that_must_not_return_is_broken() -> None:
    scene = Scene(replace(YES, answered=False)).saw(0, "peer", What.REQUEST, HOST)
    assert scene.verdict().kind is HOLDS
    assert answered(scene).verdict().kind is BROKEN


def test_an_unseen_yes_is_broken_but_inconclusive_if_packets_were_lost() -> None:
    assert Scene(YES).verdict().kind is BROKEN
    assert Scene(YES).verdict().observed is Outcome.SILENT
    lost = Scene(YES).with_log(drops=(Drop("machine", "softnet dropped", 1),)).verdict()
    assert lost.kind is INCONCLUSIVE


def test_a_wrong_field_stays_broken_even_if_packets_were_lost() -> None:
    scene = answered(Scene(YES).saw(0, "peer", What.REQUEST, HOST, ttl=64))
    assert scene.with_log(drops=(Drop("peer", "x", 1),)).verdict().kind is BROKEN


def test_refused_needs_both_the_arrival_and_the_refusal() -> None:
    tcp = flow(protocol=Protocol.TCP)
    refused = replace(YES, flow=tcp, expected=Outcome.REFUSED, answered=False)
    scene = Scene(refused).saw(0, "peer", What.REQUEST, HOST)
    assert scene.verdict().observed is Outcome.DELIVERED
    assert scene.verdict().kind is BROKEN
    assert scene.saw(0, "web", What.RESET, PEER).verdict().kind is HOLDS
    alone = Scene(refused).saw(0, "web", What.RESET, PEER).verdict()
    assert (alone.kind, alone.observed) == (BROKEN, Outcome.REJECTED)


def test_a_port_that_another_program_has_makes_udp_inconclusive_and_tcp_not() -> None:
    taken = Taken(Listener("peer", "udp", 7000), in_use=True, text="another program has it open")
    verdict = yes().with_log(taken=(taken,)).verdict()
    assert verdict.kind is INCONCLUSIVE
    assert "udp port 7000 of peer" in verdict.reason
    scene = Scene(replace(YES, flow=flow(protocol=Protocol.TCP))).saw(0, "peer", What.REQUEST, HOST)
    taken = replace(taken, listener=Listener("peer", "tcp", 7000))
    assert answered(scene).with_log(taken=(taken,)).verdict().kind is HOLDS


def test_a_no_with_both_controls_holds_and_names_them() -> None:
    verdict = no().verdict()
    assert (verdict.kind, verdict.observed) == (HOLDS, Outcome.SILENT)
    assert sum("control:" in line for line in verdict.evidence) == 2


@pytest.mark.parametrize("changes", [{}, {"addressed": False}, {"source": WEB.packed}])
def test_one_frame_at_the_receiver_breaks_a_no(changes: dict[str, Any]) -> None:
    verdict = no().saw(0, "web", What.REQUEST, PEER, **changes).verdict()
    assert (verdict.kind, verdict.observed) == (BROKEN, Outcome.DELIVERED)


def test_a_no_without_the_receivers_control_proves_nothing() -> None:
    scene = Scene(NO, YES).saw(1, "peer", What.REQUEST, HOST)
    assert scene.verdict().kind is INCONCLUSIVE
    assert "no control shows that web eth0 receives" in scene.verdict().reason


def test_a_no_without_the_senders_control_proves_nothing() -> None:
    scene = Scene(NO, YES).saw(1, "peer", What.REQUEST, HOST).saw(1, "web", What.ANSWER, PEER)
    assert "no control shows that peer eth0 sends" in scene.verdict().reason


def test_a_frame_for_another_mac_is_no_control() -> None:
    scene = Scene(NO, BACK).saw(1, "web", What.REQUEST, PEER, addressed=False)
    assert scene.verdict().kind is INCONCLUSIVE


@pytest.mark.parametrize(
    "trouble",
    [
        {"drops": (Drop("machine", "softnet dropped", 3),)},
        {"unsettled": True},
        {"send_errors": (SendError(0, errno.ENOBUFS, "No buffer space available"),)},
        {"failures": (Failure("web", "Network is down", in_flight=True),)},
    ],
)
def test_trouble_in_the_flight_takes_the_proof_from_a_no(trouble: dict[str, Any]) -> None:
    assert no().with_log(**trouble).verdict().kind is INCONCLUSIVE


def test_a_station_that_could_not_be_opened_is_unavailable() -> None:
    verdict = no().with_log(failures=(Failure("web", "/dev/net/tun: Permission denied"),)).verdict()
    assert (verdict.kind, verdict.observed) == (UNAVAILABLE, None)
    assert "Permission denied" in verdict.reason


def test_a_sender_without_a_route_is_silent() -> None:
    refusal = SendError(0, errno.ENETUNREACH, "Network is unreachable")
    verdict = no().with_log(send_errors=(refusal,)).verdict()
    assert verdict.kind is HOLDS
    assert "Network is unreachable" in verdict.reason


def rejected(**changes: Any) -> Scene:
    error = {"icmp": 0x030D, "quoted": WEB.packed, "quoted_port": 4001} | changes
    return no(REJECTED).saw(0, "web", What.ERROR, error.pop("who", GATE), **error)


def test_a_rejection_as_promised_holds() -> None:
    verdict = rejected().verdict()
    assert (verdict.kind, verdict.observed) == (HOLDS, Outcome.REJECTED)
    assert any("10.1.0.1 says admin-prohibited" in line for line in verdict.evidence)


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ({"icmp": 0x0301}, "host-unreachable instead of admin-prohibited"),
        ({"who": HOST}, "comes from 192.0.2.10 instead of 10.1.0.1"),
        ({"quoted": HOST.packed}, "quotes source 192.0.2.10 instead of 10.1.0.2"),
        ({"quoted_port": 61000}, "quotes source port 61000 instead of 4001"),
    ],
)
def test_a_rejection_with_one_wrong_field_is_broken(lie: dict[str, Any], words: str) -> None:
    verdict = rejected(**lie).verdict()
    assert verdict.kind is BROKEN
    assert words in verdict.reason


def test_silence_where_a_rejection_is_promised_and_the_other_way_round() -> None:
    assert no(REJECTED).verdict().kind is BROKEN
    loud = no(replace(NO, source="web", destination="peer", flow=flow(source_port=9)))
    loud.saw(0, "web", What.ERROR, GATE, icmp=0x030D, quoted=WEB.packed, quoted_port=9)
    assert loud.verdict().kind is BROKEN


def test_an_error_is_no_delivery_though_the_destination_sent_it() -> None:
    closed = no(REJECTED).saw(0, "web", What.ERROR, PEER, icmp=0x0303, quoted=WEB.packed, quoted_port=4001)
    assert closed.verdict().observed is Outcome.REJECTED


RESOLUTION = promise(
    flow=flow(protocol=Protocol.RESOLUTION, destination_address=DOG, source_port=0, destination_port=0),
    destination="dog",
    seen=Seen(source_mac="02:00:00:00:00:03"),
    answered=True,
)


def told(scene: Scene, mac: str = "02:00:00:00:00:03") -> Scene:
    return scene.saw(0, "web", What.ANSWER, DOG, mac=bytes.fromhex(mac.replace(":", "")))


def test_a_resolution_holds_by_its_answer() -> None:
    assert told(Scene(RESOLUTION)).verdict().kind is HOLDS
    unheard = Scene(RESOLUTION).saw(0, "dog", What.REQUEST, WEB).verdict()
    assert (unheard.kind, unheard.observed) == (BROKEN, Outcome.DELIVERED)


def test_a_resolution_that_tells_a_wrong_mac_is_broken_even_beside_the_right_one() -> None:
    assert told(Scene(RESOLUTION), "02:00:00:00:00:66").verdict().kind is BROKEN
    both = told(told(Scene(RESOLUTION)), "02:00:00:00:00:66").verdict()
    assert "02:00:00:00:00:66 instead of 02:00:00:00:00:03" in both.reason


@pytest.mark.parametrize(("station", "what"), [("web", What.ANSWER), ("dog", What.REQUEST)])
def test_either_end_of_a_resolution_breaks_a_no(station: str, what: What) -> None:
    scene = Scene(replace(RESOLUTION, expected=Outcome.SILENT, seen=None, answered=False))
    scene.saw(0, station, what, DOG if what is What.ANSWER else WEB)
    assert scene.verdict().kind is BROKEN


def test_same_port_answers_must_come_to_their_own_asker() -> None:
    mine = replace(YES, flow=flow(special=Special.SAME_PORT))
    theirs = replace(mine, source="dog", flow=flow(special=Special.SAME_PORT, source_address=DOG))
    scene = answered(Scene(mine, theirs).saw(0, "peer", What.REQUEST, HOST))
    assert scene.verdict().kind is HOLDS
    crossed = scene.saw(0, "dog", What.ANSWER, PEER).verdict()
    assert crossed.kind is BROKEN
    assert "its answer reached dog" in crossed.reason


ADVERTISEMENT = promise(
    Outcome.SILENT,
    flow=Flow(
        Family.IPV6, Protocol.ICMP, ip_address("ff02::1"), ip_address("fe80::1"),
        answer=False, special=Special.ADVERTISEMENT, out_nic="eth0", next_hop_mac="33:33:00:00:00:01",
    ),
)  # fmt: skip


def test_an_advertisement_is_judged_by_the_routes_and_not_by_the_frame() -> None:
    scene = Scene(ADVERTISEMENT, YES).saw(1, "peer", What.REQUEST, HOST)
    scene.saw(0, "peer", What.REQUEST, WEB)
    assert scene.verdict().kind is HOLDS
    believed = scene.with_log(adopted=((scene.flight.shot_of[0], "peer", "default via fe80::1"),))
    assert believed.verdict().kind is BROKEN
    assert "default via fe80::1" in believed.verdict().reason


def test_a_lone_vm_is_shown_to_work_by_its_own_port_or_nothing_is_proved() -> None:
    lone = promise(
        Outcome.SILENT,
        source="mole",
        flow=flow(source_address=MOLE, next_hop_mac="02:00:00:00:00:55"),
    )
    scene = Scene(lone, YES).saw(1, "peer", What.REQUEST, HOST)
    assert scene.verdict().kind is INCONCLUSIVE
    (control,) = scene.flight.controls
    assert (control.node, control.sends) == ("mole", True)
    seen = Sighting(
        control.shot, scene.stations.index(control.seen_at), What.REQUEST, control.seen_nic, True,
        b"", b"", b"\x02\0\0\0\0\x04", 0,
    )  # fmt: skip
    elsewhere = (*scene.log.sightings, seen._replace(nic="another port"))
    assert judge(scene.guarantees, scene.flight, Log(elsewhere))[0].kind is INCONCLUSIVE
    assert judge(scene.guarantees, scene.flight, Log((*scene.log.sightings, seen)))[0].kind is HOLDS


def test_an_empty_log_proves_no_no() -> None:
    verdicts = judge((NO, REJECTED, YES), plan_flight(TOPOLOGY, (NO, REJECTED, YES)), Log(()))
    assert [v.kind for v in verdicts] == [INCONCLUSIVE, INCONCLUSIVE, BROKEN]
