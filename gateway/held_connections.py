"""Asking Redis over connections that are kept between questions, without what the client adds to each.

A gateway that sends ten ticks a second asks thirty questions a second, each from cold caches: taking a connection from the pool, trying
it, counting and measuring costs more there than the question itself (half a millisecond of a thousand streams' ten).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Connection, Redis
from redis.exceptions import ConnectionError as RedisConnectionError

# A connection that was kept may have been closed by the other side; one that is new then fails for a better reason.
_TRIES: Final = 3

Question = Sequence[str | bytes | int]


class HeldConnections:
    """For one event loop; any number of tasks may ask at once. What is asked must be harmless to ask twice."""

    def __init__(self, redis: Redis) -> None:
        """Connections are those of the client's pool, and are closed with it."""
        self._pool = redis.connection_pool
        self._idle: list[Any] = []

    async def ask(self, *questions: Question) -> list[Any]:
        """Send some commands together; the raw replies, in order.

        Raises:
            RedisError, OSError: no answer, or an error is the answer to any of them.
        """
        for _ in range(_TRIES - 1):
            if not self._idle:
                break
            try:
                return await self._ask(self._idle.pop(), questions)
            except RedisConnectionError:
                continue
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py's decorator
        return await self._ask(connection, questions)

    async def _ask(self, connection: Connection, questions: Sequence[Question]) -> list[Any]:
        try:
            await connection.send_packed_command(connection.pack_commands(questions), check_health=False)
            replies = [await connection.read_response() for _ in questions]
        except BaseException:
            # Also when one of several answers is an error: the next would be taken for that of another question.
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)
            raise
        self._idle.append(connection)
        return replies
