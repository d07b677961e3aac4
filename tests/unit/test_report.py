"""Reports of verdicts made by hand: every format says what the verdicts say, and nothing else."""

import io
import itertools
import json
from ipaddress import ip_address
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from msgspec.structs import replace
from rich.console import Console

from vnetlab import plan
from vnetlab.compile import compile_topology
from vnetlab.description import NodeInfo
from vnetlab.guarantees import Flow, Guarantee, Outcome, Protocol, Special, Verdict, VerdictKind
from vnetlab.report.cell import Cell
from vnetlab.report.json import report_object
from vnetlab.report.junit import junit_xml
from vnetlab.report.labs_json import plan_object, status_object
from vnetlab.report.matrix import build_matrix
from vnetlab.report.paragraph import paragraph
from vnetlab.report.picture import write_svg
from vnetlab.report.plan_tree import print_plan
from vnetlab.report.summary import Report, flow_label, titles
from vnetlab.report.text import MOST_NODES, print_report
from vnetlab.status import LabStatus
from vnetlab.topology.model import Family, Lan, Machine, Nic, Topology

TOPOLOGIES = Path(__file__).parents[2] / "topologies"


def machine(name: str) -> Machine:
    return Machine(name, (Nic("eth0", Lan("lan"), "02:00:00:00:00:01", (), 1500),))


def topology(*names: str) -> Topology:
    return Topology("case", {}, {}, {}, {name: machine(name) for name in names})


def guarantee(source: str, destination: str, **changes: object) -> Guarantee:
    flow = Flow(Family.IPV4, Protocol.TCP, ip_address("192.0.2.1"), destination_port=80)
    base = Guarantee(
        "nat.inbound", "nat", "hv/home", source, destination, flow, Outcome.SILENT, "it is silent"
    )
    return replace(base, **changes)


def verdict(
    source: str,
    destination: str,
    observed: Outcome | None = Outcome.DELIVERED,
    kind: VerdictKind = VerdictKind.HOLDS,
    **changes: object,
) -> Verdict:
    return Verdict(guarantee(source, destination, **changes), observed, kind, "because", ("sent it",))


def report(*verdicts: Verdict) -> Report:
    names = {n for v in verdicts for n in (v.guarantee.source, v.guarantee.destination)}
    return Report(topology(*sorted(names)), "case", verdicts)


def text_of(value: Report, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_report(console, value)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ((VerdictKind.HOLDS,), 0),
        ((VerdictKind.HOLDS, VerdictKind.BROKEN), 1),
        ((VerdictKind.HOLDS, VerdictKind.INCONCLUSIVE), 1),
        ((VerdictKind.HOLDS, VerdictKind.UNAVAILABLE), 3),
        ((VerdictKind.UNAVAILABLE, VerdictKind.BROKEN), 1),
    ],
)
def test_exit_code(kinds: tuple[VerdictKind, ...], code: int) -> None:
    assert report(*(verdict("a", "b", kind=kind) for kind in kinds)).exit_code == code


@pytest.mark.parametrize(
    ("forth", "back", "cell"),
    [
        (Outcome.DELIVERED, Outcome.DELIVERED, Cell.BOTH),
        (Outcome.DELIVERED, Outcome.SILENT, Cell.OUT),
        (Outcome.DELIVERED, Outcome.REJECTED, Cell.OUT),
        (Outcome.REFUSED, Outcome.REFUSED, Cell.BOTH),
        (Outcome.REJECTED, Outcome.DELIVERED, Cell.REJECTED),
        (Outcome.SILENT, Outcome.SILENT, Cell.SILENT),
    ],
)
def test_cell_of_a_pair(forth: Outcome, back: Outcome, cell: Cell) -> None:
    matrix = build_matrix(report(verdict("a", "b", forth), verdict("b", "a", back)))
    assert matrix.rows[0].cells[1] is cell


