"""Looking at a rebuild from another terminal, stopping it, and removing what it left."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from redis import Redis
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.rebuild.cleaning import generations, remove_tables, serving
from cli.rebuild.progress import Display, estimate, lags_of
from cli.stores import opened_store
from schemas.errors import InvalidInput, ScoreStreamError
from schemas.keys import REBUILD, REBUILD_LEASE, how_made
from streams.rebuild_state import LEASE_SECONDS, Rebuild, decode_rebuild

_LOOK_SECONDS: Final = 0.2


def show_status(redis_url: str, *, as_json: bool) -> int:
    """How far it is; 1 when one is unfinished and nobody works on it."""
    with opened_store(redis_url) as redis:
        rebuild, holder, now = _load(redis), _holder(redis), serving(redis)
    stranded = rebuild is not None and rebuild.unfinished and holder is None
    if as_json:
        body = None if rebuild is None else {**_body(rebuild), "running": holder, "serving": now}
        sys.stdout.buffer.write(msgspec.json.encode(body) + b"\n")
        sys.stdout.flush()
    elif rebuild is None:
        Console().print("There was no rebuild.")
    else:
        _print(Console(), rebuild, holder, now)
    return 1 if stranded else 0


def cancel_rebuild(redis_url: str) -> int:
    """Have the running rebuild stop, and wait until it has; 1 when none runs.

    Raises:
        InvalidInput: none was ever begun.
        ScoreStreamError: it does not stop.
    """
    with opened_store(redis_url) as redis:
        if _load(redis) is None:
            raise InvalidInput("there is no rebuild to cancel")
        running = _holder(redis)
        if running is None:
            print("No rebuild is running. `scores rebuild clean` removes what one has left.")
            return 1
        redis.hset(REBUILD, "stop", "cancel")
        deadline = time.monotonic() + LEASE_SECONDS + 2.0
        while _holder(redis) is not None:
            if time.monotonic() > deadline:
                raise ScoreStreamError(f"{running} does not stop; end that process")
            time.sleep(_LOOK_SECONDS)
    print("Stopped. `scores rebuild resume` goes on, `scores rebuild clean` removes what it filled.")
    return 0


def clean_up(redis_url: str, *, as_json: bool) -> int:
    """Remove the tables of every generation that does not serve.

    Raises:
        ScoreStreamError: a rebuild is running, or no generation serves.
    """
    display = Display(quiet=as_json)
    removed: dict[str, int] = {}
    with opened_store(redis_url) as redis:
        # Nobody begins or resumes one meanwhile.
        if not redis.set(REBUILD_LEASE, "cleaning", nx=True, ex=int(LEASE_SECONDS)):
            raise ScoreStreamError(
                f"a rebuild is running ({_holder(redis)}); stop it with `scores rebuild cancel` first"
            )
        try:
            with display.shown():
                for generation in generations(redis):
                    if generation != serving(redis):
                        removed[generation] = remove_tables(
                            redis, generation, _keeping_the_lease(redis, display)
                        )
            rebuild = _load(redis)
            if rebuild is not None and rebuild.generation in removed:
                redis.delete(REBUILD)
        finally:
            redis.delete(REBUILD_LEASE)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode({"removed_keys": removed}) + b"\n")
        sys.stdout.flush()
    elif removed:
        for name, keys in removed.items():
            print(f"Removed {name}: {keys:,} keys.")
    else:
        print("Nothing to remove: only the serving tables are there.")
    return 0


def _keeping_the_lease(redis: Redis, display: Display) -> Any:
    def tell(keys: int) -> None:
        redis.expire(REBUILD_LEASE, int(LEASE_SECONDS))
        display.removing(keys)

    return tell


def _load(redis: Redis) -> Rebuild | None:
    stored: Any = redis.hgetall(REBUILD)
    return decode_rebuild(stored)


def _holder(redis: Redis) -> str | None:
    held: Any = redis.get(REBUILD_LEASE)
    return None if held is None else str(held.decode())


def _body(rebuild: Rebuild) -> dict[str, object]:
    lags = lags_of(rebuild.progress)
    return {
        "generation": rebuild.generation,
        "beside": rebuild.beside,
        "attribution": how_made(rebuild.generation).attribution,
        "phase": rebuild.phase.value,
        "word": rebuild.word,
        "started_ms": rebuild.started_ms,
        "from_what_is_left": rebuild.from_what_is_left,
        "new_log": rebuild.new_log,
        "applied": rebuild.progress.applied,
        "left": rebuild.progress.left,
        "events_per_second": round(rebuild.progress.rate, 1),
        "positions": {
            number: position for number, (position, _) in sorted(rebuild.progress.partitions.items())
        },
        "lags": dict(sorted(lags.items())),
    }


def _print(console: Console, rebuild: Rebuild, holder: str | None, now: str | None) -> None:
    table = Table(title=f"Rebuild {rebuild.generation}", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    started = datetime.fromtimestamp(rebuild.started_ms / 1000, UTC)
    progress = rebuild.progress
    table.add_row("beside", rebuild.beside)
    table.add_row("serves now", now or "nothing")
    table.add_row("started", f"{started:%Y-%m-%d %H:%M:%S} UTC")
    table.add_row("phase", rebuild.phase.value)
    table.add_row("works on it", holder or "nobody")
    table.add_row("events read", f"{progress.applied:,}")
    table.add_row("behind", f"{progress.left:,} ({progress.rate:,.0f}/s, {estimate(progress)})")
    lags = lags_of(progress)
    table.add_row("by partition", "  ".join(f"{number}: {lag:,}" for number, lag in sorted(lags.items())))
    if rebuild.word:
        table.add_row("last word", rebuild.word)
    console.print(table)
    if rebuild.unfinished and holder is None:
        console.print(Text("`scores rebuild resume` goes on, `scores rebuild clean` removes it."))
