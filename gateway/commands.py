"""Commands to open streams: change what is watched, go on with a fresh token. Any node takes them.

A stream's id names its node. A command for another node travels there by Redis pub/sub, and its answer travels back the
same way, so that whoever asks is told what came of it:

1. Every node listens on a channel of its own, ``gateway:<node>``.
2. The node that is asked publishes a ``Command`` there; nobody listens: the node is gone.
3. The node that has the stream decides, and publishes an ``Answer`` on the asking node's channel.

At most once. Repeating a command does no harm: each says how it shall be, not what to do.

Nothing is stored in Redis. Whoever may publish there is believed, as is whoever may write the tables there.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import re
import secrets
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct
from redis.asyncio import RedisCluster

from gateway.channels import listen
from gateway.connections import Connections
from gateway.holders import Holder, holder_of
from gateway.redis_connection import REDIS_AWAY, RedisClient
from gateway.subscriptions import SubscriptionLimits, SubscriptionRequest
from gateway.tokens import Principal, TokenRefused
from schemas.access.permissions import Forbidden
from schemas.errors import DependencyUnavailable, InvalidInput

logger = logging.getLogger(__name__)

_STREAM_ID: Final = re.compile(r"(?P<node>[A-Za-z0-9_-]{1,32})\.[A-Za-z0-9_-]{1,32}")

# An answer is two hops of a millisecond; what takes seconds is a node or a Redis that is not there.
_ANSWER_SECONDS: Final = 3.0
# A node that nobody hears may be connecting anew after Redis was away, and in a cluster the count is of one Redis node
# only, while the message reaches all.
_UNHEARD_SECONDS: Final = 0.5
_MOST_WAITING: Final = 1_000
_SHORTEST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 2.0


class Outcome(Enum):
    """What came of a command, from good to bad."""

    DONE = "done"  # the stream confirms it with ``subscribed``
    TOO_OFTEN = "too_often"
    INVALID = "invalid"
    FORBIDDEN = "forbidden"  # the stream's token, or the fresh one, does not open all topics
    FOREIGN = "foreign"  # it is another subject's stream
    UNKNOWN = "unknown"  # no such stream, or its node is gone
    NOT_NOW = "not_now"  # Redis, the node or its directory is not there just now


class Result(NamedTuple):
    """An outcome, and what there is to say about it."""

    outcome: Outcome
    detail: str = ""


class Command(Struct, frozen=True, array_like=True, tag="command"):
    """What somebody asks of a stream; without a request it is to go on with the holder's token."""

    number: int
    asker: str  # node
    stream: str
    holder: Holder
    request: SubscriptionRequest | None = None


class Answer(Struct, frozen=True, array_like=True, tag="answer"):
    """What came of the asking node's command of that number."""

    number: int
    outcome: Outcome
    detail: str = ""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Command | Answer).decode


def new_node() -> str:
    """A name for this process that no other has, or had."""
    return secrets.token_urlsafe(9)


def new_stream_id(node: str) -> str:
    """An id for a stream of a node. It opens nothing: commands are checked against the stream's subject."""
    return f"{node}.{secrets.token_urlsafe(9)}"


def node_of(stream_id: str) -> str | None:
    """The node that a stream id names; None when it is not one of ours."""
    match = _STREAM_ID.fullmatch(stream_id)
    return match["node"] if match else None


def carry_out(
    connections: Connections,
    limits: SubscriptionLimits,
    admitted: Callable[[Holder], Principal],
    command: Command,
) -> Result:
    """Do what a command asks of a stream of this node, if it may be done.

    A changed subscription is judged by the token that the stream runs on; the token of the request was judged where it
    was received. A fresh token is judged here too, by this node's roles and revocations: ``admitted`` gives the principal,
    or refuses it.
    """
    stream = connections.get(command.stream)
    if stream is None:
        return Result(Outcome.UNKNOWN)
    if (stream.subject, stream.principal.issuer) != (command.holder.subject, command.holder.issuer):
        return Result(Outcome.FOREIGN)
    if not connections.take_change(command.stream):
        return Result(Outcome.TOO_OFTEN)
    try:
        if command.request is None:
            stream.renew(admitted(command.holder))
        else:
            stream.change(command.request.subscription(limits))
    except (Forbidden, TokenRefused):
        return Result(Outcome.FORBIDDEN)
    except InvalidInput as error:
        return Result(Outcome.INVALID, str(error))
    except DependencyUnavailable:
        return Result(Outcome.NOT_NOW)
    return Result(Outcome.DONE)


