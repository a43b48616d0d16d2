"""Hearing a channel of Redis' pub/sub, on one server and in a cluster alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Never

from redis.asyncio import RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.redis_connection import RedisClient

_PING_SECONDS: Final = 5.0
_DEAF_SECONDS: Final = 15.0  # without an answer to a ping: a connection that is one in name only


async def listen(
    redis: RedisClient, channel: str, heard: Callable[[bytes], None], *, subscribed: Callable[[], None]
) -> Never:
    """Call ``heard`` with each message until the connection breaks.

    What is published before ``subscribed`` is called, or after a break, is not heard: whoever must know it reads it then.

    Raises:
        REDIS_AWAY: the connection is lost; listening again is the caller's to decide.
    """
    pubsub = await _pubsub(redis, channel)
    last = time.monotonic()
    try:
        await pubsub.subscribe(channel)
        while True:
            message = await pubsub.get_message(timeout=_PING_SECONDS)
            if message is not None:
                last = time.monotonic()
                if message["type"] == "subscribe":
                    subscribed()
                elif message["type"] == "message":
                    heard(message["data"])
            elif time.monotonic() - last > _DEAF_SECONDS:
                raise RedisConnectionError(f"nothing came for {_DEAF_SECONDS:g} s")
            else:
                await pubsub.ping()
    finally:
        await pubsub.aclose()


async def _pubsub(redis: RedisClient, channel: str) -> Any:
    # Any: the two clients' subscriptions share the calls used here, not a type.
    if isinstance(redis, RedisCluster):
        await redis.initialize()
        # Where the channel's name belongs, as if it were a key: that is where its messages are counted, too.
        return redis.pubsub(node=redis.get_node_from_key(channel))
    return redis.pubsub()
