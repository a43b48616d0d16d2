"""Which generation of the tables serves, and whether this program can write it."""

from __future__ import annotations

import time

from schemas.errors import LayoutChanged, PartitionsChanged, TablesLost
from schemas.keys import (
    GENERATION,
    LAYOUT,
    PARTITION_COUNT,
    Attribution,
    Generation,
    how_made,
    new_generation,
)
from schemas.topics import EXAM_RESULTS
from streams.accidents import Accident, Accidents
from streams.connection import RedisClient


async def serving_generation(
    redis: RedisClient, partitions: int, attribution: Attribution = "current"
) -> Generation:
    """The generation to write; made when there is none yet, for as many partitions as the topic has.

    Raises:
        PartitionsChanged: the tables were built for another number of partitions.
        LayoutChanged: they are of another layout.
    """
    await redis.setnx(PARTITION_COUNT, partitions)
    stored = int(_text(await redis.get(PARTITION_COUNT)))
    if stored != partitions:
        raise PartitionsChanged(
            f"the tables were built from {stored} partitions, but {EXAM_RESULTS} now has {partitions}; "
            "students have changed partitions, so start with an empty Redis"
        )
    await redis.setnx(GENERATION, new_generation(int(time.time() * 1000), attribution))
    generation = Generation(_text(await redis.get(GENERATION)))
    layout = how_made(generation).layout
    if layout != LAYOUT:
        raise LayoutChanged(
            f"the tables of generation {generation} have layout {layout}, and this version writes layout {LAYOUT}. Run `scores "
            "rebuild`: it fills new tables from the log while these serve, and this worker then takes them over"
        )
    return generation


async def require_serving(redis: RedisClient, accidents: Accidents) -> None:
    """Look whether there still is a serving generation: in a cluster the pointer is lost with a master that has no tables.

    Raises:
        TablesLost: there is none; readers see nothing until a worker starts again.
    """
    if await redis.get(GENERATION) is None:
        accidents.happened(Accident.TABLES_LOST, missing=GENERATION)
        raise TablesLost(
            f"Redis has lost {GENERATION}, the name of the tables. Starting again with new tables, from the beginning of the log"
        )


def _text(reply: bytes | str | None) -> str:
    return reply.decode() if isinstance(reply, bytes) else reply or ""
