"""Messages about an endpoint itself: the question whether its address wants webhooks, tests, and notices that it is disabled.

Their times come from what caused them, so whoever makes one again after a crash makes the same one.
"""

from __future__ import annotations

from msgspec import UNSET

from schemas.webhooks import payloads
from schemas.webhooks.endpoints import DisabledReason, Endpoint, EventType
from schemas.webhooks.ids import message_id
from schemas.webhooks.messages import Message
from schemas.webhooks.payload_types import EndpointPing, read_payload


def question(endpoint: str, token: str, *, at_ms: int) -> Message:
    """Whether the address wants webhooks: its answer has to name the token."""
    body = payloads.ping(endpoint, at_ms=at_ms, confirmation=token).content
    return _message(endpoint, EventType.ENDPOINT_PING, body, at_ms)


def trial(endpoint: str, *, at_ms: int) -> Message:
    """What somebody wants to see arrive."""
    return _message(endpoint, EventType.ENDPOINT_PING, payloads.ping(endpoint, at_ms=at_ms).content, at_ms)


def notice(to: str, disabled: Endpoint, reason: DisabledReason, *, at_ms: int, base_url: str) -> Message:
    """To another endpoint of the same owner: this one gets nothing any more."""
    body = payloads.disabled(disabled, reason, at_ms=at_ms, base_url=base_url).content
    return _message(to, EventType.ENDPOINT_DISABLED, body, at_ms)


def token_of(message: Message) -> str | None:
    """The token that a question asks for; None: it is no question."""
    if message.type is not EventType.ENDPOINT_PING:
        return None
    payload = read_payload(message.body)
    if not isinstance(payload, EndpointPing) or payload.data.confirmation is UNSET:
        return None
    return payload.data.confirmation


def _message(endpoint: str, kind: EventType, body: bytes, at_ms: int) -> Message:
    return Message(id=message_id(endpoint, body), endpoint=endpoint, type=kind, created_ms=at_ms, body=body)
