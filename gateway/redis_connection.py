"""The gateway's connection to Redis: one server or a cluster."""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import Connection, Redis, RedisCluster, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisClusterException, RedisError

from schemas.redis_sending import SendsCancellably, use_connections

RedisClient = Redis | RedisCluster

# What reading raises while Redis is not there. The second is no RedisError: a cluster of which no node answers.
REDIS_AWAY: Final = (RedisError, RedisClusterException, OSError)

# Commands answer in a millisecond; what takes seconds is a server that is not there. Longer than the blocking read.
_COMMAND_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 2.0


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
        "socket_timeout": _COMMAND_SECONDS,
        "socket_connect_timeout": _CONNECT_SECONDS,
        # Twice, quickly: that mends pooled connections after a restart. A longer wait is the hub's to decide.
        "retry": Retry(ExponentialBackoff(cap=0.2, base=0.05), 2),
        "max_connections": 256,
    }
    kind: type[RedisClient] = RedisCluster if cluster else Redis
    client = kind.from_url(url, **settings)
    use_connections(client, _OURS)
    return client
