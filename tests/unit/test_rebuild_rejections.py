"""A rebuild parks what nobody has parked yet, counts the rest, and notes where it decides otherwise than the workers did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from schemas.assessments import load_registry
from schemas.closings import Change
from schemas.errors import InvalidInput
from schemas.events import ClosingEntry, ExamResult, encode_event
from schemas.identifiers import Grade, StudentId
from schemas.keys import Attribution
from schemas.pseudonyms import Pseudonymizer
from schemas.rejections import Reason
from schemas.topics import EXAM_RESULTS
from streams.closings import KnownClosings, never_closed, park_closed
from streams.reading import Incoming, Reader, Rejection
from streams.rebuild_rejections import FirstPass, SecondReading
from streams.topic_reading import StoredRecord

SCHOOL, ELSEWHERE = "19990010000101", "19990010000102"
PSEUDONYMS = Pseudonymizer(b"sixteen bytes or more of a secret")
PARTITION = 3


@dataclass(frozen=True)
class Record:
    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int = 0


def result(offset: int, *, school: str = SCHOOL, tested_school: str | None = None) -> Record:
    event = ExamResult(
        assessment_id=load_registry().natural_id("ELA-SUM", Grade("03"), 2026),
        opportunity_id=f"opportunity-{offset}",
        school_year=2026,
        status="scored",
        status_date=datetime(2026, 4, 1, tzinfo=UTC),
        sequence=1,
        student_id="STUDENT1",
        school=school,
        tested_school=tested_school,
        grade="03",
        scale_score=2431,
        level=2,
    )
    key = PSEUDONYMS.student_key(StudentId("STUDENT1")).encode()
    return Record(key, encode_event(event), offset)


class SilentTopic(FirstPass):
    """The rejected topic, to which nothing is added."""

    def __init__(self) -> None:
        super().__init__("unused:9092")
        self.looked = 0

    async def catch_up(self) -> None:
        self.looked += 1


@dataclass
class Setting:
    first: SilentTopic
    parked: list[Rejection]
    reading: SecondReading


def setting(
    rule: Attribution = "current",
    *,
    secret: bytes = b"sixteen bytes or more of a secret",
    closings: KnownClosings | None = None,
) -> Setting:
    first = SilentTopic()
    parked: list[Rejection] = []

    async def park(rejected: Sequence[Rejection], partition: int) -> None:
        assert partition == PARTITION
        parked.extend(rejected)

    reader = Reader(load_registry(), Pseudonymizer(secret), {SCHOOL}.__contains__)
    reading = SecondReading(
        PARTITION, reader.under(rule), reader, first, park, never_closed() if closings is None else closings
    )
    return Setting(first, parked, reading)


def rejected_before(record: Record, **headers: bytes) -> StoredRecord:
    where = {
        "rejected_topic": EXAM_RESULTS.encode(),
        "rejected_partition": str(PARTITION).encode(),
        "rejected_offset": str(record.offset).encode(),
        **headers,
    }
    return StoredRecord(record.key, record.value, 0, 0, headers=tuple(where.items()))


def rejection(reading: SecondReading, record: Record) -> Rejection:
    read = reading.read(record)
    assert isinstance(read, Rejection)
    return read


@pytest.mark.anyio
async def test_result_that_was_parked_before_is_counted_and_not_parked_again() -> None:
    test = setting()
    record = result(5, school=ELSEWHERE)
    test.first.add(rejected_before(record))
    await test.reading.reject([rejection(test.reading, record)])
    assert (test.parked, test.reading.newly_rejected) == ([], 0)
    assert test.reading.rejected == {Reason.UNKNOWN_ORGANIZATION: 1}
    assert not test.reading.to_note


@pytest.mark.anyio
async def test_result_that_counts_now_and_was_parked_before_is_noted() -> None:
    test = setting()
    record = result(5)
    test.first.add(rejected_before(record))
    read = test.reading.read(record)
    assert isinstance(read, Incoming)
    assert test.reading.to_note == {read.unit} and test.reading.newly_taken == 1


@pytest.mark.anyio
async def test_result_that_came_while_its_test_was_closed_stays_parked_and_is_not_taken_for_new() -> None:
    async def closed() -> Sequence[Change]:
        return [Change(ClosingEntry(school_year=2026, test="ELA-SUM", change="closed"), -60_000)]

    known = KnownClosings(closed)
    await known.look()
    test = setting(closings=known)
    record = result(5)
    test.first.add(rejected_before(record))
    read = test.reading.read(record)
    assert isinstance(read, Incoming)
    _, parked = park_closed([read], known.now)
    await test.reading.reject(parked)
    assert (test.reading.newly_taken, test.reading.newly_rejected, test.parked) == (0, 0, [])
    assert test.reading.rejected == {Reason.CLOSED: 1}
    assert not test.reading.to_note


@pytest.mark.anyio
async def test_result_that_only_the_new_rule_rejects_is_parked_and_noted() -> None:
    test = setting("tested")
    record = result(5, tested_school=ELSEWHERE)
    await test.reading.reject([rejection(test.reading, record)])
    assert [parked.reason for parked in test.parked] == [Reason.UNKNOWN_ORGANIZATION]
    assert test.reading.newly_rejected == 1 and test.first.looked == 1
    assert len(test.reading.to_note) == 1, "under the rule that serves it counts"


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        pytest.param({}, True, id="the record itself"),
        pytest.param({"rejected_partition": b"4"}, False, id="another partition"),
        pytest.param({"rejected_topic": b"exam-results.rejected.v1"}, False, id="a parked import"),
        pytest.param({"rejected_retried": b"2026-05-02T08:00:00+00:00"}, False, id="a marker"),
        pytest.param({"rejected_offset": b"five"}, False, id="somebody else's record"),
    ],
)
def test_rejection_is_known_by_its_place(headers: dict[str, bytes], known: bool) -> None:
    first = SilentTopic()
    first.add(rejected_before(result(5), **headers))
    assert first.rejected(PARTITION, result(5)) is known


def test_rejection_of_a_topic_made_anew_is_told_apart_by_its_bytes() -> None:
    first = SilentTopic()
    first.add(rejected_before(result(5)))
    assert not first.rejected(PARTITION, result(5, school=ELSEWHERE))
    first.add(replace_value(rejected_before(result(6), rejected_omitted=b"value")))
    assert first.rejected(PARTITION, result(6, school=ELSEWHERE)), "too large to go along; its place must do"


def replace_value(stored: StoredRecord) -> StoredRecord:
    return stored._replace(value=None)


@pytest.mark.anyio
async def test_rebuild_with_another_secret_than_the_workers_parks_nothing() -> None:
    test = setting(secret=b"quite another secret of 16 bytes")
    records = [replace(result(5), offset=offset) for offset in range(50)]
    with pytest.raises(InvalidInput, match="SCORES_STUDENT_KEY_SECRET"):
        await test.reading.reject([rejection(test.reading, record) for record in records])
    assert test.parked == []
