"""Who is cancelled while it talks to Redis ends, at whatever moment that is.

redis-py sends commands under ``asyncio.wait_for``, which before Python 3.12 loses a cancellation that arrives as the
sending ends. A reader that went on for that reason held up a flip of the tables for ever.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from cli.stack.redis_server import EmbeddedRedis
from gateway.redis_connection import connect as gateway_connection
from streams.accidents import Accidents
from streams.connection import connect as worker_connection
from streams.metrics import Metrics

pytestmark = pytest.mark.anyio

_TIMES = 200


def _of_the_worker(url: str) -> Any:
    return worker_connection(url, 30.0, Accidents(Metrics().accidents))


def _of_the_gateway(url: str) -> Any:
    return gateway_connection(url)


@pytest.mark.parametrize("connected", [_of_the_worker, _of_the_gateway])
async def test_cancelled_reader_of_redis_always_ends(
    server: EmbeddedRedis, connected: Callable[[str], Any]
) -> None:
    moments = random.Random(7)
    for number in range(_TIMES):
        client = connected(server.url)
        reading = asyncio.create_task(_read(client))
        await asyncio.sleep(moments.uniform(0.003, 0.015))
        reading.cancel()
        ended, _ = await asyncio.wait({reading}, timeout=60)
        assert ended and reading.cancelled(), f"reader {number} was cancelled and went on"
        await client.aclose()


async def _read(client: Any) -> None:
    while True:
        await client.xread({b"notices": b"$"}, count=1, block=2)
        await client.get("generation")
