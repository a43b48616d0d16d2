"""The worker's connection to Redis: one server or a cluster; whoever uses it waits out a Redis that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis.asyncio import Connection, Redis, RedisCluster, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from schemas.redis_sending import SendsCancellably, use_connections

RedisClient = Redis | RedisCluster

# What is raised while Redis is not there. The second is no RedisError: a cluster of which no node answers.
REDIS_AWAY: Final = (RedisError, RedisClusterException, OSError)

# Scripts take milliseconds; what takes seconds is a server that is not there. Longer than the blocking read of orders.
_ANSWER_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 2.0

RETRY_SECONDS: Final = 0.1

# Of what a server answers, these pass by: it is loading its data, or is a replica that is about to be promoted.
_PASSING: Final = ("LOADING", "READONLY", "MASTERDOWN", "BUSY", "OOM", "MISCONF", "NOREPLICAS", "CLUSTERDOWN")


class _PlainConnection(SendsCancellably, Connection):
    pass


class _EncryptedConnection(SendsCancellably, SSLConnection):
    pass


_OURS: Final[dict[Any, Any]] = {Connection: _PlainConnection, SSLConnection: _EncryptedConnection}


def connect(url: str, *, cluster: bool = False) -> RedisClient:
    """A client for ``redis://...``; it connects when first used."""
    settings: dict[str, Any] = {
        "protocol": 2,
        "decode_responses": False,
        "socket_timeout": _ANSWER_SECONDS,
        "socket_connect_timeout": _CONNECT_SECONDS,
        "retry": Retry(NoBackoff(), 1),  # mends a connection that broke while idle
        "max_connections": 64,
    }
    kind: type[RedisClient] = RedisCluster if cluster else Redis
    client = kind.from_url(url, **settings)
    use_connections(client, _OURS)
    return client


def passes_by(error: Exception) -> bool:
    """Whether waiting can mend an error; what else a server answers is a fault of ours."""
    if not isinstance(error, ResponseError):
        return True
    return any(word in str(error) for word in _PASSING)


async def patiently(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The answer, asked for until Redis gives one. The lease may end meanwhile; whatever is written next tells."""
    while True:
        try:
            return await ask()
        except REDIS_AWAY as error:
            if not passes_by(error):
                raise
        await asyncio.sleep(RETRY_SECONDS)
