"""The four answers in labs that run: what changes by hand, and what the model cannot know, is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sabotage as s
import taps

from vnetlab import Lab
from vnetlab.compile import compile_topology
from vnetlab.guarantees import Outcome, VerdictKind
from vnetlab.report.paragraph import paragraph

if TYPE_CHECKING:
    from vnetlab.guarantees import Verdict
    from vnetlab.kernel.spaces import Spaces

pytestmark = pytest.mark.kernel
DELIVERED, REJECTED, SILENT = Outcome.DELIVERED, Outcome.REJECTED, Outcome.SILENT


def nft(lab: Lab, host: str, command: str) -> None:
    done = lab[host].run(["nft", *command.split(" ")])
    assert done.returncode == 0, done.stderr


def delete_rule(lab: Lab, host: str, chain: str, about: str) -> str:
    """Delete the first rule of a chain whose comment contains ``about``; return that comment."""
    listing = lab[host].run(["nft", "-a", "list", "chain", "inet", "vnetlab", chain]).stdout
    line = next(line for line in listing.splitlines() if about in line)
    nft(lab, host, f"delete rule inet vnetlab {chain} handle {line.rpartition('# handle ')[2]}")
    return line.partition('comment "')[2].partition('"')[0]


def answers(verdict: Verdict) -> tuple[Outcome | None, ...]:
    return verdict.guarantee.expected, verdict.predicted, verdict.present, verdict.observed


def test_a_lab_as_the_file_makes_it_has_four_equal_answers(lab_name: str) -> None:
    with Lab(taps.delivered("nat.yaml"), lab_name) as lab:
        verdicts = lab.probe()
    assert {v.kind for v in verdicts} == {VerdictKind.HOLDS}
    assert all(len(set(answers(v))) == 1 for v in verdicts)
    assert all(any(line.startswith("model: ") for line in v.evidence) for v in verdicts)


def test_a_rule_deleted_by_hand_is_named(lab_name: str) -> None:
    with Lab(taps.delivered("nat.yaml"), lab_name) as lab:
        comment = delete_rule(lab, "hv1", "forward", "home: VM to the LAN and beyond")
        verdicts = [
            v for v in lab.probe() if v.guarantee.id == "nat.outbound" and v.guarantee.source == "web"
        ]
    broken = [v for v in verdicts if v.kind is VerdictKind.BROKEN]
    assert broken
    for verdict in broken:
        assert answers(verdict) == (DELIVERED, DELIVERED, REJECTED, REJECTED)
        assert verdict.reason.startswith(
            "promised and predicted delivered, but present and observed rejected"
        )
        assert f"hv1: inet vnetlab forward lacks `{comment}`" in verdict.reason
        assert "present: rejected" in paragraph(verdict)


def test_what_the_model_cannot_know_is_inconclusive(lab_name: str) -> None:
    with Lab(taps.delivered("nat.yaml"), lab_name) as lab:
        nft(lab, "hv1", "insert rule inet vnetlab forward limit rate over 1000000/second drop")
        verdicts = [v for v in lab.probe() if v.guarantee.id == "nat.outbound"]
    doubtful = [v for v in verdicts if v.kind is VerdictKind.INCONCLUSIVE]
    assert doubtful
    for verdict in doubtful:
        assert verdict.present is None
        assert verdict.predicted is verdict.observed is verdict.guarantee.expected
        assert "limit" in verdict.reason
    assert {v.kind for v in verdicts} <= {VerdictKind.INCONCLUSIVE, VerdictKind.HOLDS}


def test_packets_alone_differ_where_no_state_has_the_cause(lab_name: str) -> None:
    """A budget of ICMP errors is beyond what is read back: the model sees the same lab as before."""
    with Lab(taps.delivered("nat.yaml"), lab_name) as lab:
        for setting in ("icmp_ratelimit", "icmp/ratelimit"):
            family = "ipv6" if "/" in setting else "ipv4"
            command = f"echo 100000000 > /proc/sys/net/{family}/{setting}"
            done = lab["hv1"].run(["sh", "-c", command])
            assert done.returncode == 0, done.stderr
        broken = [v for v in lab.probe() if v.kind is VerdictKind.BROKEN]
    assert broken
    for verdict in broken:
        assert answers(verdict) == (REJECTED, REJECTED, REJECTED, SILENT)
        assert verdict.reason.startswith("promised, predicted and present rejected, but observed silent")


def test_a_lab_built_otherwise_is_present_and_observed_alike(lab_name: str) -> None:
    topology = taps.delivered("nat.yaml")
    sabotaged = s.reworded(compile_topology(topology), "hv1", "srcnat", 'oifname "eth0"', 'oifname "eth1"')
    with Lab(topology, lab_name, state=sabotaged) as lab:
        verdicts = [v for v in lab.probe() if v.kind is VerdictKind.BROKEN]
    assert any("present and observed" in v.reason for v in verdicts)
    assert all(v.predicted is v.guarantee.expected for v in verdicts)


def test_an_expectation_has_four_answers_too(lab_name: str) -> None:
    with Lab(taps.delivered("nat.yaml"), lab_name) as lab:
        verdict = lab.expect("web", "peer", protocol="tcp", port=443)
        assert answers(verdict) == (DELIVERED,) * 4
        delete_rule(lab, "hv1", "forward", "home: VM to the LAN and beyond")
        with pytest.raises(AssertionError, match="present and observed rejected"):
            lab.expect("web", "peer", protocol="tcp", port=443)


def space_names(spaces: Spaces, _: None) -> tuple[str, ...]:
    return spaces.names()


def test_an_examination_that_is_broken_off_leaves_no_answer_for_the_next(lab_name: str) -> None:
    with Lab(taps.delivered("isolated.yaml"), lab_name) as lab:
        agent = lab._running_agent()
        with pytest.raises(ZeroDivisionError), agent.running(space_names, None):
            raise ZeroDivisionError
        assert agent.closed
        assert {v.kind for v in lab.probe()} == {VerdictKind.HOLDS}
