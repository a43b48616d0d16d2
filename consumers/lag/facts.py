"""Asks Redis for what is judged beside the positions: its memory, how soon it answers, endpoints, and parts."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

import msgspec
from redis.asyncio import RedisCluster

from consumers.lag.keeping import read_parts
from consumers.lag.parts import Facts
from consumers.webhooks.connection import REDIS_AWAY, RedisClient
from schemas.webhooks.endpoints import EndpointState, decode_state
from schemas.webhooks.keys import DUE, STATES

logger = logging.getLogger(__name__)

_SECONDS: Final = 2.0  # for all of it; the next sample is due


async def read_facts(redis: RedisClient) -> Facts:
    """What Redis tells now; empty when it does not answer in time."""
    try:
        async with asyncio.timeout(_SECONDS):
            return await _read(redis)
    except (*REDIS_AWAY, TimeoutError) as error:
        logger.warning("redis does not answer error=%r", error)
        return Facts()


async def _read(redis: RedisClient) -> Facts:
    begun = time.perf_counter()
    await redis.exists(STATES)  # not PING, which in a cluster goes to every node
    answer_seconds = time.perf_counter() - begun
    nodes: dict[str, Any] = (
        {"target_nodes": RedisCluster.PRIMARIES} if isinstance(redis, RedisCluster) else {}
    )
    told: Any = await redis.info("memory", **nodes)
    servers = [told] if "used_memory" in told else list(told.values())
    limits = [server.get("maxmemory", 0) for server in servers]
    states: Any = await redis.hvals(STATES)
    waiting: Any = await redis.zcard(DUE)
    return Facts(
        answer_seconds=answer_seconds,
        used_bytes=sum(server["used_memory"] for server in servers),
        limit_bytes=sum(limits) if all(limits) else None,
        endpoints=_readable(states),
        messages_waiting=waiting,
        reported=await read_parts(redis),
    )


def _readable(states: list[bytes]) -> list[EndpointState]:
    found = []
    for stored in states:
        try:
            found.append(decode_state(stored))
        except msgspec.MsgspecError:
            logger.warning("the state of a webhook endpoint cannot be read")
    return found
