"""Verdicts on what is no reader of a log, and the judgement as a whole."""

from __future__ import annotations

from typing import Any, Final

import pytest

from consumers.lag.judging import Judge, figures_of
from consumers.lag.parts import (
    Facts,
    Waiting,
    clocks_part,
    endpoints_part,
    forgotten,
    kafka_part,
    piles_up,
    redis_part,
    rejections_part,
    reported_parts,
)
from consumers.lag.samples import GroupSample, PartitionSample, Skew, Snapshot, Trouble
from consumers.lag.verdicts import Rules
from schemas.operations import Judgement, PartReport, Verdict
from schemas.webhooks.endpoints import DisabledReason, EndpointState

NOW_MS: Final = 1_700_000_000_000
FINE: Final = Facts(answer_seconds=0.001, used_bytes=900)
DOWN: Final = Snapshot(at_ms=NOW_MS, troubles=(Trouble("redis", "connection refused"),))


@pytest.mark.parametrize(
    ("facts", "snapshot", "verdict"),
    [
        (FINE, Snapshot(at_ms=NOW_MS), Verdict.OK),
        (Facts(), DOWN, Verdict.STOP),
        (FINE, DOWN, Verdict.WARN),
        (Facts(answer_seconds=0.3, used_bytes=900), Snapshot(at_ms=NOW_MS), Verdict.WARN),
        (Facts(answer_seconds=0.001, used_bytes=900, limit_bytes=1_000), Snapshot(at_ms=NOW_MS), Verdict.OK),
        (
            Facts(answer_seconds=0.001, used_bytes=901, limit_bytes=1_000),
            Snapshot(at_ms=NOW_MS),
            Verdict.WARN,
        ),
    ],
    ids=["fine", "away", "answers_only_in_part", "slow", "nine_tenths_full", "nearly_full"],
)
def test_redis_is(facts: Facts, snapshot: Snapshot, verdict: Verdict) -> None:
    assert redis_part(snapshot, facts).verdict == verdict


def test_kafka_has_stopped_when_it_does_not_even_say_where_the_results_end() -> None:
    trouble = (Trouble("kafka", "no broker answers"),)
    assert kafka_part(Snapshot(at_ms=NOW_MS, troubles=trouble)).verdict == Verdict.STOP
    assert kafka_part(Snapshot(at_ms=NOW_MS, troubles=trouble, events=5)).verdict == Verdict.WARN
    assert kafka_part(Snapshot(at_ms=NOW_MS, events=5)).verdict == Verdict.OK


@pytest.mark.parametrize(
    ("skews", "verdict"),
    [
        ([], Verdict.INCOMPLETE),
        ([Skew("redis", 2.0)], Verdict.OK),
        ([Skew("redis", -2.1)], Verdict.SKEWED),
        ([Skew("redis", 3.0, uncertain_seconds=1.5)], Verdict.OK),
        ([Skew("redis", 0.1), Skew("records of exam-results.v1", 60.0)], Verdict.SKEWED),
    ],
    ids=["nobody_was_asked", "two_seconds", "more", "asking_took_as_long", "records_from_the_future"],
)
def test_clocks_that_differ_by(skews: list[Skew], verdict: Verdict) -> None:
    assert clocks_part(skews).verdict == verdict


def snapshots(*counts: tuple[int, int], every_seconds: int = 5) -> list[Snapshot]:
    """Of rejected and all events so far."""
    return [
        Snapshot(at_ms=NOW_MS + number * every_seconds * 1000, rejected=rejected, events=events)
        for number, (rejected, events) in enumerate(counts)
    ]


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ([(7, 100)], Verdict.OK),
        ([(7, 100), (12, 110)], Verdict.OK),
        ([(7, 100), (13, 110)], Verdict.REJECTING),
        ([(0, 0), (90, 10_000)], Verdict.OK),
        ([(0, 0), (101, 10_000)], Verdict.REJECTING),
        ([(500, 10_000), (0, 0)], Verdict.OK),
    ],
    ids=[
        "those_of_former_days",
        "five",
        "six",
        "fewer_than_one_in_a_hundred",
        "more_than_one_in_a_hundred",
        "before_the_topic_was_made_anew",
    ],
)
def test_rejected_events_in_a_minute(counts: list[tuple[int, int]], verdict: Verdict) -> None:
    assert rejections_part(snapshots(*counts)).verdict == verdict


def test_of_rejections_nothing_is_said_while_kafka_does_not_say() -> None:
    assert rejections_part([Snapshot(at_ms=NOW_MS)]).verdict == Verdict.INCOMPLETE


def test_endpoint_that_has_failed_for_ten_minutes_is_a_warning_and_a_disabled_one_is_none() -> None:
    new = EndpointState(failing_since_ms=NOW_MS - 500_000)
    old = EndpointState(failing_since_ms=NOW_MS - 601_000)
    gone = EndpointState(disabled=DisabledReason.GONE)
    assert endpoints_part(Facts(endpoints=[new, gone]), NOW_MS).verdict == Verdict.OK
    part = endpoints_part(Facts(endpoints=[new, old, gone], messages_waiting=4), NOW_MS)
    assert part.verdict == Verdict.WARN
    assert part.figures == {"failing": 1.0, "disabled": 1.0, "waiting": 4.0}


