"""What Redis keeps of a rebuild: which it is, how far it got, and who works on it.

One rebuild at a time: whoever works on it holds a lease that expires. The pointer to the serving generation is flipped by one
script, which also checks the lease, so that a rebuild that was given up while its process slept cannot come to serve.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from schemas.errors import RebuildStopped
from schemas.keys import GENERATION, REBUILD, REBUILD_LEASE, Generation
from streams.connection import RedisClient
from streams.tables import load_script

# So long after a kill -9 another may go on; the holder renews it every second.
LEASE_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.3


class Phase(StrEnum):
    """How far a rebuild got, first to last."""

    FILLING = "filling"
    VERIFYING = "verifying"
    DIFFERS = "differs"  # verified, with differences; it does not serve
    SERVING = "serving"  # it serves; the tables from before are still there
    DONE = "done"


class Progress(Struct, frozen=True):
    """How far the filling got; a partition's numbers are its position and the offset it goes to."""

    applied: int = 0  # events, since the log's beginning
    left: int = 0
    rate: float = 0.0  # events a second, lately
    partitions: dict[int, tuple[int, int]] = field(default_factory=dict)


class Rebuild(Struct, frozen=True):
    """The stored facts of one rebuild."""

    generation: Generation
    beside: Generation  # which served when it began
    started_ms: int
    from_what_is_left: bool = False
    new_log: bool = False
    keep_old: bool = False
    phase: Phase = Phase.FILLING
    word: str = ""  # the last there is to say about it
    progress: Progress = Progress()

    @property
    def unfinished(self) -> bool:
        """Whether it does not serve yet."""
        return self.phase in {Phase.FILLING, Phase.VERIFYING, Phase.DIFFERS}


class RebuildState:
    """One process's hold on the rebuild."""

    def __init__(self, redis: RedisClient, holder: str) -> None:
        """``holder`` names this process, and no other one."""
        self._redis = redis
        self._holder = holder
        self._keep = load_script(redis, "keep_lease")
        self._flip = load_script(redis, "flip_generation")

    async def load(self) -> Rebuild | None:
        """The rebuild under way, or the last one."""
        stored: Any = await self._redis.hgetall(REBUILD)
        return decode_rebuild(stored)

    async def holder(self) -> str | None:
        """Who works on it now."""
        held: Any = await self._redis.get(REBUILD_LEASE)
        return None if held is None else str(held.decode())

    async def acquire(self) -> None:
        """Become the one who works on it; waits for the lease of a process that is gone.

        Raises:
            RebuildStopped: somebody else works on it.
        """
        left_ms = LEASE_SECONDS * 1000
        while not await self._redis.set(REBUILD_LEASE, self._holder, nx=True, px=int(LEASE_SECONDS * 1000)):
            now_left_ms = await self._redis.pttl(REBUILD_LEASE)
            if now_left_ms > left_ms:  # renewed
                raise RebuildStopped(
                    f"a rebuild is running already ({await self.holder()}); see `scores rebuild status`, or end it with "
                    "`scores rebuild cancel`"
                )
            left_ms = max(now_left_ms, 0)
            await asyncio.sleep(_LOOK_SECONDS)

    async def begin(self, rebuild: Rebuild) -> None:
        """Write down a new rebuild; the lease must be ours."""
        pipe: Any = self._redis.pipeline(transaction=False)
        pipe.delete(REBUILD)
        pipe.hset(REBUILD, mapping=_encoded(rebuild))
        await pipe.execute()

    async def go_on(self) -> None:
        """Take an earlier order to stop back; the lease must be ours."""
        await self._redis.hdel(REBUILD, "stop")

    async def keep(self, generation: Generation) -> None:
        """Renew the lease.

        Raises:
            RebuildStopped: it was cancelled, removed or taken over.
        """
        outcome, detail = await self._keep(
            keys=[REBUILD, REBUILD_LEASE], args=[self._holder, int(LEASE_SECONDS * 1000), generation]
        )
        if outcome == b"stop":
            raise RebuildStopped("the rebuild was cancelled")
        if outcome == b"taken":
            raise RebuildStopped(
                f"{detail.decode()} works on this rebuild now; this process was away too long"
            )
        if outcome != b"kept":
            raise RebuildStopped(f"the rebuild of {generation} was removed, or Redis has lost it")

    async def save(self, **fields: object) -> None:
        """Write down some fields of the rebuild."""
        await self._redis.hset(REBUILD, mapping={name: _stored(value) for name, value in fields.items()})

    async def flip(self, rebuild: Rebuild) -> None:
        """Let the rebuilt generation serve, if the one it was built beside still does.

        Raises:
            RebuildStopped: it does not, or the rebuild is no longer ours.
        """
        outcome, detail = await self._flip(
            keys=[GENERATION, REBUILD, REBUILD_LEASE], args=[self._holder, rebuild.beside, rebuild.generation]
        )
        if outcome == b"moved":
            raise RebuildStopped(
                f"generation {detail.decode() or 'none'} serves now, and no longer {rebuild.beside}, beside which this was "
                "built. Remove it with `scores rebuild clean` and start again"
            )
        if outcome != b"flipped":
            raise RebuildStopped("the rebuild was taken over or removed while this process was away")

    async def release(self) -> None:
        """Nobody works on it from now on, as far as it was us."""
        if await self.holder() == self._holder:
            await self._redis.delete(REBUILD_LEASE)


def decode_rebuild(stored: dict[bytes, bytes]) -> Rebuild | None:
    """The rebuild of a stored hash; None when there is none."""
    if b"generation" not in stored:
        return None
    fields: dict[str, Any] = {name.decode(): value.decode() for name, value in stored.items()}
    fields["progress"] = msgspec.json.decode(fields.get("progress", "{}"))
    return msgspec.convert(fields, Rebuild, strict=False)


def _encoded(rebuild: Rebuild) -> dict[str, str]:
    return {name: _stored(getattr(rebuild, name)) for name in rebuild.__struct_fields__}


def _stored(value: object) -> str:
    if isinstance(value, Progress):
        return msgspec.json.encode(value).decode()
    return str(int(value)) if isinstance(value, bool) else str(value)
