"""The worker's Redis connection: redis-py's, with the one hot command packed in C.

A batch is one EVALSHA of ten thousand arguments, and redis-py's asyncio connection packs arguments in Python: a
quarter of the worker's time. hiredis, which redis-py uses for its blocking connection, does the same in C.
"""

from __future__ import annotations

from typing import Any

import hiredis
from redis.asyncio import Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_LONGEST_PAUSE_SECONDS = 2.0
_ANSWER_SECONDS = 30.0


class PackingConnection(Connection):
    """Sends the same bytes, sooner."""

    def pack_command(self, *args: Any) -> list[bytes]:
        # Only where no argument is a command of two words, which redis-py splits ("SCRIPT LOAD").
        if args[0] == "EVALSHA":
            return [hiredis.pack_command(args)]
        packed: list[bytes] = super().pack_command(*args)
        return packed


def connect(redis_url: str, budget_seconds: float) -> Redis:
    """A client that waits out a Redis that is away, for ``budget_seconds``, before it raises."""
    # The pause grows 0.05, 0.1, ... to 2 s; after the sixth attempt each costs 2 s.
    attempts = 6 + int(budget_seconds / _LONGEST_PAUSE_SECONDS)
    return Redis.from_url(
        redis_url,
        connection_class=PackingConnection,  # a rediss:// URL overrides it
        retry=Retry(ExponentialBackoff(cap=_LONGEST_PAUSE_SECONDS, base=0.05), attempts),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        socket_timeout=_ANSWER_SECONDS,
    )
