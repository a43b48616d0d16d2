"""From snapshots to reports: windows, what ends them, and alarms that hold."""

from __future__ import annotations

from typing import Any, Final

from consumers.lag.holding import Held
from consumers.lag.samples import GroupSample, PartitionSample, Snapshot, Trouble
from consumers.lag.verdicts import Rules
from consumers.lag.windows import Windows
from schemas.operations import PARTITIONS_TOLD, GroupReport, Verdict

BEGUN_MS: Final = 1_700_000_000_000
OK: Final[dict[str, Any]] = {"position": 5, "end": 5, "lag_records": 0, "lag_seconds": 0.0}
STALLED: Final[dict[str, Any]] = {
    "position": 5,
    "end": 90,
    "lag_records": 85,
    "lag_seconds": 60.0,
    "owner": "w",
}


class Season:
    """Snapshots five seconds apart."""

    def __init__(self) -> None:
        self.windows = Windows(Rules())
        self.number = 0

    def add(self, *groups: GroupSample, troubles: tuple[Trouble, ...] = ()) -> tuple[GroupReport, ...]:
        at_ms = BEGUN_MS + self.number * 5_000
        self.number += 1
        return self.windows.add(Snapshot(at_ms=at_ms, groups=groups, troubles=troubles))

    def streams(self, figures: dict[str, Any], *, times: int = 1, generation: str = "g1") -> GroupReport:
        for _ in range(times):
            heard = BEGUN_MS + self.number * 5_000
            sample = PartitionSample(partition=0, heard_ms=heard, **figures)
            (report,) = self.add(_group("streams", sample, generation=generation))
        return report


def _group(name: str, *partitions: PartitionSample, generation: str = "") -> GroupSample:
    return GroupSample(group=name, topic="exam-results.v1", partitions=partitions, generation=generation)


def test_an_alarm_is_left_after_two_good_samples_in_a_row() -> None:
    season = Season()
    assert season.streams(STALLED, times=6).verdict == Verdict.STALL
    assert season.streams(OK).verdict == Verdict.STALL
    assert season.streams(OK).verdict == Verdict.OK


def test_an_alarm_outlives_the_outage_of_its_source() -> None:
    held = Held()
    found = [Verdict.STALL, Verdict.OK, Verdict.INCOMPLETE, Verdict.OK, Verdict.OK]
    said = [held.take(verdict, number) for number, verdict in enumerate(found)]
    assert said == [Verdict.STALL] * 4 + [Verdict.OK]


def test_good_samples_count_only_in_a_row() -> None:
    held = Held()
    found = [Verdict.STALL, Verdict.OK, Verdict.STALL, Verdict.OK, Verdict.OK]
    said = [held.take(verdict, number) for number, verdict in enumerate(found)]
    assert said == [Verdict.STALL] * 4 + [Verdict.OK]


def test_one_alarm_gives_way_to_another_at_once() -> None:
    held = Held()
    held.take(Verdict.STOP, 1)
    assert held.take(Verdict.WARN, 2) == Verdict.WARN
    assert held.since_ms == 2


def test_a_verdict_says_since_when_it_holds() -> None:
    season = Season()
    season.streams(STALLED, times=6)
    report = season.streams(STALLED, times=3)
    assert report.partitions[0].since_ms == BEGUN_MS + 5 * 5_000


def test_tables_that_were_built_anew_begin_a_window_and_are_no_rewind() -> None:
    season = Season()
    season.streams({**STALLED, "position": 80}, times=6)
    assert season.streams(STALLED, generation="g2").verdict == Verdict.INCOMPLETE
    assert season.streams(STALLED, times=5, generation="g2").verdict == Verdict.STALL
    rewound = Season()
    rewound.streams({**STALLED, "position": 80}, times=4)
    assert rewound.streams(STALLED).verdict == Verdict.REWIND


def test_a_group_is_as_bad_as_its_worst_partition_which_is_told_first() -> None:
    season = Season()
    for _ in range(6):
        heard = BEGUN_MS + season.number * 5_000
        (report,) = season.add(
            _group(
                "streams",
                PartitionSample(partition=0, **OK),
                PartitionSample(partition=1, heard_ms=heard, **STALLED),
                PartitionSample(partition=2, **{**OK, "position": 7, "end": 7}),
            )
        )
    assert report.verdict == Verdict.STALL
    assert [one.partition for one in report.partitions] == [1, 0, 2]
    assert report.verdicts == {"ok": 2, "stall": 1}
    assert (report.lag_records, report.lag_seconds, report.partition_count) == (85, 60.0, 3)
    assert (report.position_records, report.end_records) == (17, 102)


def test_of_many_partitions_only_the_worst_are_told() -> None:
    many = [
        PartitionSample(partition=number, position=0, end=number, lag_records=number, lag_seconds=0.1)
        for number in range(1_000)
    ]
    (report,) = Season().add(_group("streams", *many))
    assert [one.partition for one in report.partitions] == list(range(999, 999 - PARTITIONS_TOLD, -1))
    assert (report.partition_count, report.verdicts) == (1_000, {"ok": 1_000})


def test_groups_of_ours_are_told_before_the_worst_of_others() -> None:
    season = Season()
    for _ in range(6):
        heard = BEGUN_MS + season.number * 5_000
        reports = season.add(
            _group("a-fine-one", PartitionSample(partition=0, **OK)),
            _group("nightly-export", PartitionSample(partition=0, heard_ms=heard, **STALLED)),
            _group("streams", PartitionSample(partition=0, **OK)),
        )
    assert [report.group for report in reports] == ["streams", "nightly-export", "a-fine-one"]


def test_a_reader_that_nobody_can_see_while_kafka_is_away_keeps_its_alarm() -> None:
    season = Season()
    season.streams(STALLED, times=6)
    (report,) = season.add(troubles=(Trouble("kafka", "no broker answers"),))
    assert (report.group, report.verdict) == ("streams", Verdict.STALL)
    assert season.add() == ()  # Kafka answers, and says that there is no such reader any more


def test_a_reader_that_was_fine_cannot_be_told_of_while_kafka_is_away() -> None:
    season = Season()
    season.streams(OK, times=6)
    (report,) = season.add(troubles=(Trouble("kafka", "no broker answers"),))
    assert report.verdict == Verdict.INCOMPLETE
