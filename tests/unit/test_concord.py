"""Four answers put together: which differs is named rightly, whichever it is, and never holds."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from msgspec.structs import replace

from vnetlab.concord import settle
from vnetlab.guarantees import Flow, Guarantee, Outcome, Protocol, Seen, Verdict, VerdictKind
from vnetlab.predict.journey import Prediction, Received
from vnetlab.topology.model import Family

DELIVERED, REJECTED, SILENT = Outcome.DELIVERED, Outcome.REJECTED, Outcome.SILENT
HOLDS, BROKEN, INCONCLUSIVE, UNAVAILABLE = VerdictKind
PEER = ip_address("192.0.2.20")
DRIFT = ("hv1: inet vnetlab forward lacks `web out`",)


def guarantee(**changes: object) -> Guarantee:
    flow = Flow(Family.IPV4, Protocol.TCP, PEER, ip_address("10.0.0.2"), 4000, 80)
    seen = Seen(source_address=ip_address("192.0.2.10"), source_mac="02:00:00:00:00:0a", ttl=63)
    made = Guarantee("nat.outbound", "nat", "hv1/home", "web", "peer", flow, DELIVERED, "web gets out")
    return replace(made, seen=seen, answered=True, **changes)


RECEIVED = Received("eth0", "02:00:00:00:00:0a", ip_address("192.0.2.10"), PEER, 4000, 80, 63)
YES = Prediction(DELIVERED, "it reaches peer", True, RECEIVED)
NO = Prediction(REJECTED, "hv1: forward: inet vnetlab forward: policy: drop", False)
UNTRANSLATED = replace(YES, received=replace(RECEIVED, source_address=ip_address("10.0.0.2")))
DOUBT = Prediction(None, "hv1: rule `limit rate 1/second`: `limit`", False)


def judged(
    kind: VerdictKind = HOLDS, observed: Outcome | None = DELIVERED, why: str = "peer saw it"
) -> Verdict:
    return Verdict(guarantee(), observed, kind, why, ("sent by web",))


def test_four_that_agree_hold_as_judged() -> None:
    verdict = settle(judged(), YES, YES)
    assert (verdict.kind, verdict.reason) == (HOLDS, "peer saw it")
    assert (verdict.predicted, verdict.present, verdict.observed) == (DELIVERED,) * 3
    assert verdict.evidence == ("sent by web", "model: it reaches peer")


@pytest.mark.parametrize(
    ("predicted", "present", "observed", "said"),
    [
        (NO, YES, judged(), "promised, present and observed delivered, but predicted rejected"),
        (YES, NO, judged(), "promised, predicted and observed delivered, but present rejected"),
        (NO, NO, judged(), "promised and observed delivered, but predicted and present rejected"),
        (YES, YES, judged(BROKEN, SILENT), "promised, predicted and present delivered, but observed silent"),
        (
            YES,
            NO,
            judged(BROKEN, REJECTED),
            "promised and predicted delivered, but present and observed rejec",
        ),
        (
            NO,
            YES,
            judged(BROKEN, REJECTED),
            "promised and present delivered, but predicted and observed rejec",
        ),
        (
            NO,
            NO,
            judged(BROKEN, REJECTED),
            "promised delivered, but predicted, present and observed rejected",
        ),
        (
            YES,
            NO,
            judged(BROKEN, SILENT),
            "promised and predicted delivered, but present rejected, but obser",
        ),
        (
            YES,
            UNTRANSLATED,
            judged(),
            "promised, predicted and observed delivered, but present delivered oth",
        ),
        (
            YES,
            YES,
            judged(BROKEN),
            "promised, predicted and present delivered, but observed delivered otherwise",
        ),
        (
            YES,
            UNTRANSLATED,
            judged(BROKEN),
            "promised and predicted delivered, but present and observed deliv",
        ),
    ],
)
def test_whichever_differs_is_named(
    predicted: Prediction, present: Prediction, observed: Verdict, said: str
) -> None:
    verdict = settle(observed, predicted, present, DRIFT)
    assert verdict.kind is BROKEN
    assert verdict.reason.startswith(said)


def test_every_combination_of_answers_that_differ_is_broken() -> None:
    for predicted in (YES, NO, UNTRANSLATED):
        for present in (YES, NO, UNTRANSLATED):
            for observed in (judged(), judged(BROKEN), judged(BROKEN, SILENT)):
                agree = predicted is present is YES and observed.kind is HOLDS
                assert settle(observed, predicted, present).kind is (HOLDS if agree else BROKEN)


def test_a_change_by_hand_is_told_with_what_changed() -> None:
    reason = settle(judged(BROKEN, REJECTED, "hv1 said no"), YES, NO, DRIFT * 5).reason
    assert (
        "hv1 said no; the lab is not what the file makes: hv1: inet vnetlab forward lacks `web out`" in reason
    )
    assert "and 2 more" in reason
    assert "the model of the state present says: hv1: forward: inet vnetlab forward: policy: drop" in reason


def test_packets_alone_against_the_rest_are_unaccounted_for() -> None:
    reason = settle(judged(BROKEN, SILENT, "peer saw nothing"), YES, YES).reason
    assert reason.endswith("peer saw nothing; nothing that the model knows accounts for it")


def test_a_detail_that_differs_is_told() -> None:
    reason = settle(judged(), YES, UNTRANSLATED, DRIFT).reason
    assert "it comes from 10.0.0.2 instead of 192.0.2.10" in reason


@pytest.mark.parametrize(("predicted", "present"), [(DOUBT, YES), (YES, DOUBT), (DOUBT, DOUBT)])
def test_a_model_that_does_not_know_proves_nothing(predicted: Prediction, present: Prediction) -> None:
    verdict = settle(judged(), predicted, present, DRIFT)
    assert verdict.kind is INCONCLUSIVE
    assert "limit rate 1/second" in verdict.reason
    assert (verdict.predicted, verdict.present) == (predicted.outcome, present.outcome)


def test_packets_against_the_promise_are_broken_even_where_the_model_does_not_know() -> None:
    verdict = settle(judged(BROKEN, SILENT, "peer saw nothing"), DOUBT, DOUBT)
    assert verdict.kind is BROKEN
    assert verdict.reason.startswith("promised delivered, but observed silent; peer saw nothing")


def test_one_model_against_the_promise_is_broken_even_where_the_other_does_not_know() -> None:
    assert settle(judged(), DOUBT, NO).kind is BROKEN


@pytest.mark.parametrize("kind", [INCONCLUSIVE, UNAVAILABLE])
def test_what_packets_cannot_prove_stays_so_unless_the_model_contradicts(kind: VerdictKind) -> None:
    lost = judged(kind, None, "eth0 was lost")
    assert (settle(lost, YES, YES).kind, settle(lost, YES, YES).reason) == (kind, "eth0 was lost")
    assert settle(lost, YES, DOUBT).kind is INCONCLUSIVE
    assert settle(lost, YES, NO, DRIFT).kind is BROKEN
    assert settle(lost, YES, NO, DRIFT).reason.startswith(
        "promised and predicted delivered, but present rejec"
    )


def test_an_inconclusive_observation_is_no_answer_to_compare() -> None:
    seen_otherwise = judged(INCONCLUSIVE, SILENT, "no control shows that peer receives")
    assert settle(seen_otherwise, YES, YES).kind is INCONCLUSIVE
