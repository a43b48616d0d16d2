"""The organization directory: from its topic into Redis, and from Redis into each worker's memory."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from redis.asyncio import Redis

from schemas.errors import ScoreStreamError
from schemas.events import decode_organization
from schemas.keys import ORGANIZATIONS, ORGANIZATIONS_POSITION, ORGANIZATIONS_VERSION
from schemas.organizations import Directory
from streams.partitions import Batch
from streams.tables import load_script

logger = logging.getLogger(__name__)


class DirectoryStore:
    """Keeps Redis' directory up to date from the log, and ``directory`` up to date from Redis.

    Entries are absolute and the position moves in the same script, so a repeated batch changes nothing.
    """

    def __init__(self, redis: Redis) -> None:
        self.directory = Directory()
        self._redis = redis
        self._apply = load_script(redis, "apply_directory")
        self._version: bytes | str | None = None

    async def positions(self) -> dict[int, int]:
        """Next offset by partition of the organizations topic."""
        stored = await self._redis.hgetall(ORGANIZATIONS_POSITION)
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
            args=[batch.partition, "" if position is None else position, batch.next, *pairs],
        )
        if reply[0] != b"applied":
            raise ScoreStreamError(
                f"{batch.topic}/{batch.partition} was moved to {reply[1].decode()} by another worker; restarting to follow it"
            )

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
