"""What concerns an endpoint as a whole: asking whether it wants webhooks, disabling it, and bringing it back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from consumers.webhooks import endpoint_messages
from consumers.webhooks.delivery_metrics import DeliveryMetrics
from consumers.webhooks.outbox import Outbox
from schemas.webhooks.endpoints import DisabledReason, Endpoint, EndpointState, EventType
from schemas.webhooks.messages import Message

_log = logging.getLogger(__name__)

# Of an endpoint that comes back, so many messages are moved at once: each is a write, and others write, too.
_AT_ONCE: Final = 200


class Care:
    """Looks after endpoints; whatever it does may be done again after a crash, and then changes nothing.

    Args:
        confirmation: the token that an endpoint's address has to answer.
        base_url: of the gateway, as owners reach it.
        under_way: messages that are being sent: they are not moved.
    """

    def __init__(
        self,
        outbox: Outbox,
        metrics: DeliveryMetrics,
        *,
        confirmation: Callable[[Endpoint], str],
        base_url: str,
        under_way: set[str],
    ) -> None:
        self._outbox = outbox
        self._metrics = metrics
        self._confirmation = confirmation
        self._base_url = base_url
        self._under_way = under_way

    def wants(self, endpoint: Endpoint) -> bool:
        """Whether its address has said that it wants webhooks."""
        return self._outbox.state(endpoint.id).confirmed_url == endpoint.url

    def asks(self, question_token: str, endpoint: Endpoint) -> bool:
        """Whether a question is still the one to ask: the address may be another by now, or have answered."""
        return not self.wants(endpoint) and question_token == self._confirmation(endpoint)

    async def ask(self, endpoint: Endpoint, *, at_ms: int, now_ms: int, hurry: bool = False) -> None:
        """Ask the endpoint's address whether it wants webhooks, unless it has said so or is being asked.

        Args:
            at_ms: of what caused it.
            hurry: somebody waits for it: a question that waits for its next attempt is asked now.
        """
        if self.wants(endpoint):
            return
        token = self._confirmation(endpoint)
        for message in await self._outbox.waiting(endpoint.id):
            if endpoint_messages.token_of(message) == token:
                if hurry:
                    await self.send_now([message], now_ms)
                return
        await self._forget_failures(endpoint)
        await self._outbox.add(endpoint_messages.question(endpoint.id, token, at_ms=at_ms))

    async def announce(self, endpoint: Endpoint, reason: DisabledReason, at_ms: int) -> None:
        """Tell the owner's other endpoints, the log and the metrics that this one gets nothing any more.

        Before its state is written: a crash in between tells it twice, and the other order might tell it never.
        """
        _log.warning("webhook endpoint disabled", extra={"endpoint": endpoint.id, "reason": reason.value})
        self._metrics.disabled.labels(reason.value).inc()
        for other in [one for one in self._outbox.endpoints.values() if _same_owner(one, endpoint)]:
            if self._outbox.state(other.id).disabled is None:
                await self._outbox.add(
                    endpoint_messages.notice(other.id, endpoint, reason, at_ms=at_ms, base_url=self._base_url)
                )

    async def revoke(self, endpoint: Endpoint, now_ms: int) -> None:
        """Its owner may not see anything any more."""
        state = self._outbox.state(endpoint.id)
        if state.disabled is DisabledReason.REVOKED:
            return
        at_ms = endpoint.revoked_ms or now_ms
        await self.announce(endpoint, DisabledReason.REVOKED, at_ms)
        revoked = replace(
            state,
            disabled=DisabledReason.REVOKED,
            disabled_ms=at_ms,
            detail="the rights of its owner were revoked",
        )
        await self._outbox.set_state(endpoint.id, revoked)

    async def enable(self, endpoint: Endpoint, *, at_ms: int, now_ms: int) -> None:
        """Deliver to it again, first of all what it missed."""
        state = self._outbox.state(endpoint.id)
        if state.disabled is None or endpoint.revoked_ms is not None:
            return
        await self.bring_back(endpoint.id, _trouble_began_ms(state), now_ms)
        await self._outbox.set_state(endpoint.id, _without_failures(state))
        await self.ask(endpoint, at_ms=at_ms, now_ms=now_ms, hurry=True)
        self._outbox.ready(endpoint.id)

    async def half_open(self, endpoint: str) -> None:
        """Let one attempt show whether an endpoint lives again, even if its circuit is open or it asked for time."""
        state = self._outbox.state(endpoint)
        if state.not_before_ms:
            await self._outbox.set_state(endpoint, replace(state, not_before_ms=0))
            self._outbox.ready(endpoint)

    async def bring_back(self, endpoint: str, since_ms: int, now_ms: int) -> None:
        """Send now what waits for an endpoint, and what was given up since ``since_ms``."""
        waiting = [
            message
            for message in await self._outbox.waiting(endpoint)
            if message.type is not EventType.ENDPOINT_PING
        ]
        given_up = [
            message
            for message in await self._outbox.dead(endpoint, 0)
            if message.type is not EventType.ENDPOINT_PING and (message.finished_ms or 0) >= since_ms
        ]
        await self.send_now([*waiting, *given_up], now_ms)

    async def send_now(self, messages: Iterable[Message], now_ms: int) -> None:
        """Try messages again, with the whole schedule before them, in the order in which they were made."""
        idle = sorted((message for message in messages if message.id not in self._under_way), key=_made)
        for start in range(0, len(idle), _AT_ONCE):
            await self._retry(idle[start : start + _AT_ONCE], now_ms + start)

    async def _retry(self, messages: Sequence[Message], from_ms: int) -> None:
        # A millisecond between them keeps their order.
        await asyncio.gather(
            *(
                self._outbox.retry(replace(message, tried=0), None, from_ms + position)
                for position, message in enumerate(messages)
            )
        )

    async def _forget_failures(self, endpoint: Endpoint) -> None:
        """They were another address's, or its owner has mended something."""
        state = self._outbox.state(endpoint.id)
        if state.disabled is None and state.failures:
            await self._outbox.set_state(endpoint.id, _without_failures(state))


def _without_failures(state: EndpointState) -> EndpointState:
    return replace(
        state,
        disabled=None,
        disabled_ms=None,
        detail="",
        failures=0,
        failing_since_ms=None,
        not_before_ms=0,
    )


def _trouble_began_ms(state: EndpointState) -> int:
    since = state.disabled_ms if state.failing_since_ms is None else state.failing_since_ms
    return since or 0


def _same_owner(one: Endpoint, other: Endpoint) -> bool:
    return one.subject == other.subject and one.id != other.id


def _made(message: Message) -> tuple[int, str]:
    return message.created_ms, message.id
