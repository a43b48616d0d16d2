"""One canary: sends, watches the tables, a stream and a receiver of webhooks, and tells what it has seen."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import httpx

from consumers.lag.canary.exam import GRADE, TEST, CanaryExam
from consumers.lag.canary.metrics import CanaryMetrics
from consumers.lag.canary.registering import register
from consumers.lag.canary.rounds import Deliveries, Journey, Record, Stage
from consumers.lag.canary.sending import CanarySender
from consumers.lag.canary.settings import Settings
from consumers.lag.canary.stored import StoredCanary
from consumers.live import CellChanged, LiveResults, LiveResultsError
from consumers.webhooks.connection import REDIS_AWAY, RedisClient
from schemas.assessments import Registry
from schemas.canary import canary_entries
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.figures import Figures
from schemas.operations import PARTS, PartReport, Verdict, encode_operations
from schemas.webhooks.secrets import VerifyingKey

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.02  # the time in Redis is exact; looking often only ends a round sooner
_RETRY_SECONDS: Final = 2.0


class Receiver(Protocol):
    """Where webhooks arrive. It verifies them with the latest keys."""

    def trust(self, keys: Sequence[VerifyingKey]) -> None:
        """From now on these keys sign."""


class Canary:
    """Runs until it is cancelled. Whatever is away costs canaries, which is what they are for; it never ends the process."""

    def __init__(
        self,
        settings: Settings,
        redis: RedisClient,
        registry: Registry,
        metrics: CanaryMetrics,
        *,
        receiver: Receiver | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._registry = registry
        self._metrics = metrics
        self._receiver = receiver
        self._monotonic, self._now = monotonic, now
        self._part = "canary" if settings.number == 1 else f"canary:{settings.number}"
        self._record = Record()
        self._deliveries = Deliveries()
        self._journey: Journey | None = None
        self._progress = asyncio.Event()
        self._watching_begun = asyncio.Event()
        self._latest: dict[Stage, float] = {}
        self._trouble = ""

    async def run(self) -> None:
        """Send one canary after another."""
        async with httpx.AsyncClient() as http:
            sender = CanarySender(self._settings.gateway_url, self._settings.token_file, http)
            exam = self._exam()
            await self._until_done("registering", self._register)
            try:
                while True:
                    async with self._watching(exam, sender, http):
                        await self._one_school_year(exam, sender)
                    exam = self._exam()
            finally:
                with suppress(*REDIS_AWAY):
                    await self._redis.hdel(PARTS, self._part)

    def webhook(self, figures: Figures | None) -> None:
        """A webhook has told of the canary's cell; call it in the event loop."""
        if figures is None or figures.mean is None:
            return
        self._told(self._deliveries.delivered(figures.mean, self._monotonic()))

    async def _one_school_year(self, exam: CanaryExam, sender: CanarySender) -> None:
        stored = StoredCanary(self._redis, exam.school, exam.field)
        scores = exam.scores(await self._score_before(stored))
        # The first one would otherwise be late for want of somebody who looks.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._watching_begun.wait(), self._settings.lost_seconds)
        while self._exam().school_year == exam.school_year:
            began = self._monotonic()
            await self._round(exam, sender, stored, scores)
            await self._tell()
            pause = self._settings.every_seconds - (self._monotonic() - began)
            await asyncio.sleep(max(0.0, pause))

    async def _round(
        self, exam: CanaryExam, sender: CanarySender, stored: StoredCanary, scores: Iterator[int]
    ) -> None:
        """One canary, until a screen has it or it counts as lost."""
        score = next(scores)
        journey = self._journey = Journey(score, self._monotonic())
        self._metrics.sent.inc()
        self._metrics.last_sent.set_to_current_time()
        document = exam.document(score, self._now())
        sending = asyncio.create_task(self._send(sender, document, journey))
        looking = asyncio.create_task(self._look(stored, journey))
        try:
            async with asyncio.timeout(self._settings.lost_seconds):
                while not journey.arrived:
                    if sending.done() and journey.accepted is None and journey.pushed is None:
                        break  # the gateway has said no
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            pass
        finally:
            for task in (sending, looking):
                task.cancel()
            await asyncio.wait({sending, looking})
        self._note(journey)

    async def _send(self, sender: CanarySender, document: bytes, journey: Journey) -> None:
        try:
            await sender.send(document)
            journey.accepted = self._monotonic()
            self._trouble = ""
        except (InvalidInput, DependencyUnavailable) as error:
            self._complain("the canary was not taken", str(error))
        finally:
            self._progress.set()

    async def _look(self, stored: StoredCanary, journey: Journey) -> None:
        while journey.applied is None:
            try:
                found = await stored.look()
            except REDIS_AWAY as error:
                self._complain("redis does not answer", type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if found is not None and found.score == journey.score:
                journey.applied = self._monotonic() - found.seconds_ago
                if self._receiver is not None:
                    self._told(
                        self._deliveries.expect(journey.score, sent=journey.sent, applied=journey.applied)
                    )
                self._progress.set()
            await asyncio.sleep(_LOOK_SECONDS)

    def _note(self, journey: Journey) -> None:
        self._journey = None
        self._record.note(journey)
        for stage, seconds in journey.latencies().items():
            self._observe(stage, seconds)
        lost = journey.lost_at()
        if lost is not None:
            self._metrics.lost.labels(lost).inc()
            logger.warning("a canary was lost stage=%s", lost.value)
        undelivered = self._deliveries.overdue(self._monotonic(), self._settings.lost_seconds)
        if undelivered:
            self._metrics.lost.labels(Stage.WEBHOOK).inc(undelivered)
            logger.warning("a canary was lost stage=%s", Stage.WEBHOOK.value)

    def _told(self, seconds: float | None) -> None:
        if seconds is not None:
            self._observe(Stage.WEBHOOK, seconds)

    def _observe(self, stage: Stage, seconds: float) -> None:
        self._metrics.latency.labels(stage).observe(seconds)
        self._latest[stage] = seconds

    async def _tell(self) -> None:
        """Let the monitor know; while Redis is away it sees that for itself."""
        verdict = self._record.verdict
        figures = {stage.value: round(seconds, 4) for stage, seconds in self._latest.items()}
        report = PartReport(
            name=self._part,
            verdict=verdict,
            detail=self._trouble if verdict is not Verdict.OK else "",
            figures={**figures, "lost": float(self._record.lost)},
            at_ms=int(self._now().timestamp() * 1000),
        )
        with suppress(*REDIS_AWAY):
            told: Any = self._redis.hset(PARTS, self._part, encode_operations(report).decode())
            await told

    # Around the rounds: the directory, the stream, the webhook endpoint.

    async def _register(self) -> None:
        await register(self._redis, self._settings.kafka, canary_entries(self._settings.number))

    @asynccontextmanager
    async def _watching(
        self, exam: CanaryExam, sender: CanarySender, http: httpx.AsyncClient
    ) -> AsyncIterator[None]:
        tasks = {asyncio.create_task(self._follow(exam, sender, http), name="following a stream")}
        if self._receiver is not None:
            tasks.add(asyncio.create_task(self._ask_for_webhooks(exam, sender, self._receiver)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _follow(self, exam: CanaryExam, sender: CanarySender, http: httpx.AsyncClient) -> None:
        """Read the stream as any screen does, over reconnections."""
        while True:
            try:
                async with LiveResults(
                    self._settings.gateway_url,
                    token=sender.token,
                    topics=[f"school/{exam.school}"],
                    tests=[TEST],
                    grades=[GRADE],
                    years=[exam.school_year],
                    http=http,
                ) as results:
                    await results.whole()
                    self._watching_begun.set()
                    async for change in results:
                        if isinstance(change, CellChanged):
                            self._seen(change.after)
            except (LiveResultsError, InvalidInput) as error:
                self._complain("the canary has no stream", str(error))
            await asyncio.sleep(_RETRY_SECONDS)

    def _seen(self, figures: Figures | None) -> None:
        journey = self._journey
        if figures is None or journey is None or journey.pushed is not None or figures.mean != journey.score:
            return
        journey.pushed = self._monotonic()
        self._progress.set()

    async def _ask_for_webhooks(self, exam: CanaryExam, sender: CanarySender, receiver: Receiver) -> None:
        async def ask() -> None:
            description = f"canary {self._settings.number}"
            receiver.trust(await sender.receive_at(self._settings.webhook_url, exam.school, description))

        await self._until_done("asking for webhooks", ask)

    async def _score_before(self, stored: StoredCanary) -> int:
        """The score that the cell has: sent again, it would change nothing, and nobody would be told."""
        with suppress(*REDIS_AWAY):
            found = await stored.look()
            if found is not None:
                return found.score
        return 0

    async def _until_done(self, what: str, attempt: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await attempt()
                return
            except (InvalidInput, DependencyUnavailable, *REDIS_AWAY) as error:
                self._complain(what, str(error))
            await asyncio.sleep(_RETRY_SECONDS)

    def _complain(self, what: str, why: str) -> None:
        """Once for each reason, not each two seconds."""
        if why != self._trouble:
            logger.warning("%s: %s", what, why)
        self._trouble = why

    def _exam(self) -> CanaryExam:
        return CanaryExam(self._registry, self._settings.number, self._now())
