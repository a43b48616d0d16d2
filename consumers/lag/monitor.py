"""The monitor: takes a sample every few seconds, judges it, and tells Redis and Prometheus. One works, others stand by."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from consumers.lag.facts import read_facts
from consumers.lag.judging import Judge, figures_of
from consumers.lag.keeping import Keeping
from consumers.lag.metrics import MonitorMetrics
from consumers.lag.parts import Facts, forgotten
from consumers.lag.samples import Snapshot
from consumers.lag.verdicts import Rules
from consumers.webhooks.connection import REDIS_AWAY, RedisClient
from schemas.operations import SAMPLE_SECONDS, Judgement

logger = logging.getLogger(__name__)

# For a few small commands. Once Redis has not answered, no time is lost with waiting for it: that it is away must be told.
_REDIS_SECONDS: Final = 2.0
_IMPATIENT_SECONDS: Final = 0.5


class Sampling(Protocol):
    """The sources, as ``consumers.lag.sampling.Sampler`` asks them."""

    async def sample(self) -> Snapshot: ...

    async def close(self) -> None: ...


class Monitor:
    """One process's monitor."""

    def __init__(
        self,
        redis: RedisClient,
        open_sampler: Callable[[], Sampling],
        rules: Rules,
        metrics: MonitorMetrics,
        *,
        holder: str,
        every_seconds: float,
        lease_seconds: float,
    ) -> None:
        """``open_sampler`` is called whenever this monitor begins to work; ``holder`` names this process and no other."""
        self._redis = redis
        self._open_sampler = open_sampler
        self._rules = rules
        self._metrics = metrics
        self._holder = holder
        self._every_seconds = every_seconds
        self._look_seconds = min(every_seconds, lease_seconds / 5)
        self._keeping = Keeping(redis, holder, lease_seconds)
        self._appended_ms = 0
        self._redis_seconds = _REDIS_SECONDS

    async def run(self) -> None:
        """Monitor, or stand by, until cancelled."""
        try:
            while True:
                await self._stand_by()
                await self._work()
        finally:
            with contextlib.suppress(*REDIS_AWAY, TimeoutError):
                async with asyncio.timeout(_REDIS_SECONDS):
                    await self._keeping.give_up()

    async def _stand_by(self) -> None:
        logger.info("standing by")
        while not await self._holds(otherwise=False):  # noqa: ASYNC110 - the lease is in Redis, no event of ours
            await asyncio.sleep(self._look_seconds)

    async def _work(self) -> None:
        logger.info("monitoring every_seconds=%g", self._every_seconds)
        self._metrics.active.set(1)
        judge = Judge(self._rules, self._holder, self._every_seconds)
        sampler = self._open_sampler()
        try:
            due = time.monotonic()
            # A Redis that is away gives the lease to nobody: whoever has it goes on, and says that Redis is away.
            while await self._holds(otherwise=True):
                await self._tell(*await self._look(sampler, judge))
                due = max(due + self._every_seconds, time.monotonic())
                await asyncio.sleep(due - time.monotonic())
            logger.warning("another monitor has taken over")
        finally:
            self._metrics.active.set(0)
            self._metrics.judged.judgement = None
            await sampler.close()

    async def _look(self, sampler: Sampling, judge: Judge) -> tuple[Judgement, Facts]:
        begun = time.perf_counter()
        # One after the other: reading thousands of positions would delay the answer by which Redis is judged.
        facts = await read_facts(self._redis)
        self._redis_seconds = _IMPATIENT_SECONDS if facts.answer_seconds is None else _REDIS_SECONDS
        snapshot = await sampler.sample()
        judgement = judge.judge(snapshot, facts)
        self._metrics.scrape_seconds.observe(time.perf_counter() - begun)
        self._metrics.samples.labels("failed" if snapshot.troubles else "ok").inc()
        self._metrics.last_sample.set(judgement.at_ms / 1000)
        self._metrics.judged.judgement = judgement
        return judgement, facts

    async def _tell(self, judgement: Judgement, facts: Facts) -> None:
        async def tell() -> None:
            await self._keeping.write(judgement)
            if judgement.at_ms - self._appended_ms >= SAMPLE_SECONDS * 1000:
                await self._keeping.append(figures_of(judgement))
                self._appended_ms = judgement.at_ms
            await self._keeping.forget(forgotten(facts.reported, judgement.at_ms))

        await self._patiently(tell, "the judgement could not be written")

    async def _holds(self, *, otherwise: bool) -> bool:
        """Whether the lease is ours; ``otherwise`` when Redis does not say."""
        held = await self._patiently(self._keeping.hold, "the lease could not be asked for")
        return otherwise if held is None else bool(held)

    async def _patiently(self, ask: Callable[[], Awaitable[object]], what: str) -> object:
        try:
            async with asyncio.timeout(self._redis_seconds):
                return await ask()
        except (*REDIS_AWAY, TimeoutError) as error:
            logger.warning("%s error=%r", what, error)
            return None
