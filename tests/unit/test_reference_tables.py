"""A table that several tasks of one worker keep up to date at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from schemas.events import OrganizationEntry, encode_event
from schemas.identifiers import OrganizationId
from streams.accidents import Accidents
from streams.directory import DirectoryStore
from streams.reading import Record

SCHOOL = OrganizationId("71700016000002")


class HeldRedis:
    """Answers when it is told to, in the order and with the version that the test wants."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.held: list[asyncio.Future[bytes | None]] = []

    def register_script(self, text: str) -> Any:
        return text

    async def get(self, name: str) -> bytes | None:
        asked = asyncio.get_running_loop().create_future()
        self.held.append(asked)
        return await asked

    async def hvals(self, name: str) -> list[bytes]:
        return self.entries

    def answer(self, question: int, version: bytes) -> None:
        self.held[question].set_result(version)


@pytest.fixture
def redis() -> HeldRedis:
    return HeldRedis()


@pytest.fixture
def store(redis: HeldRedis) -> DirectoryStore:
    def nothing(starts: Mapping[int, int]) -> Mapping[int, Sequence[Record]]:
        return {}

    counted = Counter("accidents", "Accidents.", ["kind"], registry=CollectorRegistry())
    return DirectoryStore(redis, "log-1", nothing, Accidents(counted))  # type: ignore[arg-type]


async def settled() -> None:
    """Every task has come as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def asked(store: DirectoryStore) -> asyncio.Task[bool]:
    """A task that refreshes, once its question is under way."""
    task = asyncio.create_task(store.refresh())
    await settled()
    return task


def load_school(redis: HeldRedis) -> None:
    redis.entries = [encode_event(OrganizationEntry(cds=SCHOOL, name="Alder", kind="school"))]


@pytest.mark.parametrize("late_answer", [b"1", b"2"], ids=["older", "the same"])
@pytest.mark.anyio
async def test_task_whose_question_was_overtaken_hears_that_the_directory_has_changed(
    late_answer: bytes, store: DirectoryStore, redis: HeldRedis
) -> None:
    """It has looked for a school before the directory was taken up, and would refuse the school's results."""
    load_school(redis)
    late = await asked(store)
    early = await asked(store)
    redis.answer(1, b"2")
    assert await early is True
    assert store.directory.is_school(SCHOOL)
    redis.answer(0, late_answer)
    await settled()
    redis.answer(2, b"2")
    assert await late is True


@pytest.mark.anyio
async def test_nothing_has_changed_when_the_version_is_the_same(
    store: DirectoryStore, redis: HeldRedis
) -> None:
    load_school(redis)
    first = await asked(store)
    redis.answer(0, b"1")
    assert await first is True
    second = await asked(store)
    redis.answer(1, b"1")
    assert await second is False
