"""For commands: how things are, from the monitor where one works, else from two samples of one's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from consumers.lag.facts import read_facts
from consumers.lag.judging import Judge
from consumers.lag.keeping import read_judgement
from consumers.lag.monitor import Sampling
from consumers.lag.verdicts import Rules
from consumers.webhooks.connection import REDIS_AWAY, RedisClient
from schemas.operations import Judgement, Verdict

NOBODY: Final = "nobody"  # the monitor of a judgement that a command has made for itself

_APART_SECONDS: Final = 1.0
_READ_SECONDS: Final = 2.0  # as the facts have

ALRIGHT, ALARMING, CANNOT_TELL = 0, 1, 2


class Look:
    """One command's view; ``now`` may be asked again and again."""

    def __init__(
        self, redis: RedisClient, open_sampler: Callable[[], Sampling], *, say: Callable[[str], None]
    ) -> None:
        """``say`` is told in a sentence, once, when the judgement is not a monitor's."""
        self._redis = redis
        self._open_sampler = open_sampler
        self._say = say
        self._judge = Judge(Rules(), NOBODY, 0.0)
        self._sampler: Sampling | None = None

    async def now(self) -> Judgement:
        """The monitor's latest judgement when it is fresh, else one of our own samples.

        Two samples are too few for most verdicts: readers that are behind are INCOMPLETE at first.
        """
        try:
            async with asyncio.timeout(_READ_SECONDS):
                found = await read_judgement(self._redis)
        except (*REDIS_AWAY, TimeoutError):
            return await self._look("Redis does not answer: positions cannot be told.")
        if found is not None and found.is_fresh(time.time_ns() // 1_000_000):
            return found
        return await self._look(
            "Nobody monitors (`scores lag run` does): these are samples of this command's own, and what it says of readers "
            "that are behind needs some more of them."
        )

    async def close(self) -> None:
        """Let go of Kafka."""
        if self._sampler is not None:
            await self._sampler.close()

    async def _look(self, why: str) -> Judgement:
        if self._sampler is None:
            self._say(why)
            self._sampler = self._open_sampler()
            await self._judged(self._sampler)
            await asyncio.sleep(_APART_SECONDS)
        return await self._judged(self._sampler)

    async def _judged(self, sampler: Sampling) -> Judgement:
        return self._judge.judge(await sampler.sample(), await read_facts(self._redis))


def exit_status(worst: Verdict) -> int:
    """What a script learns of the worst verdict: 0 all right, 1 somebody must look, 2 cannot tell."""
    if worst is Verdict.INCOMPLETE:
        return CANNOT_TELL
    return ALARMING if worst.alarming else ALRIGHT
