"""The organization directory: from its topic into Redis, and from Redis into each worker's memory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from redis.asyncio import Redis

from schemas.errors import DependencyUnavailable, LogReplaced, ScoreStreamError
from schemas.events import decode_organization
from schemas.keys import ORGANIZATIONS, ORGANIZATIONS_POSITION, ORGANIZATIONS_VERSION
from schemas.organizations import Directory
from schemas.topics import ORGANIZATIONS as ORGANIZATIONS_TOPIC
from streams.partitions import Batch
from streams.tables import load_script

logger = logging.getLogger(__name__)


class DirectoryStore:
    """Keeps Redis' directory up to date from the log, and ``directory`` up to date from Redis.

    Entries are absolute and the position moves in the same script, so a repeated batch changes nothing.
    """

    def __init__(self, redis: Redis, log_identity: str, ends: Mapping[int, int]) -> None:
        """``log_identity`` names the organizations topic; ``ends``: where each partition of the organizations topic ended when this worker started."""
        self.directory = Directory()
        self._redis = redis
        self._log_identity = log_identity
        self._ends = dict(ends)
        self._apply = load_script(redis, "apply_directory")
        self._version: bytes | str | None = None

    async def positions(self) -> dict[int, int]:
        """Next offset by partition of the organizations topic.

        Raises:
            LogReplaced: they were read from another topic of that name.
        """
        stored = await self._redis.hgetall(ORGANIZATIONS_POSITION)
        log = stored.pop(b"log", self._log_identity.encode())
        if log != self._log_identity.encode():
            raise LogReplaced(
                f"the directory was read from log {log!r}, but {ORGANIZATIONS_TOPIC} is now {self._log_identity}: it was deleted "
                f"and created again, or this is another cluster. Delete {ORGANIZATIONS_POSITION} in Redis to read it anew"
            )
        return {int(partition): int(offset) for partition, offset in stored.items()}

    async def apply(self, batch: Batch) -> None:
        """Store a batch of entries; what is not an entry is left out and logged by its coordinates."""
        position = (await self.positions()).get(batch.partition)
        if position is not None and batch.start < position:
            batch = batch.after(position)
            if not batch.records:
                return
        pairs: list[Any] = []
        for record in batch.records:
            try:
                entry = decode_organization(record.value or b"")
            except msgspec.MsgspecError as error:
                logger.warning(
                    "organization entry refused topic=%s partition=%d offset=%d error=%s",
                    batch.topic,
                    batch.partition,
                    record.offset,
                    error,
                )
                continue
            pairs += (entry.cds, record.value)
        reply = await self._apply(
            keys=[ORGANIZATIONS, ORGANIZATIONS_VERSION, ORGANIZATIONS_POSITION],
            args=[
                self._log_identity,
                batch.partition,
                "" if position is None else position,
                batch.next,
                *pairs,
            ],
        )
        if reply[0] != b"applied":
            raise ScoreStreamError(
                f"{batch.topic}/{batch.partition} was moved to {reply[1].decode()} by another worker; restarting to follow it"
            )

    async def wait_until_complete(self, budget_seconds: float) -> None:
        """Wait until everything that stood in the topic at the start is stored, by whichever worker reads it.

        Without this, a replay from the beginning would reject results of schools that the log knows well.

        Raises:
            DependencyUnavailable: it is not within the budget.
        """
        deadline = time.monotonic() + budget_seconds
        while self._ends:
            stored = await self.positions()
            self._ends = {number: end for number, end in self._ends.items() if stored.get(number, 0) < end}
            if not self._ends:
                break
            if time.monotonic() > deadline:
                raise DependencyUnavailable(
                    f"the directory is not read to its end within {budget_seconds:g} s (partitions {sorted(self._ends)}); "
                    "is a worker assigned to the organizations topic?"
                )
            await asyncio.sleep(0.02)
        await self.refresh()

    @property
    def complete(self) -> bool:
        """Whether ``wait_until_complete`` has nothing to wait for."""
        return not self._ends

    async def refresh(self) -> bool:
        """Load the directory when it has changed; True when it had."""
        version = await self._redis.get(ORGANIZATIONS_VERSION)
        if version == self._version:
            return False
        for entry in await self._redis.hvals(ORGANIZATIONS):
            self.directory.put(decode_organization(entry))
        self._version = version
        logger.info("directory loaded organizations=%d", len(self.directory))
        return True
