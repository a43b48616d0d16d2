"""The publisher's rounds: what is published when, and what never is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from fake_publishing import MemoryPublished, score, scored_cell
from fake_tables import DISTRICT, ELA, NEW_SCHOOL, SCHOOL, SECOND_SCHOOL, FakeTables, school

from gateway import following
from gateway.publisher import publisher
from gateway.publisher.metrics import Metrics
from gateway.publisher.publisher import Publisher
from schemas.aggregates import cell_field
from schemas.assessments import load_registry
from schemas.canary import canary_entries, canary_school, is_canary
from schemas.errors import Fenced
from schemas.identifiers import STATE, OrganizationId
from schemas.keys import Generation
from schemas.merged_cells import MergedCell
from schemas.releases import ReleaseKey, Releases, ReleaseState, Report

pytestmark = pytest.mark.anyio

WITHHELD_SCHOOL = OrganizationId("19990020000201")
UNRELEASED = Releases({}, version=1, unlisted=ReleaseState.LOADING)


def released(*subjects: str, version: int = 2) -> Releases:
    """The district's results of these subjects are released, and nothing else."""
    states = {
        ReleaseKey(2026, DISTRICT, subject, Report.AGGREGATE): ReleaseState.RELEASED for subject in subjects
    }
    return Releases(states, version=version, changed_ms=version)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes in the tables' surroundings is noticed at once."""
    monkeypatch.setattr(following, "_WATCH_SECONDS", 0.01)
    monkeypatch.setattr(publisher, "_SIGN_SECONDS", 0.005)