@pytest.mark.parametrize(
    ("messages", "alarms"),
    [
        ((), False),
        ((5_000,), False),
        ((1_100, 1_200, 1_400), False),  # for 20 s only
        ((1_100, 1_200, 1_400, 1_800), True),
        ((900, 1_200, 1_400, 1_800), False),
        ((900, 1_100, 1_200, 1_400, 1_800), True),  # too few, but more than 30 s ago
        ((2_000, 1_000, 4_000, 8_000), False),
        ((5_000, 5_000, 5_000, 5_000), False),
        ((5_000, 5_003, 5_001, 5_004), False),
        ((9_000, 7_000, 5_000, 3_000), False),
    ],
    ids=[
        "nothing_known",
        "one_look",
        "for_too_short_a_time",
        "many_and_more",
        "few_at_first",
        "many_for_long_enough",
        "taken_in_between",
        "standing_still",
        "about_the_same",
        "shrinking",
    ],
)
def test_webhook_messages_pile_up_when_many_have_waited_for_half_a_minute_and_become_more(
    messages: tuple[int, ...], alarms: bool
) -> None:
    waited = [Waiting(NOW_MS + 10_000 * number, count) for number, count in enumerate(messages)]
    assert piles_up(waited) is alarms


def test_pile_of_webhook_messages_is_a_warning_until_it_shrinks() -> None:
    judge = Judge(Rules(), "here", 10.0)

    def endpoints(seconds: int, facts: Facts) -> PartReport:
        judgement = judge.judge(Snapshot(at_ms=NOW_MS + seconds * 1000), facts)
        return next(part for part in judgement.parts if part.name == "endpoints")

    def waiting(messages: int) -> Facts:
        return Facts(answer_seconds=0.001, messages_waiting=messages)

    assert endpoints(0, waiting(1_500)).verdict == Verdict.OK
    assert endpoints(15, Facts()).verdict == Verdict.OK  # of an outage of Redis nothing follows
    found = endpoints(30, waiting(2_500))
    assert (found.verdict, found.detail) == (Verdict.WARN, "2,500 messages wait, and they become more")
    assert endpoints(40, waiting(1_200)).verdict == Verdict.WARN  # one good sample is not enough
    assert endpoints(50, waiting(600)).verdict == Verdict.OK


def test_part_that_has_not_told_of_itself_for_a_minute_has_stopped_and_later_is_forgotten() -> None:
    def told(age_seconds: int) -> dict[str, PartReport]:
        at_ms = NOW_MS - age_seconds * 1000
        return {"gateways:a:8080": PartReport(name="gateways", verdict=Verdict.OK, at_ms=at_ms)}

    assert [(one.name, one.verdict) for one in reported_parts(told(59), NOW_MS)] == [
        ("gateways:a:8080", Verdict.OK)
    ]
    assert [one.verdict for one in reported_parts(told(61), NOW_MS)] == [Verdict.STOP]
    assert reported_parts(told(601), NOW_MS) == []
    assert forgotten(told(599), NOW_MS) == []
    assert forgotten(told(601), NOW_MS) == ["gateways:a:8080"]


def judged(**figures: Any) -> Judgement:
    streams = PartitionSample(
        partition=0, position=8, end=8, lag_records=0, lag_seconds=0.0, complete_ms=NOW_MS
    )
    export = PartitionSample(partition=0, position=6, end=8, lag_records=2, lag_seconds=0.25)
    snapshot = Snapshot(
        at_ms=NOW_MS,
        groups=(
            GroupSample(group="streams", topic="exam-results.v1", partitions=(streams,)),
            GroupSample(group="export", topic="audit.v1", partitions=(export,)),
        ),
        rejected=0,
        events=8,
        **figures,
    )
    canary = PartReport(name="canary", verdict=Verdict.OK, figures={"push": 0.4}, at_ms=NOW_MS)
    facts = Facts(answer_seconds=0.001, used_bytes=900, reported={"canary": canary})
    return Judge(Rules(), "monitor-1", 5.0).judge(snapshot, facts)


def verdicts(judgement: Judgement) -> dict[str, Verdict]:
    return {group.group: group.verdict for group in judgement.groups}


def test_wrong_clock_of_redis_concerns_our_readers_and_no_others() -> None:
    assert verdicts(judged(skews=(Skew("redis", 9.0),))) == {
        "streams": Verdict.SKEWED,
        "export": Verdict.OK,
    }


def test_wrong_clock_of_a_topic_concerns_its_readers() -> None:
    assert verdicts(judged(skews=(Skew("records of audit.v1", 9.0),))) == {
        "streams": Verdict.OK,
        "export": Verdict.SKEWED,
    }


def test_rejections_are_the_streams_doing() -> None:
    judge = Judge(Rules(), "monitor-1", 5.0)
    group = GroupSample(group="streams", topic="exam-results.v1", partitions=())
    for number, (rejected, events) in enumerate([(0, 0), (50, 100)]):
        snapshot = Snapshot(at_ms=NOW_MS + number * 5_000, groups=(group,), rejected=rejected, events=events)
        judgement = judge.judge(snapshot, FINE)
    assert verdicts(judgement) == {"streams": Verdict.REJECTING}
    assert judgement.worst == Verdict.REJECTING


def test_charts_show_lag_events_and_the_canary() -> None:
    figures = figures_of(judged(skews=(Skew("redis", 0.0),))).figures
    assert figures == {
        "lag/streams": 0.0,
        "records/streams": 0,
        "lag/export": 0.25,
        "records/export": 2,
        "events": 0.0,
        "rejected": 0.0,
        "redis/used_bytes": 900.0,
        "redis/answer_seconds": 0.001,
        "canary/push": 0.4,
    }


def test_judgement_is_fresh_for_half_a_minute_or_three_samples() -> None:
    assert Judgement(at_ms=NOW_MS, monitor="m", every_seconds=5.0).is_fresh(NOW_MS + 30_000)
    assert not Judgement(at_ms=NOW_MS, monitor="m", every_seconds=5.0).is_fresh(NOW_MS + 30_001)
    assert Judgement(at_ms=NOW_MS, monitor="m", every_seconds=60.0).is_fresh(NOW_MS + 180_000)
