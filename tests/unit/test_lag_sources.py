"""Lag from what the sources say: positions, log ends and record times, put together without any of them being there."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from consumers.lag.groups import NOT_TOLD, Group, GroupsSeen
from consumers.lag.log_ends import Range, TopicFacts
from consumers.lag.measuring import measured, partitions_of, places_of
from consumers.lag.record_times import Place, RecordTime
from consumers.lag.redis_positions import Partition, Positions, Tables, Unrelayed
from consumers.lag.samples import RELAY, STREAMS, GroupSample, PartitionSample, Skew
from consumers.lag.skew import Reading, clock_of_records, clock_of_redis
from consumers.lag.standings import Draft, of_groups, of_tables, of_webhooks
from consumers.lag.table_readers import of_publisher, of_relay
from schemas.topics import AGGREGATE_CHANGES, EXAM_RESULTS, PUBLISHED_CHANGES, RELEASES, RESULT_CHANGES

NOW = 1_780_000_000_000
LOG = "a cluster/a topic"
FACTS = {EXAM_RESULTS: TopicFacts("a cluster", "a topic", 1)}
ALL_READ = Unrelayed(NOW, None, 0)


def tables(**fields: Any) -> Tables:
    whole = Tables(
        next=100,
        epoch=7,
        owner="worker-a",
        log=LOG,
        complete_ms=NOW - 900,
        changed_ms=NOW - 1_000,
        catch_up=None,
    )
    return replace(whole, **fields)


NO_TABLES = Tables(None, None, "", "", None, None, None)


def positions(*partitions: Partition, **fields: Any) -> Positions:
    everything = Positions(
        at_ms=NOW,
        redis_ms=NOW,
        skew=Skew("redis", 0.0),
        serving="g1",
        rebuilding=False,
        partitions=partitions,
        relay_lease=3,
        relayed="g1",
        published=NO_TABLES,
        published_cells=Unrelayed(None, None, 0),
        published_heard_ms=None,
        organizations={},
        releases={},
        worker={},
        webhooks_lease="",
    )
    return replace(everything, **fields)


def lag(
    position: int | None,
    span: Range,
    record: RecordTime | None = None,
    *,
    from_start: bool = True,
    replaced: bool = False,
) -> PartitionSample:
    one = PartitionSample(partition=0, position=position, log_replaced=replaced)
    draft = Draft(
        GroupSample(group=STREAMS, topic=EXAM_RESULTS, partitions=(one,)), NOW, from_start=from_start
    )
    records = {}
    for place in places_of([draft], {(EXAM_RESULTS, 0): span}):
        if record is not None:
            records[place] = record
    return measured(draft, {(EXAM_RESULTS, 0): span}, records).partitions[0]


def test_lag_in_seconds_is_the_age_of_the_record_that_is_read_next() -> None:
    found = lag(60, Range(0, 100), RecordTime(60, NOW - 12_500))
    assert (found.lag_records, found.lag_seconds) == (40, 12.5)


def test_reader_at_the_end_has_no_lag_however_old_the_last_record_is() -> None:
    found = lag(100, Range(0, 100))
    assert (found.lag_records, found.lag_seconds, found.lost_records) == (0, 0.0, 0)


def test_record_that_could_not_be_fetched_leaves_seconds_unknown_and_not_zero() -> None:
    found = lag(60, Range(0, 100))
    assert (found.lag_records, found.lag_seconds) == (40, None)


def test_records_that_retention_deleted_are_lost_and_the_first_that_is_left_tells_the_age() -> None:
    found = lag(20, Range(50, 100), RecordTime(50, NOW - 3_000))
    assert (found.lost_records, found.lag_records, found.lag_seconds) == (30, 50, 3.0)


def test_reader_of_an_old_log_that_never_began_lost_nothing_of_what_it_never_had() -> None:
    found = lag(None, Range(50, 100), RecordTime(50, NOW - 3_000))
    assert (found.lost_records, found.lag_records, found.lag_seconds) == (0, 50, 3.0)


def test_group_that_never_committed_is_behind_by_nobody_knows_how_much() -> None:
    found = lag(None, Range(50, 100), from_start=False)
    assert (found.end, found.lag_records, found.lag_seconds) == (100, None, None)


def test_markers_of_transactions_behind_the_position_are_no_lag() -> None:
    found = lag(99, Range(0, 100), RecordTime(100, None))
    assert (found.lag_records, found.lag_seconds) == (0, 0.0)


def test_record_in_the_future_of_this_clock_is_no_negative_lag() -> None:
    assert lag(99, Range(0, 100), RecordTime(99, NOW + 4_000)).lag_seconds == 0.0


@pytest.mark.parametrize(
    ("position", "replaced"), [(101, False), (60, True)], ids=["beyond the end", "of another log"]
)
def test_position_that_is_not_of_this_log_has_no_lag_in_it(position: int, replaced: bool) -> None:
    found = lag(position, Range(0, 100), RecordTime(position, NOW - 1_000), replaced=replaced)
    assert (found.log_replaced, found.lag_records, found.lag_seconds) == (True, None, None)


def test_partition_without_a_leader_keeps_its_position_and_has_no_lag() -> None:
    one = PartitionSample(partition=0, position=60)
    draft = Draft(GroupSample(group=STREAMS, topic=EXAM_RESULTS, partitions=(one,)), NOW)
    assert measured(draft, {}, {}).partitions == (one,)


def test_partitions_that_are_furthest_behind_are_fetched_first() -> None:
    samples = tuple(PartitionSample(partition=number, position=90 - number * 10) for number in range(3))
    draft = Draft(GroupSample(group=STREAMS, topic=EXAM_RESULTS, partitions=samples), NOW)
    ranges = {(EXAM_RESULTS, number): Range(0, 100) for number in range(3)}
    assert partitions_of([draft]) == ranges.keys()
    assert [place.partition for place in places_of([draft], ranges)] == [2, 1, 0]


def worker_at(one: Tables, workers: Group | None) -> PartitionSample:
    drafts = list(of_tables(positions(Partition(one, ALL_READ, ALL_READ)), FACTS, workers))
    return drafts[0].sample.partitions[0]


def group(*, members: int = 1, settled: bool = True, **assigned: str) -> Group:
    partitions = {(EXAM_RESULTS, int(name[1:])): owner for name, owner in assigned.items()}
    return Group("score-streams", "Stable", members, assigned=partitions, settled=settled)


def test_owner_is_who_claimed_the_partition_while_kafka_has_it_assigned() -> None:
    found = worker_at(tables(), group(p0="client-1 at 10.0.0.1"))
    assert (found.owner, found.owner_known, found.epoch, found.heard_ms) == ("worker-a", True, 7, NOW)


def test_claim_of_a_worker_that_left_is_no_owner() -> None:
    found = worker_at(tables(), group(members=0))
    assert (found.owner, found.owner_known, found.heard_ms) == ("", True, NOW - 900)


@pytest.mark.parametrize("workers", [None, group(settled=False)], ids=["not told", "shared out anew"])
def test_nobody_is_called_missing_where_that_cannot_be_told(workers: Group | None) -> None:
    found = worker_at(tables(), workers)
    assert (found.owner, found.owner_known) == ("worker-a", False)


@pytest.mark.parametrize(
    ("following", "catch_up", "told"), [(40, 90, 90), (90, 90, None), (None, 90, 90), (40, None, None)]
)
def test_tables_say_that_they_catch_up_until_they_have(
    following: int | None, catch_up: int | None, told: int | None
) -> None:
    assert worker_at(tables(next=following, catch_up=catch_up), None).catch_up == told


def test_tables_of_a_topic_that_was_made_anew_say_so() -> None:
    assert worker_at(tables(log="a cluster/another topic"), None).log_replaced
    assert not worker_at(tables(), None).log_replaced


def test_before_the_first_worker_every_partition_of_the_topic_is_there_and_unread() -> None:
    facts = {EXAM_RESULTS: TopicFacts("a cluster", "a topic", 3)}
    [draft] = of_tables(positions(serving=""), facts, group(members=0))
    assert [(one.partition, one.position, one.owner) for one in draft.sample.partitions] == [
        (0, None, ""),
        (1, None, ""),
        (2, None, ""),
    ]


def relayed(found: Positions, since_ms: int = 0) -> dict[str, PartitionSample]:
    return {draft.sample.topic: draft.sample.partitions[0] for draft in of_relay(found, since_ms)}


def test_relay_is_behind_since_the_oldest_change_that_kafka_does_not_have() -> None:
    behind = Unrelayed(NOW - 9_000, NOW - 8_000, 12)
    found = relayed(positions(Partition(tables(), behind, ALL_READ)))
    assert (found[AGGREGATE_CHANGES].lag_records, found[AGGREGATE_CHANGES].lag_seconds) == (12, 8.0)
    assert found[AGGREGATE_CHANGES].position == NOW - 9_000
    assert (found[RESULT_CHANGES].lag_records, found[RESULT_CHANGES].lag_seconds) == (0, 0.0)
    assert found[PUBLISHED_CHANGES].lag_seconds == 0.0


def test_relay_that_gets_through_a_queue_of_results_moves() -> None:
    """Of results nobody notes up to where they are in Kafka: those that are, are gone from the queue."""
    drained = [
        relayed(positions(Partition(tables(), ALL_READ, Unrelayed(None, first_ms, 40))))[
            RESULT_CHANGES
        ].position
        for first_ms in (NOW - 9_000, NOW - 4_000)
    ]
    assert drained == [NOW - 9_000, NOW - 4_000]


def test_relay_that_takes_over_rebuilt_tables_is_late_only_since_they_serve() -> None:
    """All that the rebuild filled in was changed before; Kafka has it from the tables that served then."""
    filled = Unrelayed(None, NOW - 3_600_000, 1_000)
    rebuilt = positions(Partition(tables(), filled, ALL_READ), serving="g2", relayed="g1")
    found = relayed(rebuilt, since_ms=NOW - 2_000)[AGGREGATE_CHANGES]
    assert (found.lag_seconds, found.catch_up) == (2.0, NOW - 1_000)


def test_relay_waits_for_all_tables_while_one_partition_catches_up() -> None:
    whole = Partition(tables(), Unrelayed(NOW, NOW - 5_000, 1), ALL_READ)
    half = Partition(tables(next=1, catch_up=90), ALL_READ, ALL_READ)
    drafts = {draft.sample.topic: draft.sample for draft in of_relay(positions(whole, half), 0)}
    assert [one.catch_up is not None for one in drafts[AGGREGATE_CHANGES].partitions] == [True, True]


def test_relay_without_a_lease_is_nobody() -> None:
    [draft, *_] = of_relay(positions(Partition(tables(), ALL_READ, ALL_READ), relay_lease=None), 0)
    assert (draft.sample.group, draft.sample.members) == (RELAY, 0)
    assert (draft.sample.partitions[0].owner, draft.sample.partitions[0].heard_ms) == ("", None)


def test_publisher_and_webhooks_are_nothing_to_tell_of_before_there_ever_was_one() -> None:
    assert list(of_publisher(positions())) == []
    assert list(of_webhooks(positions(), FACTS)) == []


@pytest.mark.parametrize(
    ("sign_ms", "redis_ms", "heard_ms"),
    [
        pytest.param(NOW - 800, NOW, NOW - 800, id="just now"),
        pytest.param(NOW - 60_800, NOW - 60_000, NOW - 800, id="by a clock of Redis that is a minute behind"),
        pytest.param(NOW + 59_200, NOW + 60_000, NOW - 800, id="by one that is a minute ahead"),
        pytest.param(NOW + 500, NOW, NOW, id="before the clock of Redis went back"),
        pytest.param(None, NOW, None, id="never"),
    ],
)
def test_publisher_was_heard_when_it_gave_a_sign_whatever_the_clock_of_redis_is(
    sign_ms: int | None, redis_ms: int, heard_ms: int | None
) -> None:
    published = tables(next=7, owner="host:1", changed_ms=NOW - 3_600_000)
    found = positions(published=published, published_heard_ms=sign_ms, redis_ms=redis_ms)
    [draft] = of_publisher(found)
    one = draft.sample.partitions[0]
    assert (one.position, one.owner, one.heard_ms) == (7, "host:1", heard_ms)


def test_webhooks_stand_where_their_worker_wrote_it_and_are_heard_while_one_holds_the_lease() -> None:
    facts = {
        name: TopicFacts("c", name[:1], 1)
        for name in (AGGREGATE_CHANGES, PUBLISHED_CHANGES, RESULT_CHANGES, RELEASES)
    }
    log = "/".join(("c", *(facts[one].identity for one in facts))).encode()
    worker = {b"epoch": b"5", b"log": log, f"at:{RELEASES}:0".encode(): b"42"}
    found = {
        draft.sample.topic: draft.sample
        for draft in of_webhooks(positions(worker=worker, webhooks_lease="host:1"), facts)
    }
    one = found[RELEASES].partitions[0]
    assert (one.position, one.owner, one.heard_ms, one.epoch) == (42, "host:1", NOW, 5)
    assert (one.log_replaced, found[RELEASES].members) == (False, 1)
    assert found[AGGREGATE_CHANGES].partitions[0].position is None
    gone = {**worker, b"log": b"c/x/y/z/w"}
    after = {draft.sample.topic: draft.sample for draft in of_webhooks(positions(worker=gone), facts)}
    assert after[RELEASES].partitions[0].log_replaced
    assert (after[RELEASES].members, after[RELEASES].partitions[0].heard_ms) == (0, None)


def test_other_groups_are_told_by_topic_with_assigned_partitions_that_have_no_offset_yet() -> None:
    other = Group(
        "district-export",
        "Stable",
        1,
        assigned={("a", 1): "client at host", ("b", 0): "client at host"},
        committed={("a", 0): 5, ("a", 1): 6},
        settled=True,
    )
    seen = GroupsSeen({"district-export": other, "score-streams": group()})
    found = {draft.sample.topic: draft for draft in of_groups(seen, NOW, ("score-streams",))}
    assert found.keys() == {"a", "b"} and not found["a"].from_start
    told = [(one.position, one.owner, one.heard_ms) for one in found["a"].sample.partitions]
    assert told == [(5, "", None), (6, "client at host", NOW)]
    assert [one.position for one in found["b"].sample.partitions] == [None]


def test_foreign_group_is_not_taken_for_one_of_our_readers_by_its_name() -> None:
    seen = GroupsSeen({"relay": Group("relay", committed={("a", 0): 5})})
    assert [draft.sample.group for draft in of_groups(seen, NOW, ())] == ["group relay"]
    assert list(of_groups(NOT_TOLD, NOW, ())) == []


def test_clock_of_redis_is_compared_with_the_middle_of_question_and_answer() -> None:
    assert clock_of_redis(NOW, NOW + 200, NOW + 5_100) == Skew("redis", 5.0, 0.1)
    assert clock_of_redis(NOW, NOW, NOW - 3_000).seconds == -3.0


@pytest.mark.parametrize(
    ("stamped", "seconds"),
    [(NOW + 3_000, 3.0), (NOW - 500, 0.0), (NOW - 6_500, -5.5)],
    ids=["written in the future", "written in between", "written before it can have been"],
)
def test_clock_of_the_broker_is_wrong_by_what_its_times_are_out_of_the_possible(
    stamped: int, seconds: float
) -> None:
    fair = Reading(NOW - 100, NOW - 1_000, NOW)
    found = clock_of_records("a", [fair, Reading(stamped, NOW - 1_000, NOW)])
    assert found == Skew("records of a", seconds)


def test_old_record_says_nothing_of_a_clock_that_is_behind() -> None:
    assert clock_of_records("a", [Reading(NOW - 60_000, None, NOW)]) == Skew("records of a", 0.0)
    assert clock_of_records("a", []) is None


def test_place_is_shared_by_readers_that_stand_at_the_same_offset() -> None:
    one = PartitionSample(partition=0, position=10)
    drafts = [
        Draft(GroupSample(group=name, topic="a", partitions=(one,)), NOW) for name in ("x", "y", STREAMS)
    ]
    assert places_of(drafts, {("a", 0): Range(0, 20)}) == {Place("a", 0, 10): 20}
