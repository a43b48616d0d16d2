"""Removing the tables of a generation that does not serve, in slices, so that nobody waits for it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from redis import Redis

from schemas.errors import ScoreStreamError
from schemas.keys import GENERATION, RESULTS_ENDING, Generation, keys_of

_REMOVED_AT_ONCE: Final = 500
_PAUSE_SECONDS: Final = 0.002  # for everybody else's commands; it doubles the time at most
_OF_A_PARTITION: Final = re.compile(
    r"\{(?P<generation>[^{}]+)\.[0-9]+\}:(?P<what>position|changes|reconsidered|exams|cells)"
)


def serving(redis: Redis) -> Generation | None:
    """The generation that serves now."""
    stored = redis.get(GENERATION)
    return None if stored is None else Generation(_text(stored))


def generations(redis: Redis) -> list[Generation]:
    """Every generation of which there are tables, oldest first."""
    found = {
        table[0] for key in redis.scan_iter(match="{*}:*", count=2_000) if (table := table_key(_text(key)))
    }
    return sorted(found)


def table_key(name: str) -> tuple[Generation, str] | None:
    """Of which generation a key is, and what it is (exams, cells, position, ...); None for any other key."""
    found = _OF_A_PARTITION.match(name)
    return None if found is None else (Generation(found["generation"]), found["what"])


def remove_tables(
    redis: Redis, generation: Generation, tell: Callable[[int], None] = lambda keys: None
) -> int:
    """Remove a generation's tables; returns how many keys that were.

    Raises:
        ScoreStreamError: it serves, or nobody knows which one does.
    """
    removed = 0
    names: list[str] = []
    _must_not_serve(redis, generation)
    for key in redis.scan_iter(match=keys_of(generation), count=1_000):
        # Notes on results wait for the relay, which removes the stream when Kafka has them.
        if not _text(key).endswith(RESULTS_ENDING):
            names.append(_text(key))
        if len(names) == _REMOVED_AT_ONCE:
            removed += _remove(redis, generation, names)
            names.clear()
            tell(removed)
            time.sleep(_PAUSE_SECONDS)
    removed += _remove(redis, generation, names)
    tell(removed)
    return removed


def _remove(redis: Redis, generation: Generation, names: list[str]) -> int:
    _must_not_serve(redis, generation)
    with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.unlink(name)
        return sum(pipe.execute())


def _must_not_serve(redis: Redis, generation: Generation) -> None:
    now = serving(redis)
    if now is None:
        raise ScoreStreamError(
            "Redis names no serving generation, so nothing is removed; start a stream worker first"
        )
    if now == generation:
        raise ScoreStreamError(f"generation {generation} serves; it is not removed")


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
