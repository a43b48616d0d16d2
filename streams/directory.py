"""The organization directory: from its topic into Redis, and from Redis into each worker's memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from schemas.errors import LogReplaced
from schemas.events import decode_organization
from schemas.keys import ORGANIZATIONS, ORGANIZATIONS_POSITION, ORGANIZATIONS_VERSION
from schemas.organizations import Directory
from schemas.topics import ORGANIZATIONS as ORGANIZATIONS_TOPIC
from streams.partitions import Batch
from streams.reading import Record
from streams.tables import load_script

logger = logging.getLogger(__name__)

# Records of each partition of the organizations topic, from the given offsets (else the beginning) to the end.
ReadTopic = Callable[[Mapping[int, int]], Mapping[int, Sequence[Record]]]


class DirectoryStore:
    """Keeps Redis' directory up to date from the log, and ``directory`` up to date from Redis.

    Entries are absolute and the position moves in the same script, so a repeated batch changes nothing.
    """

    def __init__(self, redis: Redis, log_identity: str) -> None:
        """``log_identity`` names the organizations topic."""
        self.directory = Directory()
        self._redis = redis
        self._log_identity = log_identity
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
        while not await self._applied(batch):
            # Another worker has moved the position meanwhile; leave out what it stored.
            pass

    async def _applied(self, batch: Batch) -> bool:
        position = (await self.positions()).get(batch.partition)
        if position is not None and batch.start < position:
            batch = batch.after(position)
            if not batch.records:
                return True
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
        return bool(reply[0] == b"applied")

    async def catch_up(self, read: ReadTopic) -> None:
        """Store all that stands in the topic now, before any result is read.

        Otherwise a replay from the beginning would reject results of schools that the log knows well. It cannot be left
        to the agent: its batches would queue behind results that wait for them.
        """
        for partition, records in (await asyncio.to_thread(read, await self.positions())).items():
            if records:
                await self.apply(Batch(ORGANIZATIONS_TOPIC, partition, records[0].offset, records))
        await self.refresh()

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
