"""One suite for the import store in memory and on Redis, so that the fake cannot drift from the real one."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from fake_imports import NOW, OTHER_SCHOOL, SCHOOL, MemoryImportStore
from redis.asyncio import Redis

from cli.stack.redis_server import EmbeddedRedis
from gateway.imports.histories import ExamClaim, History, Holder, Version
from gateway.imports.records import ImportRecord, Outcome, Submission
from gateway.imports.settings import ImportSettings
from gateway.imports.store import ImportStore, RedisImportStore
from schemas.events import OrganizationEntry, encode_event
from schemas.identifiers import StudentKey
from schemas.imports import FieldError, ImportStatus
from schemas.keys import ORGANIZATIONS, ORGANIZATIONS_VERSION

ONE = Holder(StudentKey("0123456789abcdef01234567"), 2021)
TWO = Holder(StudentKey("f" * 24), 2021)
FIRST, SECOND, THIRD = "1a" * 16, "2b" * 16, "3c" * 16
DAY = datetime(2021, 5, 10, 10, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, redis_server: EmbeddedRedis) -> AsyncIterator[ImportStore]:
    if request.param == "memory":
        yield MemoryImportStore()
        return
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()
        for cds in (SCHOOL, OTHER_SCHOOL):
            entry = OrganizationEntry(cds=cds, name="Lincoln", kind="school")
            await redis.execute_command("HSET", ORGANIZATIONS, cds, encode_event(entry))
        district = OrganizationEntry(cds=SCHOOL[:7] + "0000000", name="Nonesuch Unified", kind="district")
        await redis.execute_command("HSET", ORGANIZATIONS, district.cds, encode_event(district))
        await redis.incr(ORGANIZATIONS_VERSION)
        yield RedisImportStore(redis, ImportSettings())


def claim(holder: Holder, version: Version, exam: bytes = b"one exam ...") -> ExamClaim:
    return ExamClaim(exam, holder, version)


def submission(
    import_id: str, outcome: Outcome = Outcome.ACCEPTED, *, creator: str = "vendor", digest: str = "d1"
) -> Submission:
    record = ImportRecord(
        id=import_id,
        digest=digest,
        content_type="application/xml",
        status=ImportStatus.ACCEPTED if outcome is Outcome.ACCEPTED else ImportStatus.UNKNOWN_SCHOOL,
        creator=creator,
        created=NOW,
        filename="ñ.xml",
        errors=(FieldError("SchoolId", "x", "no such school"),),
    )
    return Submission(record, outcome)


@pytest.mark.anyio
async def test_only_schools_are_schools(store: ImportStore) -> None:
    assert await store.schools() == {SCHOOL, OTHER_SCHOOL}


@pytest.mark.anyio
async def test_runs_of_sequence_numbers_do_not_overlap(store: ImportStore) -> None:
    first = await store.take_sequences(1_000_000_000)  # more than the clock moves in between
    second = await store.take_sequences(1)

    assert second == first + 1_000_000_000


@pytest.mark.anyio
async def test_a_history_gathers_holders_and_keeps_the_highest_version(store: ImportStore) -> None:
    older, newer = Version(DAY, 2**53 - 1), Version(DAY + timedelta(microseconds=1), 255)

    assert await store.claim([claim(ONE, newer), claim(TWO, older), claim(ONE, newer)]) == [
        History((ONE,)),
        History((ONE, TWO)),
        History((ONE, TWO)),
    ]
    assert await store.confirm([claim(ONE, newer), claim(TWO, older)]) == [
        History((ONE, TWO), (newer, ONE)),
        History((ONE, TWO), (newer, ONE)),
    ]


@pytest.mark.anyio
@pytest.mark.parametrize(("lower", "higher"), [(255, 256), (1, 2), (2**32, 2**40), (0x7F, 0x80)])
async def test_equal_status_dates_are_told_apart_by_the_sequence(
    store: ImportStore, lower: int, higher: int
) -> None:
    versions = [Version(DAY, higher), Version(DAY, lower)]

    *_, history = await store.confirm([claim(ONE, version) for version in versions])

    assert history.newest == (versions[0], ONE)


@pytest.mark.anyio
async def test_a_version_is_confirmed_even_when_its_claim_was_lost(store: ImportStore) -> None:
    version = Version(DAY, 7)

    assert await store.confirm([claim(ONE, version)]) == [History((ONE,), (version, ONE))]


@pytest.mark.anyio
async def test_exams_have_histories_of_their_own(store: ImportStore) -> None:
    version = Version(DAY, 7)
    others = [claim(TWO, version, exam=number.to_bytes(12, "big")) for number in range(300)]
    await store.claim(others)

    assert await store.claim([claim(ONE, version)]) == [History((ONE,))]


@pytest.mark.anyio
async def test_an_accepted_import_is_found_by_its_id_and_its_bytes_and_outranks_the_parked_one(
    store: ImportStore,
) -> None:
    parked, accepted = submission(FIRST, Outcome.PARKED), submission(SECOND)

    assert await store.keep([parked]) == [parked]
    assert await store.earlier(["d1", "d2"]) == [parked.record, None]
    assert await store.keep([accepted]) == [accepted]
    assert await store.earlier(["d2", "d1"]) == [None, accepted.record]
    assert await store.find(FIRST) == parked.record
    assert await store.find(THIRD) is None
    await store.take_sequences(1)
    assert await store.find("sequence") is None
    assert await store.find("digest:d1") is None


@pytest.mark.anyio
async def test_of_two_imports_of_the_same_bytes_the_first_to_be_kept_stands(store: ImportStore) -> None:
    first, second, foreign = submission(FIRST), submission(SECOND), submission(THIRD, creator="another")
    await store.keep([first])

    assert await store.keep([second, foreign]) == [
        Submission(first.record, Outcome.DUPLICATE, new=False),
        Submission(foreign.record, Outcome.DUPLICATE),
    ]
    assert await store.find(SECOND) is None
    assert await store.find(THIRD) == foreign.record


@pytest.mark.anyio
async def test_what_a_batch_came_to_adds_up_for_each_creator(store: ImportStore) -> None:
    await store.count("vendor", "may", Counter(received=2, accepted=1, duplicate=1))
    await store.count("vendor", "may", Counter({"received": 1, "rejected:BAD_DATA": 1}))
    await store.count("another", "may", Counter(received=1, accepted=1))

    assert await store.batch_counts("vendor", "may") == Counter(
        {"received": 3, "accepted": 1, "duplicate": 1, "rejected:BAD_DATA": 1}
    )
    assert await store.batch_counts("vendor", "june") == Counter()


@pytest.mark.anyio
async def test_redis_expires_records_and_never_histories(redis_server: EmbeddedRedis) -> None:
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()
        store = RedisImportStore(redis, ImportSettings(keep_days=1))
        await store.keep([submission(FIRST), submission(SECOND, Outcome.PARKED, digest="d2")])
        await store.count("vendor", "may", Counter(received=1))
        await store.claim([claim(ONE, Version(DAY, 1))])

        lives = {key.decode(): await redis.ttl(key) async for key in redis.scan_iter("*")}

    history = {name for name in lives if name.startswith("scores:imports:exams:")}
    assert len(history) == 1
    assert {name: life for name, life in lives.items() if life == -1}.keys() == history
    assert len(lives) == 6
