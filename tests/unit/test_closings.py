"""A closed test: which results it parks is a function of the log, whoever reads it, when, and however late."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Literal
from unittest import mock

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from rejected_results import KEY, SCHOOL, Consumed, result
from simulation.backends import Backend, FakeBackend
from simulation.closing_machine import ClosingMachine
from simulation.guards import removed

from schemas import closings
from schemas.assessments import load_registry
from schemas.closings import (
    LEAD_MS,
    TOLERANCE_MS,
    Change,
    ClosedTest,
    Closings,
    Interval,
    closed_detail,
    closed_test_in,
    fold,
)
from schemas.errors import AggregateUnderflow
from schemas.events import ClosingEntry, decode_closing, encode_event
from schemas.identifiers import Grade
from schemas.pseudonyms import Pseudonymizer
from schemas.rejections import PARKED, Reason
from streams import closings as streams_closings
from streams.closings import KnownClosings, never_closed, park_closed
from streams.closings_topic import changes_in
from streams.reading import Incoming, Reader
from streams.topic_reading import StoredRecord

ELA = ClosedTest(2026, "ELA-SUM")
ELA_2025 = "(SBAC)SBAC-SUM-ELA-3-Spring-2024-2025"
NOON = datetime(2026, 8, 31, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp()) * 1000
LATER = NOON_MS + LEAD_MS

Kind = Literal["closed", "reopened"]


def change(kind: Kind, seconds: float = 0, *, at: float | None = None, about: ClosedTest = ELA) -> Change:
    """A record that Kafka took down so many seconds after noon, for a moment so many seconds after noon."""
    moment = None if at is None else NOON + timedelta(seconds=at)
    entry = ClosingEntry(school_year=about.school_year, test=about.test, change=kind, at=moment)
    return Change(entry, NOON_MS + int(seconds * 1000))


def closed_seconds(*changes: Change) -> list[tuple[float, float | None]]:
    """When the test was closed, in seconds after noon."""
    return [
        ((start - NOON_MS) / 1000, None if end is None else (end - NOON_MS) / 1000)
        for start, end in fold(changes).intervals(ELA)
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([change("closed")], [(10, None)], id="closed, ten seconds after its record"),
        pytest.param([change("closed"), change("reopened", 60)], [(10, 70)], id="closed and reopened"),
        pytest.param(
            [change("closed"), change("reopened", 60), change("closed", 100)],
            [(10, 70), (110, None)],
            id="closed twice",
        ),
        pytest.param([change("closed"), change("closed", 60)], [(10, None)], id="closed when it is closed"),
        pytest.param([change("reopened")], [], id="reopened when it is open"),
        pytest.param([change("closed", at=3600)], [(3600, None)], id="closed for a moment to come"),
        pytest.param([change("closed", at=3)], [(10, None)], id="a moment sooner than can be heard of"),
        pytest.param([change("closed", at=3600), change("reopened", 60)], [], id="called off in time"),
        pytest.param(
            [change("closed", at=3600), change("reopened", 60), change("closed", 90, at=1800)],
            [(1800, None)],
            id="put forward",
        ),
        pytest.param([change("closed", at=3600), change("closed", 60)], [(70, None)], id="closed sooner"),
        pytest.param(
            [
                change("closed", about=ClosedTest(2025, "ELA-SUM")),
                change("closed", about=ClosedTest(2026, "CAST")),
            ],
            [],
            id="another year, another test",
        ),
    ],
)
def test_test_is_closed_from_the_moment_that_its_latest_record_says(
    changes: list[Change], expected: list[tuple[float, float | None]]
) -> None:
    assert closed_seconds(*changes) == expected


def test_moment_of_closing_is_closed_and_that_of_reopening_is_open() -> None:
    known = fold([change("closed"), change("reopened", 60)])
    asked = {
        moment: known.closed_since(ELA.field, moment)
        for moment in (LATER - 1, LATER, LATER + 59_999, LATER + 60_000)
    }
    assert list(asked.values()) == [None, LATER, LATER, None]
    assert known.closed_since(ClosedTest(2025, "ELA-SUM").field, LATER) is None


def test_nothing_closed_is_falsy_so_that_workers_need_not_look() -> None:
    assert not Closings()
    assert not fold([change("closed", at=3600), change("reopened")]), "called off, so never closed"
    assert fold([change("closed"), change("reopened", 60)]), "what came in between stays parked in a replay"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("closed", "reopened")),
            st.integers(0, 60),
            st.none() | st.integers(0, 120),
        ),
        max_size=8,
    )
)
def test_no_change_touches_what_was_decided_before_it(
    drawn: list[tuple[Kind, int, int | None]],
) -> None:
    """Nor do the records' times have to grow: a broker's clock may go back."""
    changes = [change(kind, seconds, at=at) for kind, seconds, at in drawn]
    known = Closings()
    for one in changes:
        before, known = known, known.after(one)
        for moment in range(NOON_MS, one.recorded_ms + LEAD_MS, 1_000):
            assert known.closed_since(ELA.field, moment) == before.closed_since(ELA.field, moment)
        after = known.closed_since(ELA.field, one.effective_ms)
        assert (after is not None) == (one.entry.change == "closed")


def test_parked_result_says_which_test_is_closed_and_can_be_asked() -> None:
    detail = closed_detail(ELA.field, LATER)
    assert detail == "2026/ELA-SUM is closed since 2026-08-31T12:00:10.000Z; reopen it and retry"
    assert closed_test_in(detail) == str(ELA) == "2026/ELA-SUM"
    assert closed_test_in("school 99700012222222 is not in the directory; load it and retry") is None
    assert Reason.CLOSED in PARKED and "reopen" in Reason.CLOSED.remedy


def test_record_that_is_no_closing_is_left_out_by_everybody_alike(caplog: pytest.LogCaptureFixture) -> None:
    sound = change("closed").entry
    bodies = [
        b"{",
        None,
        b'{"school_year":2026}',
        encode_event(sound).replace(b"closed", b"shut"),
        b"[" * 5000,
    ]
    records = [StoredRecord(b"k", body, number, NOON_MS) for number, body in enumerate(bodies)]
    records.append(StoredRecord(b"k", encode_event(sound), 9, NOON_MS))
    assert list(changes_in(records)) == [Change(sound, NOON_MS)]
    assert len(caplog.records) == len(bodies)


def test_entry_without_a_zone_or_of_no_such_year_is_refused() -> None:
    for body in (
        b'{"school_year":2026,"test":"ELA-SUM","change":"closed","at":"2026-08-31T12:00:00"}',
        b'{"school_year":1926,"test":"ELA-SUM","change":"closed"}',
        b'{"school_year":2026,"test":"2026:ELA-SUM","change":"closed"}',
    ):
        with pytest.raises(msgspec.ValidationError):
            decode_closing(body)


# Parking.


def read(timestamp: int, **fields: Any) -> Incoming:
    reader = Reader(
        load_registry(), Pseudonymizer(b"sixteen bytes or more of a secret"), {SCHOOL}.__contains__
    )
    found = reader.read(Consumed(KEY, result(**fields), 7, timestamp))
    assert isinstance(found, Incoming)
    return found


def test_rescores_and_resets_of_a_closed_test_are_parked_and_others_are_taken() -> None:
    earlier, rescore = read(LATER - 1), read(LATER, sequence=42)
    reset, another_year = (
        read(LATER + 5, status="reset"),
        read(LATER, assessment_id=ELA_2025, school_year=2025),
    )
    interim = read(LATER, assessment_id=load_registry().natural_id("ELA-ICA", Grade("03"), 2026))
    taken, parked = park_closed([earlier, rescore, reset, another_year, interim], fold([change("closed")]))
    assert taken == [earlier, another_year, interim]
    assert [rejection.record for rejection in parked] == [rescore.record, reset.record]
    assert {rejection.reason for rejection in parked} == {Reason.CLOSED}
    assert {rejection.detail for rejection in parked} == {closed_detail(ELA.field, LATER)}


# What a worker knows, and when it has to ask.


@dataclass
class Topic:
    """The closings topic, and how often it was asked."""

    changes: list[Change] = field(default_factory=list)
    asked: int = 0
    read: int = 0

    async def read_on(self) -> Sequence[Change]:
        self.asked += 1
        start, self.read = self.read, len(self.changes)
        return self.changes[start:]


@pytest.mark.anyio
async def test_worker_asks_before_its_first_batch_and_then_only_where_time_has_passed() -> None:
    topic = Topic([change("closed")])
    known = KnownClosings(topic.read_on)
    assert (await known.up_to(NOON_MS)).closed_since(ELA.field, LATER) == LATER
    decidable = LEAD_MS - 2 * TOLERANCE_MS
    for moment in (NOON_MS - 86_400_000, NOON_MS + 1, NOON_MS + decidable - 1):
        await known.up_to(moment)
    assert topic.asked == 1
    await known.up_to(NOON_MS + decidable)
    assert topic.asked == 2
    await known.look()  # the timer: what was fetched so far is older than this
    await known.up_to(NOON_MS + 2 * decidable - 1)
    assert topic.asked == 3


@pytest.mark.anyio
async def test_worker_that_heard_of_nothing_for_an_hour_parks_what_came_after_the_closing() -> None:
    topic = Topic()
    known = KnownClosings(topic.read_on)
    await known.up_to(NOON_MS)
    topic.changes.append(change("closed", 1800))
    assert (await known.up_to(NOON_MS + 3_600_000)).closed_since(ELA.field, NOON_MS + 3_600_000) is not None


@pytest.mark.anyio
async def test_worker_that_cannot_read_the_topic_decides_nothing() -> None:
    answers = asyncio.Event()

    async def away() -> Sequence[Change]:
        await answers.wait()
        return [change("closed")]

    known = KnownClosings(away)
    waiting = [asyncio.create_task(known.up_to(LATER + number)) for number in range(3)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    answers.set()
    assert all(found.closed_since(ELA.field, LATER) == LATER for found in await asyncio.gather(*waiting))


@pytest.mark.anyio
async def test_worker_alone_never_finds_anything_closed() -> None:
    assert not await never_closed().up_to(LATER)


# Any interleaving.


@dataclass
class World:
    """Brokers whose clocks differ, workers that fetch, wait, read the closings and decide, and time that passes."""

    seed: int
    parked: int = 0
    taken: int = 0

    def __post_init__(self) -> None:
        self._rng = Random(self.seed)
        rng = self._rng
        self._now_ms = NOON_MS
        self._skews = [rng.randint(-TOLERANCE_MS // 2, TOLERANCE_MS // 2) for _ in range(3)]
        self._logs: list[list[int]] = [[], []]  # the time of each result, by partition
        self._leaders = [0, 1, 2]  # of each partition, and of the closings
        self._changes: list[Change] = []
        self._decided: list[tuple[int, int | None]] = []
        self._steps = 150

    def wrong(self) -> list[tuple[int, int | None]]:
        """Decisions that are not what the whole log says."""
        asyncio.run(self._run())
        truth = fold(self._changes)
        self.parked = sum(since is not None for _, since in self._decided)
        self.taken = len(self._decided) - self.parked
        return [
            (record_ms, since)
            for record_ms, since in self._decided
            if since != truth.closed_since(ELA.field, record_ms)
        ]

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                self._start_worker(group)
            for _ in range(self._steps):
                await self._turn()
                if self._rng.random() < 0.02:
                    self._start_worker(group)  # from the beginning of the log
            self._steps = 0

    def _start_worker(self, group: asyncio.TaskGroup) -> None:
        read = 0

        async def read_on() -> Sequence[Change]:
            nonlocal read
            found = self._changes[read:]
            for _ in range(self._rng.randint(0, 2)):
                await self._turn()
                if self._rng.random() < 0.5:
                    found = self._changes[read:]
            read += len(found)
            return found

        known = KnownClosings(read_on)
        for log in self._logs:
            group.create_task(self._apply(log, known))
        group.create_task(self._look(known))

    async def _apply(self, log: list[int], known: KnownClosings) -> None:
        position = 0
        while self._steps or position < len(log):
            batch = log[position : position + self._rng.randint(1, 20)]
            for _ in range(self._rng.randint(0, 2)):
                await self._turn()
            if batch:
                found = await known.up_to(batch[-1])
                self._decided += [(moment, found.closed_since(ELA.field, moment)) for moment in batch]
                position += len(batch)
            else:
                await asyncio.sleep(0)

    async def _look(self, known: KnownClosings) -> None:
        while self._steps:
            for _ in range(self._rng.randint(1, 30)):
                await self._turn()
            await known.look()

    async def _turn(self) -> None:
        if self._steps:
            self._pass()
        await asyncio.sleep(0)

    def _pass(self) -> None:
        rng = self._rng
        self._now_ms += rng.choice((1, 1, 100, 100, 1_000, 7_000))
        if rng.random() < 0.6:
            partition = rng.randrange(len(self._logs))
            self._logs[partition].append(self._stamp(partition))
        if rng.random() < 0.03:
            kind: Kind = "reopened" if rng.random() < 0.4 else "closed"
            seconds = (self._stamp(2) - NOON_MS) / 1000
            at = seconds + rng.randint(0, 40) if rng.random() < 0.3 else None
            self._changes.append(change(kind, seconds, at=at))
        if rng.random() < 0.02:
            self._leaders[rng.randrange(3)] = rng.randrange(3)

    def _stamp(self, log: int) -> int:
        return self._now_ms + self._skews[self._leaders[log]]


def test_whatever_a_worker_knows_when_it_decides_as_the_whole_log_says() -> None:
    parked = taken = 0
    for seed in range(60):
        world = World(seed)
        assert world.wrong() == [], seed
        parked, taken = parked + world.parked, taken + world.taken
    assert min(parked, taken) > 500, "or this proves nothing"


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        pytest.param(streams_closings, "_DECIDABLE_MS", 10**12, id="never asking again"),
        pytest.param(closings, "LEAD_MS", 0, id="closing at once"),
    ],
)
def test_without_the_head_start_or_the_question_some_worker_decides_otherwise(
    where: object, name: str, value: int
) -> None:
    with mock.patch.object(where, name, value):
        assert any(World(seed).wrong() for seed in range(30))


class OnTheModel(ClosingMachine):
    async def open(self) -> Backend:
        return FakeBackend()


def test_whatever_happens_what_came_while_a_test_was_closed_is_parked_and_in_no_figure() -> None:
    run_state_machine_as_test(
        OnTheModel, settings=settings(max_examples=40, stateful_step_count=40, deadline=None)
    )


def test_the_machine_finds_out_when_a_worker_applies_what_it_should_have_parked() -> None:
    with removed("closing"):
        examples = settings(
            max_examples=300, stateful_step_count=40, deadline=None, database=None, phases=[Phase.generate]
        )
        with pytest.raises((AssertionError, AggregateUnderflow)):
            run_state_machine_as_test(OnTheModel, settings=examples)


def test_interval_without_an_end_is_closed_for_good() -> None:
    assert fold([change("closed")]).intervals(ELA) == (Interval(LATER, None),)
    assert dict(fold([change("closed")])) == {ELA: (Interval(LATER, None),)}
