"""The commands that write messages: one that waits, one that has come to its end, and all that goes with an endpoint.

Each function says everything that belongs together, so whoever writes its commands in one step leaves nothing half done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from consumers.webhooks.reign import Argument, Command, command, commands
from schemas.webhooks import keys
from schemas.webhooks.endpoints import EventType
from schemas.webhooks.messages import Attempt, Message, MessageState, encode_stored

_ATTEMPTS_KEPT: Final = 20


def attempted(message: Message, attempt: Attempt | None) -> Message:
    """A message with one more attempt, of which the latest are kept; None: as it is."""
    if attempt is None:
        return message
    attempts = (*message.attempts, attempt)[-_ATTEMPTS_KEPT:]
    return replace(message, attempts=attempts, attempted=message.attempted + 1)


def waiting_written(message: Message) -> list[Command]:
    """Keep a message that waits."""
    return [
        command("HSET", keys.MESSAGES, message.id, encode_stored(message)),
        command("ZADD", keys.DUE, message.next_ms or 0, message.id),
        command("ZADD", keys.log(message.endpoint), message.created_ms, message.id),
        command("ZREM", keys.dead(message.endpoint), message.id),
    ]


def ended_written(
    message: Message, attempt: Attempt | None, outcome: MessageState, detail: str, now_ms: int
) -> list[Command]:
    """End a message; what it told is remembered when it was delivered."""
    ended = replace(
        attempted(message, attempt), state=outcome, detail=detail, next_ms=None, finished_ms=now_ms
    )
    written = [
        command("HSET", keys.MESSAGES, message.id, encode_stored(ended)),
        command("ZREM", keys.DUE, message.id),
    ]
    if outcome is MessageState.DEAD:
        written.append(command("ZADD", keys.dead(message.endpoint), message.created_ms, message.id))
    else:
        written.append(command("ZREM", keys.dead(message.endpoint), message.id))
    if outcome is MessageState.DELIVERED and message.type not in (
        EventType.RESULT_RESCORED,
        EventType.RESULT_INVALIDATED,
    ):
        told: list[Argument] = []
        for field, one in message.tells.items():
            told += (field, encode_stored(one))
        written += commands("HSET", keys.told(message.endpoint), told, step=2)
    return written


def endpoint_removed(endpoint: str, messages: Sequence[Argument]) -> list[Command]:
    """Drop everything of an endpoint that is no more, and these messages, which are its."""
    own: Iterable[str] = (
        keys.pending(endpoint),
        keys.told(endpoint),
        keys.log(endpoint),
        keys.dead(endpoint),
    )
    return [
        command("HDEL", keys.STATES, endpoint),
        *(command("DEL", key) for key in own),
        *commands("HDEL", keys.MESSAGES, messages),
        *commands("ZREM", keys.DUE, messages),
    ]