class Commands:
    """Sends commands to other nodes, and carries out those that come from them."""

    def __init__(
        self,
        redis: RedisClient,
        node: str,
        carry_out: Callable[[Command], Result],
        *,
        answer_seconds: float = _ANSWER_SECONDS,
        unheard_seconds: float = _UNHEARD_SECONDS,
    ) -> None:
        self.node = node
        self._answer_seconds = answer_seconds
        self._unheard_seconds = unheard_seconds
        self._redis = redis
        self._carry_out = carry_out
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Result]] = {}
        self._listening = asyncio.Event()
        self._answering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Listen for commands and answers until cancelled; after an interruption of Redis, again."""
        pause = _SHORTEST_PAUSE_SECONDS
        try:
            while True:
                try:
                    await self._listen()
                except REDIS_AWAY as error:
                    if self._listening.is_set():
                        self._listening.clear()
                        pause = _SHORTEST_PAUSE_SECONDS
                    if pause == _SHORTEST_PAUSE_SECONDS:
                        logger.warning("commands of other nodes cannot be heard error=%r", error)
                    await self._ask_anew()
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
        finally:
            for task in self._answering:
                task.cancel()

    async def ask(self, stream_id: str, principal: Principal, request: SubscriptionRequest | None) -> Result:
        """What came of a command to a stream, wherever it is."""
        node = node_of(stream_id)
        if node is None:
            return Result(Outcome.UNKNOWN)
        command = Command(next(self._numbers), self.node, stream_id, holder_of(principal), request)
        if node == self.node:
            return self._carry_out(command)
        if len(self._waiting) >= _MOST_WAITING:
            return Result(Outcome.NOT_NOW)
        answer = self._waiting[command.number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._answer_seconds):
                return await self._answered(node, command, answer)
        except (TimeoutError, *REDIS_AWAY) as error:
            logger.info("another node did not answer a command node=%s error=%r", node, error)
            return Result(Outcome.NOT_NOW)
        finally:
            del self._waiting[command.number]

    async def _answered(self, node: str, command: Command, answer: asyncio.Future[Result]) -> Result:
        await self._listening.wait()
        packed = _encode(command)
        for _ in range(2):
            if await self._publish(node, packed):
                return await answer
            await asyncio.wait({answer}, timeout=self._unheard_seconds)
            if answer.done():
                return answer.result()
        return Result(Outcome.UNKNOWN)

    async def _publish(self, node: str, packed: bytes) -> int:
        """How many listened; in a cluster those at that Redis node."""
        channel = _channel(node)
        to: dict[str, Any] = {}
        if isinstance(self._redis, RedisCluster):
            # Where the channel's name belongs, as if it were a key: listeners are there too, so that they are counted.
            await self._redis.initialize()
            to["target_nodes"] = self._redis.get_node_from_key(channel)
        return int(await self._redis.execute_command("PUBLISH", channel, packed, **to))

    async def _ask_anew(self) -> None:
        """Let a cluster's client find out who serves what now; it does so by itself after failed commands only."""
        if isinstance(self._redis, RedisCluster):
            with contextlib.suppress(*REDIS_AWAY):
                await self._redis.aclose()  # opened again by the next command, whoever's that is

    async def _listen(self) -> None:
        await listen(self._redis, _channel(self.node), self._take_in, subscribed=self._listening.set)

    def _take_in(self, message: bytes) -> None:
        try:
            received = _decode(message)
        except msgspec.MsgspecError as error:
            logger.warning("a command could not be read; do all nodes run the same version? error=%s", error)
            return
        if isinstance(received, Answer):
            waiting = self._waiting.get(received.number)
            if waiting is not None and not waiting.done():
                waiting.set_result(Result(received.outcome, received.detail))
            return
        try:
            result = self._carry_out(received)
        except Exception:  # one command that fails must not be the last that is heard
            logger.exception("a command failed")
            result = Result(Outcome.NOT_NOW)
        task = asyncio.create_task(self._reply(received, result))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _reply(self, command: Command, result: Result) -> None:
        try:
            await self._publish(command.asker, _encode(Answer(command.number, result.outcome, result.detail)))
        except REDIS_AWAY as error:
            logger.info("an answer to a command could not be sent error=%r", error)


def _channel(node: str) -> str:
    return f"gateway:{node}"
