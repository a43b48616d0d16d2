"""The guards of the real script, line by line: with the line, the fault does nothing; without it, the harness sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from importlib.resources import files

import pytest
import redis.asyncio
import stack
from simulation.backends import LOG, RedisBackend
from simulation.cast import LATE_SCHOOL, SCHOOLS, cast
from simulation.driver import Driver, Mismatch
from simulation.history import Event, Fact

from schemas.events import ExamResult, encode_event
from streams.rows import exam_ids
from streams.tables import PartitionTables

pytestmark = pytest.mark.anyio

SOURCE = files("streams").joinpath("lua", "apply_batch.lua").read_text()
GUARD_LINES = {
    "epoch": "if stored[1] ~= epoch then return",
    "position": "if (stored[2] or '') ~= expected then return",
}


class Unguarded(RedisBackend):
    """A real server whose apply script lacks some lines."""

    def __init__(self, client: redis.asyncio.Redis, without: str | None) -> None:
        super().__init__(client)
        lines = SOURCE.splitlines()
        left_out = [line for line in lines if without is not None and line.startswith(GUARD_LINES[without])]
        assert len(left_out) == (0 if without is None else 1), "the guard is one line of the script"
        self.script = client.register_script("\n".join(line for line in lines if line not in left_out))

    def tables(self, log: str = LOG) -> PartitionTables:
        tables = super().tables(log)
        tables._apply = self.script  # type: ignore[attr-defined]  # the one thing that this test changes
        return tables


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with stack.store("embedded") as server:
        yield server.url


@pytest.fixture
async def client(address: str) -> AsyncIterator[redis.asyncio.Redis]:
    async with redis.asyncio.Redis.from_url(address) as found:
        await found.flushall()
        yield found


def scored(student: int, school: str) -> Event:
    """One student's first result, in the only partition."""
    who, test = cast().students[student], cast().tests[0]
    event = ExamResult(
        assessment_id=test.assessment_id,
        opportunity_id="1",
        school_year=2026,
        status="scored",
        status_date="2026-04-01T12:00:00Z",  # type: ignore[arg-type]  # encoded as it is
        sequence=student + 1,
        student_id=who.identifier,
        school=school,
        grade="03",
        scale_score=2431,
        level=2,
    )
    day = 1_775_044_800_000_000
    fact = Fact(
        who.key,
        exam_ids(test.assessment_id)("1"),
        "2026:ELA-SUM:03",
        (day, student + 1),
        live=True,
        scored=True,
        completed_us=day,
        school=school,
        cell="2026:ELA-SUM:03",
        score=2431,
        slots=(4,),
    )
    return Event("scored", who.key.encode(), encode_event(event), 0, fact)


async def zombie_writes_from_what_it_remembers(driver: Driver) -> None:
    """A worker that does not know a school yet; the store loses its tail; a worker that knows the school reads on."""
    zombie, owner = driver.processes
    for student, school in enumerate((SCHOOLS[0], LATE_SCHOOL, SCHOOLS[0])):
        driver.produce(scored(student, school))
    zombie.knows_late_school = False
    await driver.assign(0, [0])
    before = await driver.backend.snapshot()
    await driver.deliver(0, 0, 2)
    await driver.backend.restore(before)
    await driver.assign(1, [0])
    await driver.deliver(1, 0, 2)
    assert owner.worker.positions_now() == zombie.worker.positions_now()
    await driver.check()
    await driver.deliver(0, 0, 1)
    await driver.check()


async def owner_writes_after_a_rollback(driver: Driver) -> None:
    """The store loses its tail, and the worker goes on where it was."""
    for student in range(3):
        driver.produce(scored(student, SCHOOLS[0]))
    await driver.assign(0, [0])
    before = await driver.backend.snapshot()
    await driver.deliver(0, 0, 2)
    await driver.backend.restore(before)
    await driver.deliver(0, 0, 1)
    await driver.check()


FAULTS = {"epoch": zombie_writes_from_what_it_remembers, "position": owner_writes_after_a_rollback}


@pytest.mark.parametrize("guard", FAULTS)
async def test_what_the_guard_is_for_does_nothing_while_it_is_there(
    client: redis.asyncio.Redis, guard: str
) -> None:
    driver = Driver(Unguarded(client, None), partitions=1, workers=2)
    await FAULTS[guard](driver)
    await driver.settle()


@pytest.mark.parametrize("guard", FAULTS)
async def test_script_without_the_guard_lets_it_through_and_the_recount_sees_it(
    client: redis.asyncio.Redis, guard: str
) -> None:
    driver = Driver(Unguarded(client, guard), partitions=1, workers=2)
    with pytest.raises(Mismatch, match=r"2026:ELA-SUM:03|exams"):
        await FAULTS[guard](driver)
