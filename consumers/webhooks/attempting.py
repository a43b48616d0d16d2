"""One attempt: what is sent to whom by now; what follows from the answer is written by ``consumers.webhooks.following_up``.

At least once, with the same id: an attempt is written after its answer, so one that a crash interrupted is made again. Nothing
is sent before it is in the audit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from consumers.webhooks.allowance import Allowances
from consumers.webhooks.care import Care
from consumers.webhooks.delivery_metrics import UNSENT, DeliveryMetrics
from consumers.webhooks.disclosures import Disclosures
from consumers.webhooks.endpoint_messages import token_of
from consumers.webhooks.following_up import FollowUp
from consumers.webhooks.lanes import Lane, Lanes
from consumers.webhooks.outbox import Outbox, ReignEnded
from consumers.webhooks.sending import Answer
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.webhooks.endpoints import Endpoint, EventType
from schemas.webhooks.ids import CONFIRMATION_HEADER
from schemas.webhooks.messages import Message, MessageState

_log = logging.getLogger(__name__)

# A message that we cannot send, by a fault of ours, is tried again so often. It is no failure of its endpoint.
_OUR_FAULT_SECONDS: Final = 60.0
_CHANGED_SECONDS: Final = 1.0  # by then what its owner may not see any more is not taken for fresh
_UNKNOWN_SECONDS: Final = 1.0  # while it cannot be said who may see what, for tables are being built


class Sends(Protocol):
    """``consumers.webhooks.sending.Sender``."""

    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        private: bool,
        want_header: str | None = None,
    ) -> Answer:
        """Post it; never raises for what the other side does."""
        ...


class Signs(Protocol):
    """``consumers.webhooks.attempt_headers.Signer``."""

    def headers(self, endpoint: Endpoint, message: Message, now_ms: int) -> Mapping[str, str]:
        """All headers of an attempt."""
        ...

    def forget(self, endpoint: str) -> None:
        """The endpoint is no more."""
        ...


class Attempting:
    """Makes attempts; who may have how many at once is decided by whoever calls ``turn``.

    Args:
        allow_private: the deployment lets endpoints be in private networks.
        under_way: the messages that are being sent.
    """

    def __init__(
        self,
        outbox: Outbox,
        sender: Sends,
        signer: Signs,
        care: Care,
        lanes: Lanes,
        allowances: Allowances,
        metrics: DeliveryMetrics,
        follow_up: FollowUp,
        disclosures: Disclosures,
        *,
        allow_private: bool,
        under_way: set[str],
        clock_ms: Callable[[], int],
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._signer = signer
        self._care = care
        self._lanes = lanes
        self._allowances = allowances
        self._metrics = metrics
        self._follow_up = follow_up
        self._disclosures = disclosures
        self._allow_private = allow_private
        self._under_way = under_way
        self._clock_ms = clock_ms

    async def turn(self, taken: Message, lane: Lane | None) -> int | None:
        """Attempt a message, or what takes its place; how many milliseconds its receiver took; None: nothing was sent."""
        now_ms = self._clock_ms()
        if lane is not None and (later_ms := self._lanes.blocked_ms(lane, taken, now_ms)) is not None:
            await self._outbox.put_back(taken, later_ms)
            return None
        endpoint = self._outbox.endpoints.get(taken.endpoint)
        if endpoint is None:  # deleted while it was handed out
            return None
        message: Message | None = taken
        try:
            message = await self._outbox.rendered_again(taken, now_ms)
            if message is None:
                self._unblock(lane)
                return None
            self._under_way.add(message.id)
            if self._must_wait(message, now_ms):
                # Its place is kept: nothing of the endpoint is handed out before that has changed.
                await self._outbox.put_back(message, taken.next_ms or taken.created_ms)
                return None
            return await self._attempt(endpoint, message, lane, now_ms)
        except ReignEnded:
            raise
        except DependencyUnavailable as missing:
            _log.info("webhook not attempted yet", extra={"endpoint": endpoint.id, "why": str(missing)})
            await self._set_aside(message or taken, lane, _UNKNOWN_SECONDS)
        except InvalidInput as fault:
            _log.error("webhook cannot be signed", extra={"endpoint": endpoint.id, "why": str(fault)})
            await self._set_aside(message or taken, lane, _OUR_FAULT_SECONDS)
        except Exception:  # noqa: BLE001 (the rim around one message: it must not stop all others, nor be lost)
            _log.exception("webhook not attempted", extra={"endpoint": endpoint.id, "message_id": taken.id})
            await self._set_aside(message or taken, lane, _OUR_FAULT_SECONDS)
        finally:
            if message is not None:
                self._under_way.discard(message.id)
        return None

    def _must_wait(self, message: Message, now_ms: int) -> bool:
        """Whether the endpoint has been paused, disabled, moved or put off since this message was handed out."""
        endpoint, state = self._outbox.endpoints.get(message.endpoint), self._outbox.state(message.endpoint)
        if endpoint is None or endpoint.revoked_ms is not None or state.disabled is not None:
            return True
        if state.not_before_ms > now_ms:
            return True
        if message.type is EventType.ENDPOINT_PING:
            return False
        return endpoint.paused or state.confirmed_url not in ("", endpoint.url)

    async def _attempt(
        self, endpoint: Endpoint, message: Message, lane: Lane | None, now_ms: int
    ) -> int | None:
        token = token_of(message)
        if token is not None and not self._care.asks(token, endpoint):
            why = "the address has confirmed, or is another now"
            await self._outbox.finish(message, None, MessageState.SUPERSEDED, why, now_ms=now_ms)
            return None
        headers = self._signer.headers(endpoint, message, now_ms)
        answer: Answer | None = None
        async with self._disclosures.of(endpoint, message, now_ms) as noted:
            # That took a moment, in which the endpoint may have been paused or moved, or its owner have lost a right.
            if noted.outdated() or self._moved(endpoint) or self._must_wait(message, self._clock_ms()):
                noted.not_sent()
            else:
                answer = await self._sent(endpoint, message, headers, token, now_ms)
                noted.answered(answer)
        if answer is None:
            await self._set_aside(message, lane, _CHANGED_SECONDS)
            return None
        await self._follow_up.write(endpoint, message, token, answer, now_ms, lane)
        return answer.latency_ms

    async def _sent(
        self,
        endpoint: Endpoint,
        message: Message,
        headers: Mapping[str, str],
        token: str | None,
        now_ms: int,
    ) -> Answer:
        self._allowances.of(endpoint, now_ms).take()
        return await self._sender.send(
            endpoint.url,
            headers,
            message.body,
            private=self._allow_private and endpoint.private_network,
            want_header=None if token is None else CONFIRMATION_HEADER,
        )

    def _moved(self, endpoint: Endpoint) -> bool:
        current = self._outbox.endpoints.get(endpoint.id)
        return current is None or current.url != endpoint.url

    async def _set_aside(self, message: Message, lane: Lane | None, seconds: float) -> None:
        self._metrics.attempts.labels(UNSENT).inc()
        until_ms = self._clock_ms() + int(1000 * seconds)
        if lane is not None:
            self._lanes.block(lane, message, until_ms)
        await self._outbox.put_back(message, until_ms)

    def _unblock(self, lane: Lane | None) -> None:
        if lane is not None:
            self._lanes.unblock(lane)
