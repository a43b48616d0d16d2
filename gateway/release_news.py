"""Hearing at once that release states have changed; that they are read each second anyway is for when this is not heard."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from gateway.channels import listen
from gateway.redis_connection import REDIS_AWAY, RedisClient
from schemas.keys import RELEASES_CHANNEL

logger = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 1.0


async def hear_of_releases(redis: RedisClient, look: Callable[[], None]) -> None:
    """Call ``look`` after each change, until cancelled."""
    while True:
        try:
            await listen(redis, RELEASES_CHANNEL, lambda _: look(), subscribed=look)
        except REDIS_AWAY as error:
            logger.info("changes of release states cannot be heard just now error=%r", error)
        await asyncio.sleep(_PAUSE_SECONDS * random.uniform(0.8, 1.2))