def test_trouble_shows_in_the_cell_whatever_else_holds() -> None:
    for kind, cell in (
        (VerdictKind.BROKEN, Cell.BROKEN),
        (VerdictKind.INCONCLUSIVE, Cell.INCONCLUSIVE),
        (VerdictKind.UNAVAILABLE, Cell.UNAVAILABLE),
    ):
        matrix = build_matrix(report(verdict("a", "b"), verdict("a", "b", None, kind)))
        assert matrix.rows[0].cells[1] is cell


def test_crafted_flows_do_not_blur_the_cell() -> None:
    forged = replace(guarantee("a", "b").flow, special=Special.FORGED)
    matrix = build_matrix(
        report(verdict("a", "b"), verdict("a", "b", Outcome.SILENT, flow=forged), verdict("b", "a"))
    )
    assert matrix.rows[0].cells[1] is Cell.BOTH


def test_mixed_flows_are_shown_as_partly_delivered() -> None:
    matrix = build_matrix(report(verdict("a", "b"), verdict("a", "b", Outcome.SILENT)))
    assert matrix.rows[0].cells[1] is Cell.PART
    assert matrix.rows[1].cells[0] is Cell.NONE


def test_text_names_promise_sent_and_seen_of_a_broken_guarantee() -> None:
    broken = replace(verdict("peer", "web", kind=VerdictKind.BROKEN), predicted=Outcome.SILENT)
    text = text_of(report(broken))
    assert "BROKEN nat.inbound (hv/home): peer -> web, ipv4 tcp 80" in text
    assert "promised: silent: it is silent" in text
    assert "predicted: silent" in text
    assert "present: unknown" in text
    assert "observed: delivered" in text
    assert "because: because" in text
    assert "sent it" in text
    assert "1 guarantees: 0 holds, 1 broken" in text
    assert paragraph(broken).splitlines()[0] in text


def test_counts_are_by_mode_and_name_only_troubled_promises() -> None:
    text = text_of(
        report(
            verdict("a", "b"),
            verdict("a", "b", id="nat.fragments"),
            verdict("b", "a", id="nat.outbound", kind=VerdictKind.INCONCLUSIVE),
        )
    )
    lines = [line.split() for line in text.splitlines()]
    assert ["nat", "3", "2", "-", "1", "-"] in lines
    assert ["nat.outbound", "-", "-", "1", "-"] in lines
    assert not any(line[:1] == ["nat.fragments"] for line in lines)


def test_text_is_plain_where_no_terminal_is() -> None:
    assert "\x1b" not in text_of(report(verdict("a", "b")))


def test_markup_in_names_is_only_text() -> None:
    assert "[bold]x[/bold]" in text_of(report(verdict("[bold]x[/bold]", "b")))


def test_fifty_by_fifty_fits_a_terminal() -> None:
    names = [f"machine-{number:02}" for number in range(50)]
    verdicts = [verdict(a, b) for a in names for b in names if a != b]
    lines = text_of(report(*verdicts)).splitlines()
    rows = [line for line in lines if "machine-" in line and "●" in line]
    assert len(rows) == 50
    assert all(line.count("●") == 49 for line in rows)
    assert max(map(len, lines)) <= 100


def test_wide_matrices_are_cut_into_blocks_and_lose_no_cell() -> None:
    names = [f"m{number:03}" for number in range(130)]
    verdicts = [verdict(a, b) for a in names for b in names if a != b]
    text = text_of(report(*verdicts), width=80)
    legend = 1
    assert text.count("●") == 130 * 129 + legend
    assert max(map(len, text.splitlines())) <= 80


def test_titles_are_unique_and_stable() -> None:
    one = guarantee("a", "b")
    other = replace(one, flow=replace(one.flow, destination_address=ip_address("192.0.2.2")))
    crafted = replace(one, flow=replace(one.flow, special=Special.CRAFTED))
    made = titles((one, other, one, crafted))
    assert made == (
        "nat.inbound: a -> b: ipv4 tcp 80 at 192.0.2.1",
        "nat.inbound: a -> b: ipv4 tcp 80 at 192.0.2.2",
        "nat.inbound: a -> b: ipv4 tcp 80 at 192.0.2.1 #2",
        "nat.inbound: a -> b: ipv4 tcp 80 crafted",
    )