@asynccontextmanager
async def publishing(
    tables: FakeTables,
    published: MemoryPublished,
    metrics: Metrics | None = None,
    *,
    publish_seconds: float = 0.005,
) -> AsyncIterator[asyncio.Task[None]]:
    """A publisher that publishes all the time."""
    running = Publisher(
        tables,  # type: ignore[arg-type]  # the fake has what is read
        published,
        load_registry().at,
        metrics or Metrics(),
        publish_seconds=publish_seconds,
    )
    task = asyncio.create_task(running.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds."""
    for _ in range(15_000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("not within half a minute")


async def rounds(metrics: Metrics, more: int = 3) -> None:
    """Let some whole rounds go by, so that what was to be published is."""
    before = metrics.rounds._value.get()
    await until(lambda: metrics.rounds._value.get() >= before + more)


async def test_school_with_enough_students_is_published_with_all_above_it() -> None:
    tables, published = FakeTables(), MemoryPublished()
    score(tables, SCHOOL, 30)
    async with publishing(tables, published):
        await until(lambda: published.students(STATE) == 30)
    assert published.students(SCHOOL) == published.students(DISTRICT) == 30


async def test_school_with_ten_students_is_published_as_suppressed() -> None:
    tables, published = FakeTables(), MemoryPublished()
    tables.entries[NEW_SCHOOL] = school(NEW_SCHOOL, "Fir Elementary")
    score(tables, SCHOOL, 40)
    score(tables, SECOND_SCHOOL, 10)
    score(tables, NEW_SCHOOL, 30)
    async with publishing(tables, published):
        await until(lambda: published.students(DISTRICT) == 80)
    assert published.students(SCHOOL) == 40
    assert published.students(SECOND_SCHOOL) == "*"
    assert published.students(NEW_SCHOOL) == "*", "or the ten could be told by subtracting"


async def test_ten_more_students_publish_nothing_and_the_eleventh_publishes_all() -> None:
    tables, published, metrics = FakeTables(), MemoryPublished(), Metrics()
    score(tables, SCHOOL, 30)
    async with publishing(tables, published, metrics):
        await until(lambda: published.students(SCHOOL) == 30)
        before = dict(published.cells)
        score(tables, SCHOOL, 40)
        await rounds(metrics)
        assert published.cells == before, "not even a version moves"
        score(tables, SCHOOL, 41)
        await until(lambda: published.students(SCHOOL) == 41)
    assert published.cells[SCHOOL, ELA][0] == 2


async def test_nothing_is_published_before_its_district_has_released_it() -> None:
    tables, published, metrics = FakeTables(), MemoryPublished(), Metrics()
    tables.states = UNRELEASED
    score(tables, SCHOOL, 30)
    async with publishing(tables, published, metrics):
        await rounds(metrics)
        assert published.cells == {}
        tables.states = released("Math")
        await rounds(metrics, 5)
        assert published.cells == {}
        tables.states = released("ELA", version=3)
        await until(lambda: published.students(SCHOOL) == 30)


async def test_results_that_are_taken_back_are_gone_at_once_from_all_levels() -> None:
    tables, published = FakeTables(), MemoryPublished()
    tables.states = released("ELA")
    score(tables, SCHOOL, 30)
    async with publishing(tables, published):
        await until(lambda: published.students(STATE) == 30)
        tables.states = Releases({}, version=3)
        await until(lambda: published.cells == {})


async def test_students_who_come_from_a_school_that_is_withheld_are_not_taken_for_new() -> None:
    tables, published, metrics = FakeTables(), MemoryPublished(), Metrics()
    tables.states = released("ELA")
    tables.entries[WITHHELD_SCHOOL] = school(WITHHELD_SCHOOL, "Gum Elementary")
    score(tables, SCHOOL, 30)
    score(tables, WITHHELD_SCHOOL, 40)
    async with publishing(tables, published, metrics):
        await until(lambda: published.students(SCHOOL) == 30)
        score(tables, WITHHELD_SCHOOL, 28)
        score(tables, SCHOOL, 42)
        await rounds(metrics)
        assert published.students(SCHOOL) == 30
        assert published.students(WITHHELD_SCHOOL) is None


async def test_interims_are_published_without_any_release() -> None:
    interim = cell_field(2026, "ELA-ICA", "03")
    tables, published = FakeTables(), MemoryPublished()
    tables.states = UNRELEASED
    score(tables, SCHOOL, 30, interim)
    async with publishing(tables, published):
        await until(lambda: published.students(SCHOOL, interim) == 30)


async def test_test_that_the_registry_does_not_know_is_never_published() -> None:
    strange = cell_field(2026, "NOT-A-TEST", "03")
    tables, published = FakeTables(), MemoryPublished()
    score(tables, SCHOOL, 30, strange)
    score(tables, SCHOOL, 30)
    async with publishing(tables, published):
        await until(lambda: published.students(SCHOOL) == 30)
    assert published.students(SCHOOL, strange) is None


async def test_tables_that_are_still_being_filled_publish_nothing() -> None:
    tables, published, metrics = FakeTables(), MemoryPublished(), Metrics()
    score(tables, SCHOOL, 60)
    async with publishing(tables, published, metrics):
        await until(lambda: published.students(SCHOOL) == 60)
        before = dict(published.cells)
        tables.incomplete = True
        tables.generation = Generation("g2")  # made anew from the log, and not whole yet
        tables.cells[SCHOOL] = {ELA: MergedCell(tables.now_ms, scored_cell(range(2400, 2412)))}
        await until(lambda: metrics.waiting._value.get() == 1)
        score(tables, SCHOOL, 13)
        assert published.cells == before
        tables.incomplete = False
        score(tables, SCHOOL, 71)
        await until(lambda: published.students(SCHOOL) == 71)


async def test_another_generation_with_the_same_results_publishes_nothing() -> None:
    tables, published, metrics = FakeTables(), MemoryPublished(), Metrics()
    score(tables, SCHOOL, 30)
    async with publishing(tables, published, metrics):
        await until(lambda: published.students(SCHOOL) == 30)
        before, reads = dict(published.cells), len(tables.reads)
        tables.generation = Generation("g2")
        await until(lambda: len(tables.reads) > reads)
        await rounds(metrics)
        assert published.cells == before


async def test_school_that_is_listed_later_is_read_when_it_is() -> None:
    tables, published = FakeTables(), MemoryPublished()
    score(tables, SCHOOL, 30)
    async with publishing(tables, published):
        await until(lambda: published.students(SCHOOL) == 30)
        tables.cells[NEW_SCHOOL] = {ELA: MergedCell(tables.now_ms, scored_cell(range(2400, 2425)))}
        tables.entries[NEW_SCHOOL] = school(NEW_SCHOOL, "Fir Elementary")
        tables.directory_version += 1
        await until(lambda: published.students(NEW_SCHOOL) == 25)


async def test_restarted_publisher_goes_on_from_what_was_published() -> None:
    tables, published, metrics = FakeTables(), MemoryPublished(), Metrics()
    score(tables, SCHOOL, 30)
    async with publishing(tables, published):
        await until(lambda: published.students(SCHOOL) == 30)
    before = dict(published.cells)
    score(tables, SCHOOL, 37)
    async with publishing(tables, published, metrics):
        await rounds(metrics)
        assert published.cells == before, "seven students are no reason to publish, whoever publishes"


async def test_what_was_taken_back_while_nobody_published_goes_at_the_start() -> None:
    tables, published = FakeTables(), MemoryPublished()
    score(tables, SCHOOL, 30)
    async with publishing(tables, published):
        await until(lambda: published.students(SCHOOL) == 30)
    tables.states = Releases({}, version=3)
    async with publishing(tables, published):
        await until(lambda: published.cells == {})


async def test_second_publisher_takes_over_and_the_first_one_stops() -> None:
    tables, published, metrics = FakeTables(), MemoryPublished(), Metrics()
    score(tables, SCHOOL, 30)
    async with publishing(tables, published) as first:
        await until(lambda: published.students(SCHOOL) == 30)
        second_tables = FakeTables()
        score(second_tables, SCHOOL, 50)
        async with publishing(second_tables, published, metrics):
            with pytest.raises(Fenced):
                await asyncio.wait_for(first, 30)
            await until(lambda: published.students(SCHOOL) == 50)


async def test_publisher_is_heard_between_two_rounds_and_after_an_outage() -> None:
    tables, published, metrics = FakeTables(), MemoryPublished(), Metrics()
    score(tables, SCHOOL, 30)
    async with publishing(tables, published, metrics, publish_seconds=3_600):
        await until(lambda: published.students(SCHOOL) == 30 and metrics.rounds._value.get() == 1)
        before = published.signs
        await until(lambda: published.signs > before + 3)
        published.away = True
        await until(lambda: published.missed > 3)
        silent = published.signs
        published.away = False
        await until(lambda: published.signs > silent + 3)
        assert metrics.rounds._value.get() == 1


async def test_publisher_is_heard_while_it_still_reads_what_was_published() -> None:
    tables, published, metrics = FakeTables(), MemoryPublished(), Metrics()
    published.reading = asyncio.Event()
    async with publishing(tables, published, metrics):
        await until(lambda: published.signs > 3)
        assert metrics.rounds._value.get() == 0
        published.reading.set()
        await rounds(metrics)


async def test_write_whose_answer_got_lost_is_counted_once() -> None:
    tables, published = FakeTables(), MemoryPublished()
    published.answer_lost = True
    score(tables, SCHOOL, 30)
    async with publishing(tables, published):
        await until(lambda: not published.answer_lost)
        score(tables, SCHOOL, 50)
        await until(lambda: published.students(SCHOOL) == 50)
    assert published.cells[SCHOOL, ELA][0] == 2


async def test_redis_that_is_away_holds_up_the_write_and_loses_nothing() -> None:
    tables, published, metrics = FakeTables(), MemoryPublished(), Metrics()
    published.fault = ConnectionError("refused")
    score(tables, SCHOOL, 30)
    async with publishing(tables, published, metrics):
        await until(lambda: published.claim_held.epoch == 1)
        await asyncio.sleep(0)
        published.fault = None
        await until(lambda: published.students(SCHOOL) == 30)


async def test_redis_that_comes_back_empty_is_given_what_was_published_and_nothing_newer() -> None:
    tables, published, metrics = FakeTables(), MemoryPublished(), Metrics()
    score(tables, SCHOOL, 30)
    async with publishing(tables, published, metrics):
        await until(lambda: published.students(SCHOOL) == 30)
        score(tables, SCHOOL, 35)
        published.lose()
        await until(lambda: published.students(SCHOOL) is not None)
        await rounds(metrics)
        assert published.students(SCHOOL) == published.students(STATE) == 30


async def test_no_metric_tells_that_a_hidden_school_changed() -> None:
    tables, published, metrics = FakeTables(), MemoryPublished(), Metrics()
    score(tables, SCHOOL, 60)
    score(tables, SECOND_SCHOOL, 4)
    async with publishing(tables, published, metrics):
        await until(lambda: published.students(DISTRICT) == 64)
        await rounds(metrics)
        counted = (metrics.writes, metrics.cells)
        before = [one._value.get() for one in counted] + [metrics.write_seconds._sum.get()]
        score(tables, SECOND_SCHOOL, 9)
        await rounds(metrics)
        assert before == [one._value.get() for one in counted] + [metrics.write_seconds._sum.get()]


async def test_canaries_are_never_published_however_many_there_are() -> None:
    tables, published, metrics = FakeTables(), MemoryPublished(), Metrics()
    for entry in canary_entries(1):
        tables.entries[OrganizationId(entry.cds)] = entry
    score(tables, canary_school(1), 40)
    score(tables, SCHOOL, 30)
    async with publishing(tables, published, metrics):
        await until(lambda: published.students(STATE) == 30)
        score(tables, canary_school(1), 15)
        await rounds(metrics)
    assert published.students(STATE) == published.students(SCHOOL) == 30
    assert not any(is_canary(organization) for organization, _ in published.cells)
