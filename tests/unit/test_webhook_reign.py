"""A reign's writes: all pass one script, and a worker whose memory is not what Redis has writes nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from consumers.webhooks.outbox import ReignEnded
from consumers.webhooks.reign import Reign, Throne, command, commands

pytestmark = pytest.mark.anyio


class ScriptedRedis:
    """Answers scripts from a list, and keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Any, ...]] = []

    async def eval(self, script: str, count: int, *rest: Any) -> Any:
        self.asked.append(rest)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


WRITTEN = [b"written", b"0"]


@asynccontextmanager
async def reigning(redis: ScriptedRedis) -> AsyncIterator[Reign]:
    reign = Reign(cast(Any, redis), "one", 60_000, epoch=7, sequence=3)
    running = asyncio.create_task(reign.run())
    try:
        yield reign
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError, ReignEnded):
            await running


async def test_writes_of_many_tasks_share_one_script() -> None:
    redis = ScriptedRedis(WRITTEN)
    async with reigning(redis) as reign:
        await asyncio.gather(*(reign.write([command("HSET", "key", "field", n)]) for n in range(50)))
    assert len(redis.asked) == 1


async def test_a_write_whose_answer_got_lost_counts_as_written() -> None:
    redis = ScriptedRedis(RedisConnectionError("gone"), [b"moved", b"4"], WRITTEN)
    async with reigning(redis) as reign:
        await reign.write([command("DEL", "key")])
        await reign.write([command("DEL", "key")])
    # The keys come first: worker, lease, and the command's own; then epoch and sequence.
    assert [asked[4] for asked in redis.asked] == [3, 3, 4]


@pytest.mark.parametrize(
    "answer",
    [[b"fenced", b"9"], [b"moved", b"2"], [b"moved", b"5"]],
    ids=["another worker delivers", "Redis lost its latest writes", "somebody else wrote"],
)
async def test_a_reign_that_is_over_writes_nothing_more(answer: list[bytes]) -> None:
    redis = ScriptedRedis(answer)
    async with reigning(redis) as reign:
        with pytest.raises(ReignEnded):
            await reign.write([command("DEL", "key")])
        with pytest.raises(ReignEnded):
            await reign.write([command("DEL", "key")])
    assert len(redis.asked) == 1


async def test_a_worker_stands_by_while_another_one_holds_the_lease() -> None:
    redis = ScriptedRedis([b"held", b"another", b"10"], [b"claimed", b"8", b"12", b"1700"])
    reign = await Throne(cast(Any, redis), "one", lease_seconds=1).claim()
    assert reign.epoch == 8


def test_more_arguments_than_a_script_can_unpack_are_several_commands() -> None:
    made = commands("HSET", "key", list(range(10_000)), step=2)
    assert [len(one.arguments) for one in made] == [4_000, 4_000, 2_000]
    assert [argument for one in made for argument in one.arguments] == list(range(10_000))
