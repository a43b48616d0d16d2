"""A message to one endpoint, and what became of it. The delivering worker writes them, the gateway shows them."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec
from msgspec import Struct

from schemas.identifiers import OrganizationId
from schemas.webhooks.endpoints import EventType


class MessageState(StrEnum):
    """Where a message is."""

    WAITING = "waiting"  # for its first or its next attempt
    DELIVERED = "delivered"
    SUPERSEDED = (
        "superseded"  # before it could be delivered, a later message said what it had to say, and more
    )
    WITHHELD = "withheld"  # its endpoint's owner may not see any more what it says
    DEAD = "dead"  # given up; the detail says why, and it can be sent again


class Told(Struct, frozen=True, array_like=True):
    """What an endpoint was told of one cell; of a release state the version is the state."""

    version: int
    changed_ms: int = 0
    share: float | None = None  # percent of students at the two highest levels
    summed: bool = (
        False  # over some districts; of other districts is another sum, and its version may be lower
    )


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt to deliver. What the receiver answered is never trusted: cut, and shown escaped."""

    at_ms: int
    latency_ms: int
    status: int | None = None  # None: no answer
    error: str = ""
    response: str = ""  # the beginning of it
    next_ms: int | None = None


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message; ``body`` are the exact bytes that are signed and sent, whenever."""

    id: str
    endpoint: str
    type: EventType
    created_ms: int
    body: bytes
    organization: OrganizationId | None = None
    version: int = 0
    tells: dict[
        str, Told
    ] = {}  # what it is about (cells, release states), to be remembered as told when it is delivered
    state: MessageState = MessageState.WAITING
    detail: str = ""
    attempts: tuple[Attempt, ...] = ()  # the latest; ``attempted`` counts them all
    attempted: int = 0
    tried: int = 0  # its place in the retry schedule: starts anew when somebody asks for it again
    replayed: bool = False  # asked for again as it was: nothing later takes its place
    next_ms: int | None = None
    finished_ms: int | None = None


class Order(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the gateway asks of the delivering worker, by way of a stream."""

    kind: Literal["ping", "confirm", "enable", "replay", "recover", "retry_dead", "changed"]
    endpoint: str
    message: str = ""  # replay: which
    since_ms: int | None = None  # recover, retry_dead: only what was made since
    by: str = ""


_encode = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(Message).decode
_decode_told = msgspec.json.Decoder(Told).decode
_decode_order = msgspec.json.Decoder(Order).decode


def encode_stored(value: Struct) -> bytes:
    """A message, order, endpoint or state, as Redis keeps it."""
    return _encode(value)


def decode_message(stored: bytes) -> Message:
    """The inverse of ``encode_stored``.

    Raises:
        msgspec.MsgspecError: it is no message.
    """
    return _decode_message(stored)


def decode_order(stored: bytes) -> Order:
    """The inverse of ``encode_stored``.

    Raises:
        msgspec.MsgspecError: it is no order.
    """
    return _decode_order(stored)


def decode_told(stored: bytes) -> Told:
    """The inverse of ``encode_stored``.

    Raises:
        msgspec.MsgspecError: it is not what was told of anything.
    """
    return _decode_told(stored)
