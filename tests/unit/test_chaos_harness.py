"""The chaos harness itself: it expects what the recount says, plans what the seed says, and times what is behind."""

from __future__ import annotations

import random
from itertools import islice
from typing import cast

import pytest

from cli.simulator.county import plan_county
from cli.simulator.options import SeasonOptions
from cli.simulator.season import Season
from cli.verify import compare
from schemas.assessments import load_registry
from schemas.events import encode_event
from schemas.pseudonyms import Pseudonymizer
from tests.chaos.disturbances import Kind, kinds_for, planned
from tests.chaos.log_reader import LoggedRecord, LogReader
from tests.chaos.prefix import Prefix, merged
from tests.chaos.settling import BEHIND_SECONDS, Settling


class FakeLog:
    """One partition with these values, by key."""

    def __init__(self, records: list[tuple[str, bytes]]) -> None:
        self.records = [LoggedRecord(offset, key, value) for offset, (key, value) in enumerate(records)]

    def between(self, partition: int, start: int, stop: int) -> list[LoggedRecord]:
        return self.records[start:stop]


@pytest.fixture
def log() -> FakeLog:
    registry = load_registry()
    options = SeasonOptions(schools=8, results=150, rescores=0.2, resets=0.1, moves=0.2, duplicates=0.1)
    season = Season(plan_county(8, 1), registry, Pseudonymizer(b"a secret of the tests"), options)
    return FakeLog([(record.key, encode_event(record.event)) for record in season])


def prefix_of(log: FakeLog) -> Prefix:
    schools = [school.cds for school in plan_county(8, 1).schools]
    return Prefix(cast(LogReader, log), 0, load_registry(), schools)


def test_recount_carried_along_equals_one_from_scratch_wherever_positions_jump(log: FakeLog) -> None:
    prefix = prefix_of(log)
    rng = random.Random(1)
    for _ in range(40):
        prefix.move_to(rng.randrange(len(log.records) + 1))
        assert compare(prefix.from_scratch(), prefix.cells) == []
    prefix.move_to(0)
    assert prefix.cells == {}


def test_records_that_no_worker_may_apply_are_expected_in_the_rejected_topic(log: FakeLog) -> None:
    key, value = log.records[0].key, log.records[0].value
    other = value.replace(b'"school":"', b'"school":"99', 1)[: len(value) + 2]
    log.records = FakeLog([(key, value), (key, b"<TDSReport/>"), (key, value), (key, other)]).records
    prefix = prefix_of(log)
    prefix.move_to(4)
    assert prefix.rejected == {1, 3}, "neither an event nor its duplicate, but what cannot be decoded"
    prefix.move_to(1)
    assert prefix.rejected == set()


def test_shares_of_partitions_add_up(log: FakeLog) -> None:
    whole, first, second = prefix_of(log), prefix_of(log), prefix_of(log)
    whole.move_to(len(log.records))
    first.move_to(len(log.records))
    assert compare(whole.cells, merged([first.cells, second.cells])) == []


def test_same_seed_plans_the_same_disturbances_and_every_kind_before_any_again() -> None:
    kinds = kinds_for(real_kafka=True)
    plan = list(islice(planned(7, 3, 6.0, kinds), 2 * len(kinds)))
    assert plan == list(islice(planned(7, 3, 6.0, kinds), 2 * len(kinds)))
    assert plan != list(islice(planned(8, 3, 6.0, kinds), 2 * len(kinds)))
    assert {one.kind for one in plan[: len(kinds)]} == set(kinds)
    assert Kind.KAFKA_DOWN not in kinds
    assert all(one.seconds > 6 for one in plan if one.kind in {Kind.SLEEP, Kind.KAFKA_SILENT})


def test_settled_when_nothing_is_behind_what_the_log_held_a_second_ago() -> None:
    settling = Settling(60)
    settling.disturbed("kill", 0.0)
    end = 0
    for tenth in range(100):
        now = tenth / 10
        end += 10
        stuck = now < 5
        settling.look(now, [0 if stuck else end - 5], [end])
    [watch] = settling.watches
    assert watch.settled_seconds == pytest.approx(4.9, abs=0.11)
    assert settling.pending == []


def test_system_that_does_not_go_on_is_overdue() -> None:
    settling = Settling(2.0)
    settling.disturbed("kill", 0.0)
    for second in range(4):
        assert not settling.look(float(second), None, [second])
    [watch] = settling.overdue(3.0)
    assert watch.name == "kill" and watch.settled_seconds is None
    settling.outage_over(3.0)
    assert settling.overdue(3.0) == [], "with Kafka or Redis away nothing can settle"
    assert BEHIND_SECONDS < 2.0
