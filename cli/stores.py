"""Opening the Redis behind an address, for commands: a single server, or the cluster that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException
from redis.retry import Retry

from schemas.environment import shown_address
from schemas.errors import DependencyUnavailable, InvalidInput

_TIMES: Final[dict[str, Any]] = {"socket_connect_timeout": 5, "socket_timeout": 30}
# One small question, asked once. A Redis that accepts and is silent would else keep `scores status` from saying so for long.
_ASKING: Final[dict[str, Any]] = {
    "socket_connect_timeout": 5,
    "socket_timeout": 3,
    "retry": Retry(NoBackoff(), 0),
}


@contextmanager
def opened_store(redis_url: str) -> Iterator[Redis]:
    """A client for an address, which may be any node of a Redis Cluster: it is asked whether it is one.

    Commands of single keys and pipelines of them work alike on both; so does ``scan_iter``.

    Raises:
        InvalidInput: the address is none.
        DependencyUnavailable: Redis does not answer, now or while it is used.
    """
    shown = shown_address(redis_url)
    try:
        server = Redis.from_url(redis_url, **_ASKING)
    except ValueError as error:
        raise InvalidInput(
            f"'{shown}' is not the address of a Redis; expected redis://host:port/0"
        ) from error
    try:
        with server:
            clustered = _in_a_cluster(server)
        if not clustered:
            with Redis.from_url(redis_url, **_TIMES) as single:
                yield single
            return
        with RedisCluster.from_url(redis_url, **_TIMES) as cluster:
            yield cast(Redis, cluster)
    except (RedisError, RedisClusterException) as error:
        raise DependencyUnavailable(
            f"Redis at {shown} does not answer: {error}; start the stack with `scores up`, or give --redis"
        ) from error


def is_cluster(redis_url: str) -> bool:
    """Whether the server behind an address belongs to a Redis Cluster.

    Raises:
        InvalidInput: the address is none.
        DependencyUnavailable: Redis does not answer.
    """
    with opened_store(redis_url) as redis:
        return isinstance(redis, RedisCluster)


def _in_a_cluster(server: Redis) -> bool:
    facts: dict[str, Any] = server.info("cluster")
    return facts.get("cluster_enabled") == 1
