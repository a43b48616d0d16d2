"""What follows from the answer to an attempt, written down: for the message, for its endpoint, and for those who wait behind it.

In this order: an endpoint that is alive again is brought back, one that is dead is announced; then the attempt is written, with
how the endpoint fares by it.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from msgspec.structs import replace

from consumers.webhooks.allowance import Allowances
from consumers.webhooks.care import Care
from consumers.webhooks.delivery_metrics import DeliveryMetrics
from consumers.webhooks.lanes import Lane, Lanes
from consumers.webhooks.outbox import Outbox
from consumers.webhooks.outcomes import Consequence, Heard, Purpose, Rules, consequence
from consumers.webhooks.sending import Answer
from schemas.webhooks.endpoints import Endpoint, EventType
from schemas.webhooks.ids import confirms
from schemas.webhooks.messages import Attempt, Message, MessageState
from schemas.webhooks.retrying import Verdict


class FollowUp:
    """Writes down what became of attempts."""

    def __init__(
        self,
        outbox: Outbox,
        care: Care,
        lanes: Lanes,
        allowances: Allowances,
        rules: Rules,
        metrics: DeliveryMetrics,
        *,
        clock_ms: Callable[[], int],
        rng: Random,
    ) -> None:
        self._outbox = outbox
        self._care = care
        self._lanes = lanes
        self._allowances = allowances
        self._rules = rules
        self._metrics = metrics
        self._clock_ms = clock_ms
        self._rng = rng

    async def write(
        self,
        endpoint: Endpoint,
        message: Message,
        token: str | None,
        answer: Answer,
        began_ms: int,
        lane: Lane | None,
    ) -> None:
        """Write an attempt that began then; ``token``: what the address was asked to confirm, if it was."""
        if endpoint.id not in self._outbox.endpoints:  # deleted meanwhile, with all of its messages
            return
        now_ms = self._clock_ms()
        state = self._outbox.state(endpoint.id)
        follows = consequence(
            _purpose(message, token),
            Heard(
                answer.status,
                answer.error,
                answer.retry_after_s,
                answer.refused_address,
                token is not None and confirms(token, answer.confirmation, ""),
            ),
            state,
            tried=message.tried,
            url=endpoint.url,
            now_ms=now_ms,
            jitter=self._rng.random(),
            rules=self._rules,
        )
        self._count(endpoint, message, answer, follows, now_ms)
        if follows.revived:
            # First of all: after a crash in between, the endpoint is found as dead as before, and brought back then.
            self._metrics.revived.inc()
            since_ms = began_ms if state.failing_since_ms is None else state.failing_since_ms
            await self._care.bring_back(endpoint.id, since_ms, now_ms)
        if follows.disabled is not None:
            await self._care.announce(endpoint, follows.disabled, now_ms)
        attempt = Attempt(
            at_ms=began_ms,
            latency_ms=answer.latency_ms,
            status=answer.status,
            error=answer.error,
            response=answer.response,
            next_ms=follows.next_ms,
        )
        tried = replace(message, tried=message.tried + 1)
        if follows.next_ms is not None:
            if lane is not None:
                self._lanes.block(lane, message, follows.next_ms)
            await self._outbox.retry(tried, attempt, follows.next_ms, state=follows.state)
            return
        if lane is not None:
            self._lanes.unblock(lane)
        await self._outbox.finish(
            tried, attempt, follows.outcome, follows.detail, now_ms=now_ms, state=follows.state
        )

    def _count(
        self, endpoint: Endpoint, message: Message, answer: Answer, follows: Consequence, now_ms: int
    ) -> None:
        self._metrics.attempts.labels(follows.verdict.value).inc()
        self._metrics.attempt_seconds.observe(answer.latency_ms / 1000)
        if follows.outcome is MessageState.DELIVERED:
            self._metrics.delivery_seconds.observe(max(0, now_ms - message.created_ms) / 1000)
        elif follows.outcome is MessageState.DEAD:
            self._metrics.given_up.inc()
        if follows.verdict is Verdict.THROTTLED:
            self._allowances.of(endpoint, now_ms).throttled()
        elif follows.verdict is Verdict.DELIVERED:
            self._allowances.of(endpoint, now_ms).delivered()


def _purpose(message: Message, token: str | None) -> Purpose:
    if message.type is not EventType.ENDPOINT_PING:
        return Purpose.NEWS
    return Purpose.TEST if token is None else Purpose.QUESTION