def test_one_way_datagrams_are_told_from_answered_ones() -> None:
    flow = Flow(Family.IPV6, Protocol.UDP, ip_address("2001:db8::1"), destination_port=9)
    assert flow_label(flow) == "ipv6 udp 9"
    assert flow_label(replace(flow, answer=False)) == "ipv6 udp 9 one-way"


def test_junit_has_one_uniquely_named_case_per_guarantee() -> None:
    value = report(
        verdict("a", "b"),
        verdict("a", "b", kind=VerdictKind.BROKEN),
        verdict("b", "a", None, VerdictKind.INCONCLUSIVE),
        verdict("a", "c\x07", None, VerdictKind.UNAVAILABLE),
    )
    suite = fromstring(junit_xml(value).encode())[0]
    assert {k: suite.attrib[k] for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    assert len({case.attrib["name"] for case in suite}) == 4
    assert [[child.tag for child in case] for case in suite] == [
        [],
        ["failure"],
        ["error"],
        ["skipped"],
    ]
    assert "promised: silent" in (suite[1][0].text or "")


def test_json_has_every_verdict_with_its_flow() -> None:
    made = json.loads(json.dumps(report_object(report(verdict("a", "b", kind=VerdictKind.BROKEN)))))
    assert made["lab"] == "case"
    assert made["summary"] == {"holds": 0, "broken": 1, "inconclusive": 0, "unavailable": 0}
    (one,) = made["verdicts"]
    assert one["guarantee"] == "nat.inbound"
    assert one["flow"]["family"] == "ipv4"
    assert one["flow"]["destination_port"] == 80
    assert (one["predicted"], one["present"]) == ("unknown", "unknown")
    assert (one["expected"], one["observed"], one["verdict"]) == ("silent", "delivered", "broken")
    assert one["evidence"] == ["sent it"]


def test_status_object_is_the_contract() -> None:
    lab = LabStatus("one", 42, (NodeInfo("web", "vm", "tap", "hv1"),))
    assert status_object((lab,)) == {
        "labs": [
            {
                "name": "one",
                "holder": 42,
                "nodes": {"web": {"kind": "vm", "backend": "tap", "host": "hv1"}},
            }
        ]
    }


def test_picture_is_reproducible(tmp_path: Path) -> None:
    path = tmp_path / "x.svg"
    write_svg(report(verdict("peer", "b")), path)
    first = path.read_bytes()
    write_svg(report(verdict("peer", "b")), path)
    assert path.read_bytes() == first
    assert b"peer" in first
    assert b"<svg" in first


def test_plan_shows_every_rule_whole_and_common_settings_once() -> None:
    state = compile_topology(Topology.load(TOPOLOGIES / "five-modes.yaml"))
    steps = plan.build(state).steps
    console = Console(file=io.StringIO(), width=80, highlight=False)
    print_plan(console, "five-modes", steps, state)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for namespace in state.namespaces:
        assert f"\n{namespace.name}  {namespace.kind}\n" in text
        for table in namespace.tables:
            assert table.render() in text
    assert text.count("net/ipv4/ip_default_ttl=64") == 1
    assert json.loads(json.dumps(plan_object("five-modes", steps, state)))["steps"] == [
        step.describe() for step in steps
    ]


def test_a_large_lab_is_summed_up_by_network_and_one_trouble_is_seen() -> None:
    names = [f"m{number}" for number in range(MOST_NODES + 1)]
    good = [verdict(a, b) for a, b in itertools.pairwise(names)]
    assert text_of(report(*good)).count("●") == 2  # the only cell, and the legend
    bad = replace(good[7], kind=VerdictKind.BROKEN, observed=Outcome.SILENT)
    assert "! a guarantee is broken" in text_of(report(*good, bad))
