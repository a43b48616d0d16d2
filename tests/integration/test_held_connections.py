"""Connections that are kept between questions: no answer is lost, doubled, or taken for that of another question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from struct import Struct

import pytest
import stack
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.held_connections import HeldConnections
from gateway.redis_connection import connect
from gateway.tables import Tables
from schemas.aggregates import CellField, cell_field
from schemas.identifiers import OrganizationId, PartitionId
from schemas.keys import Generation, PartitionKeys
from schemas.merged_cells import Serving
from schemas.shares import Share

pytestmark = pytest.mark.anyio

SCHOOL = OrganizationId("01100170112607")
DISTRICT = OrganizationId("01100170000000")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with stack.store("embedded") as server:
        yield server.url


@pytest.fixture
async def redis(address: str) -> AsyncIterator[Redis]:
    client = connect(address)
    assert isinstance(client, Redis)
    await client.flushall()
    yield client
    await client.aclose()


async def test_question_over_a_connection_that_the_server_has_closed_is_asked_again(redis: Redis) -> None:
    held = HeldConnections(redis)
    assert await held.ask(["SET", "a", 1], ["GET", "a"]) == [b"OK", b"1"]
    await redis.client_kill_filter(_type="normal", skipme=True)
    assert await held.ask(["GET", "a"]) == [b"1"]


async def test_answers_behind_an_error_are_not_taken_for_those_of_the_next_question(redis: Redis) -> None:
    held = HeldConnections(redis)
    await held.ask(["SET", "a", "text"])
    with pytest.raises(RedisError, match="not an integer"):
        await held.ask(["INCR", "a"], ["GET", "a"])
    assert await held.ask(["ECHO", "another"]) == [b"another"]


async def test_answer_to_a_question_that_was_given_up_is_not_taken_for_that_of_the_next(redis: Redis) -> None:
    held = HeldConnections(redis)
    await held.ask(["SET", "a", 1])
    waiting = asyncio.ensure_future(held.ask(["BLPOP", "nothing", 0.2], ["GET", "a"]))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await held.ask(["ECHO", "another"]) == [b"another"]


async def test_those_who_ask_at_once_get_each_their_own_answer(redis: Redis) -> None:
    held = HeldConnections(redis)
    for _ in range(3):
        answers = await asyncio.gather(*(held.ask(["ECHO", number]) for number in range(20)))
        assert answers == [[str(number).encode()] for number in range(20)]


async def test_few_cells_and_many_are_read_alike_though_by_other_commands(redis: Redis) -> None:
    serving = Serving(Generation("g1"), 3)
    names = [cell_field(2026, "CAA-ELA", grade) for grade in ("03", "04", "05")]
    for partition in (0, 2):
        keys = PartitionKeys(serving.generation, PartitionId(partition))
        for count, name in enumerate(names[:2], 1):
            await redis.hset(keys.cells(SCHOOL), name, _stored(count + partition))
    tables = Tables(redis)
    few: list[tuple[OrganizationId, list[CellField]]] = [(DISTRICT, names[:1]), (SCHOOL, names)]
    many = few * 20
    found = await tables.read_cells(serving, few)
    assert [{name: cell.cell.version for name, cell in held.items()} for held in found] == [
        {},
        {names[0]: 4, names[1]: 6},
    ]
    assert await tables.read_cells(serving, many) == found * 20


def _stored(version: int) -> bytes:
    share = Share()
    share.version = version
    return Struct(">d").pack(1_000 + version) + share.pack()[0]
