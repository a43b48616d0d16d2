"""One worker at a time delivers: it claims a reign, and every write of it passes one script, under epoch and sequence.

Guarantee: what is given to ``Reign.write`` in one call is written together or not at all, in the order of the calls; it is
in Redis when the call returns. A worker whose reign is over writes nothing. Should Redis come back without the last writes,
the reign is over as well: what the worker remembers is then not what Redis has.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple

from consumers.webhooks.connection import REDIS_AWAY, RedisClient, passes_by
from consumers.webhooks.outbox import ReignEnded
from schemas.errors import ScoreStreamError
from schemas.process.waiting import wait_at_most
from schemas.webhooks.keys import LEASE, WORKER

logger = logging.getLogger(__name__)

Argument = str | bytes | int | float

_LOOK_SECONDS: Final = 0.25  # how soon a worker that stands by sees that the lease has ended
_RETRY_SECONDS: Final = 0.1
# What one script takes: some milliseconds, in which nobody else is served.
_COMMANDS_AT_ONCE: Final = 2_000
_BYTES_AT_ONCE: Final = 4_000_000
# Lua unpacks no more than some 8,000 arguments for one command.
_ARGUMENTS_AT_ONCE: Final = 4_000


class Command(NamedTuple):
    """One command on one key; the key is in the slot of ``schemas.webhooks.keys``."""

    name: str
    key: str
    arguments: tuple[Argument, ...]


def command(name: str, key: str, *arguments: Argument) -> Command:
    """One command of few arguments."""
    return Command(name, key, arguments)


def commands(name: str, key: str, arguments: Sequence[Argument], *, step: int = 1) -> list[Command]:
    """A command with as many arguments as there are, in several if need be; ``step`` arguments belong together."""
    at_once = _ARGUMENTS_AT_ONCE - _ARGUMENTS_AT_ONCE % step
    return [
        Command(name, key, tuple(arguments[at : at + at_once])) for at in range(0, len(arguments), at_once)
    ]


class _Write(NamedTuple):
    commands: Sequence[Command]
    size: int
    done: asyncio.Future[None]


class Throne:
    """Where reigns are claimed."""

    def __init__(self, redis: RedisClient, holder: str, *, lease_seconds: float) -> None:
        """``holder`` names this process, and no other one."""
        self._redis = redis
        self._holder = holder
        self._lease_ms = int(lease_seconds * 1000)
        self._claim_script = _script("claim_reign")
        self._give_up_script = _script("give_up_reign")

    async def claim(self) -> Reign:
        """A reign of ours; waits for as long as another worker delivers, and while Redis is away."""
        told = ""
        while True:
            try:
                reply: Any = await self._redis.eval(
                    self._claim_script, 2, WORKER, LEASE, self._holder, self._lease_ms
                )
            except REDIS_AWAY as error:
                if not passes_by(error):
                    raise
                if told != "away":
                    logger.warning("redis is away, waiting to deliver error=%r", error)
                    told = "away"
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if reply[0] == b"claimed":
                logger.info("this worker delivers from now on epoch=%s", reply[1].decode())
                return Reign(self._redis, self._holder, self._lease_ms, int(reply[1]), int(reply[2]))
            if told != "held":
                logger.info("standing by holder=%s", reply[1].decode(errors="replace"))
                told = "held"
            await asyncio.sleep(min(_LOOK_SECONDS, max(int(reply[2]), 10) / 1000))

    async def give_up(self) -> None:
        """Let another one deliver at once, if we were the one."""
        try:
            await self._redis.eval(self._give_up_script, 1, LEASE, self._holder)
        except REDIS_AWAY as error:
            logger.info("the lease ends by itself error=%r", error)


class Reign:
    """The writes of one reign; ``run`` has to run for them to be done."""

    def __init__(self, redis: RedisClient, holder: str, lease_ms: int, epoch: int, sequence: int) -> None:
        self.epoch = epoch
        self._redis = redis
        self._holder = holder
        self._lease_ms = lease_ms
        self._sequence = sequence
        self._script = _script("write_guarded")
        self._queue: deque[_Write] = deque()
        self._taken: Sequence[_Write] = ()
        self._queued = asyncio.Event()
        self._ended: ReignEnded | None = None

    async def write(self, commands: Iterable[Command]) -> None:
        """Carry out some commands, all or none; returns when they are in Redis.

        Raises:
            ReignEnded: this worker delivers no longer, or Redis has lost what was written before.
        """
        if self._ended is not None:
            raise self._ended
        listed = tuple(commands)
        write = _Write(listed, sum(map(_size, listed)), asyncio.get_running_loop().create_future())
        self._queue.append(write)
        self._queued.set()
        await write.done  # a caller that is cancelled leaves a write behind that is done all the same

    async def run(self) -> None:
        """Write until cancelled, or until the reign is over.

        Raises:
            ReignEnded: it is over; every waiting and every later write raises it as well.
        """
        try:
            while True:
                # Often enough that a slow answer or two do not cost us the lease.
                await wait_at_most(self._queued, self._lease_ms / 4000)
                writes = self._take()
                await self._send(writes)
                for write in writes:
                    if not write.done.done():
                        write.done.set_result(None)
        except ReignEnded as ended:
            self._end(ended)
            raise
        finally:
            self._end(ReignEnded("the worker stops"))

    def _end(self, ended: ReignEnded) -> None:
        if self._ended is None:
            self._ended = ended
            for write in (*self._taken, *self._queue):
                if not write.done.done():
                    write.done.set_exception(ended)
                    write.done.exception()  # whoever waits gets it; that nobody may wait any more is no fault

    def _take(self) -> Sequence[_Write]:
        """Those that are written next, together; none: only the lease is renewed."""
        taken: list[_Write] = []
        count = size = 0
        while self._queue:
            write = self._queue[0]
            count += len(write.commands)
            size += write.size
            if taken and (count > _COMMANDS_AT_ONCE or size > _BYTES_AT_ONCE):
                break
            taken.append(self._queue.popleft())
        if not self._queue:
            self._queued.clear()
        self._taken = taken
        return taken

    async def _send(self, writes: Sequence[_Write]) -> None:
        keys: list[str] = [WORKER, LEASE]
        arguments: list[Argument] = [self.epoch, self._sequence, self._holder, self._lease_ms]
        for write in writes:
            for one in write.commands:
                keys.append(one.key)
                arguments += (one.name, len(one.arguments), *one.arguments)
        reply = await self._answer(keys, arguments)
        outcome, found = reply
        if outcome == b"fenced":
            raise ReignEnded(
                f"another worker delivers since epoch {found.decode() or '(none)'}; ours was {self.epoch}"
            )
        # By one further, it was this very write: the connection broke before the answer, and it was sent again.
        if outcome == b"moved" and int(found) != self._sequence + 1:
            raise ReignEnded(
                f"Redis is at write {int(found)}, and was left at {self._sequence}: it has lost what was written last"
            )
        if outcome not in (b"written", b"moved"):
            raise ScoreStreamError(f"write_guarded answered {outcome!r}")
        self._sequence += 1

    async def _answer(self, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        told = False
        while True:
            try:
                call: Any = self._redis.eval(self._script, len(keys), *keys, *arguments)
                return await call
            except REDIS_AWAY as error:
                if not passes_by(error):
                    raise
                if not told:
                    logger.warning("redis does not take a write, it is sent again error=%r", error)
                    told = True
            await asyncio.sleep(_RETRY_SECONDS)


def _size(command: Command) -> int:
    return sum(len(one) if isinstance(one, str | bytes) else 8 for one in command.arguments)


def _script(name: str) -> str:
    return files("consumers.webhooks").joinpath("lua", f"{name}.lua").read_text()
