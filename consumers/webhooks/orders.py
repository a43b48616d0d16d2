"""What owners ask for by way of the gateway: a test, the question, another attempt, or everything since a time."""

from __future__ import annotations

from msgspec.structs import replace

from consumers.webhooks import endpoint_messages
from consumers.webhooks.care import Care
from consumers.webhooks.outbox import Outbox
from schemas.webhooks.endpoints import Endpoint, EventType
from schemas.webhooks.messages import Message, MessageState, Order

# What changed since a time and can still be looked up is told by its latest figures; the rest as it was told then.
_TOLD_AS_IT_WAS = (EventType.RESULT_RESCORED, EventType.RESULT_INVALIDATED, EventType.RELEASE_CHANGED)


async def carry_out(order: Order, order_id: str, outbox: Outbox, care: Care, now_ms: int) -> None:
    """Do what an order asks for. May be called again with the same order: at worst something is sent once more.

    Args:
        order_id: of the stream's entry, which begins with the time at which it was given (milliseconds).
    """
    endpoint = outbox.endpoints.get(order.endpoint)
    if endpoint is None:  # deleted since
        return
    at_ms = int(order_id.partition("-")[0])
    match order.kind:
        case "ping":
            await _test(endpoint, at_ms, outbox, care, now_ms)
        case "confirm":
            await care.ask(endpoint, at_ms=at_ms, now_ms=now_ms, hurry=True)
        case "enable":
            await care.enable(endpoint, at_ms=at_ms, now_ms=now_ms)
        case "replay":
            await _replay(endpoint, order.message, outbox, care, now_ms)
        case "recover":
            await _recover(endpoint, order.since_ms or 0, outbox, care, now_ms)
        case "retry_dead":
            dead = await outbox.dead(endpoint.id, order.since_ms or 0)
            await care.send_now(
                [message for message in dead if message.type is not EventType.ENDPOINT_PING], now_ms
            )
        case "changed":  # seen by the worker's reading of all endpoints
            pass


async def _test(endpoint: Endpoint, at_ms: int, outbox: Outbox, care: Care, now_ms: int) -> None:
    message = endpoint_messages.trial(endpoint.id, at_ms=at_ms)
    if not await outbox.add(message):
        return
    if outbox.state(endpoint.id).disabled is None:
        await care.half_open(endpoint.id)  # somebody is looking
        return
    # Or it would wait, and surprise somebody on the day on which the endpoint is enabled.
    why = "the endpoint is disabled: enable it first"
    await outbox.finish(message, None, MessageState.DEAD, why, now_ms=now_ms)


async def _replay(endpoint: Endpoint, message_id: str, outbox: Outbox, care: Care, now_ms: int) -> None:
    message = await outbox.read(message_id)
    if message is None or message.endpoint != endpoint.id:  # kept no longer, or somebody else's
        return
    await care.send_now([_as_it_was(message)], now_ms)


async def _recover(endpoint: Endpoint, since_ms: int, outbox: Outbox, care: Care, now_ms: int) -> None:
    await outbox.tell_all(endpoint.id, since_ms)
    told = [
        _as_it_was(message)
        for message in await outbox.kept(endpoint.id, since_ms)
        if message.type in _TOLD_AS_IT_WAS and message.state in (MessageState.DELIVERED, MessageState.DEAD)
    ]
    await care.send_now(told, now_ms)


def _as_it_was(message: Message) -> Message:
    """Sent once more with the same content; one that still waits may be overtaken by something later, as ever."""
    return message if message.state is MessageState.WAITING else replace(message, replayed=True)
