"""The organization directory: from its topic into Redis, and from Redis into each worker's memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from schemas.errors import LogReplaced
from schemas.events import decode_organization, too_nested
from schemas.keys import ORGANIZATIONS, ORGANIZATIONS_POSITION, ORGANIZATIONS_VERSION
from schemas.organizations import Directory
from schemas.topics import ORGANIZATIONS as ORGANIZATIONS_TOPIC
from streams.accidents import Accident, Accidents
from streams.connection import RedisClient
from streams.partitions import Batch
from streams.reading import Record
from streams.tables import load_script

logger = logging.getLogger(__name__)

# Records of each partition of the organizations topic, from the given offsets (else the beginning) to the end.
ReadTopic = Callable[[Mapping[int, int]], Mapping[int, Sequence[Record]]]


class DirectoryStore:
    """Keeps Redis' directory up to date from the log, and ``directory`` up to date from Redis.

    Entries are absolute and the position moves in the same script, so a repeated batch changes nothing. What Redis loses,
    position and entries together, is read again from the topic as soon as somebody looks.
    """

    def __init__(
        self, redis: RedisClient, log_identity: str, read_topic: ReadTopic, accidents: Accidents
    ) -> None:
        """``log_identity`` names the organizations topic."""
        self.directory = Directory()
        self._redis = redis
        self._log_identity = log_identity
        self._read_topic = read_topic
        self._accidents = accidents
        self._apply = load_script(redis, "apply_directory")
        self._version: bytes | str | None = None
        self._reached: dict[int, int] = {}  # next offset by partition, as we last saw it in Redis

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
        while True:
            position = (await self.positions()).get(batch.partition)
            gap = position is not None and position < batch.start
            if gap or (position or 0) < self._reached.get(batch.partition, 0):
                await self._read_again()
                return  # up to the end of the topic, so with this batch
            if await self._applied(batch, position):
                self._reached[batch.partition] = max(batch.next, position or 0)
                return
            # Another worker has moved the position meanwhile; leave out what it stored.

    async def _applied(self, batch: Batch, position: int | None) -> bool:
        if position is not None and batch.start < position:
            batch = batch.after(position)
            if not batch.records:
                return True
        pairs: list[Any] = []
        for record in batch.records:
            try:
                value = record.value or b""
                if too_nested(value):
                    raise msgspec.DecodeError("hundreds of brackets; an entry has one")
                entry = decode_organization(value)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
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

    async def catch_up(self) -> None:
        """Store all that stands in the topic now, before any result is read.

        Otherwise a replay from the beginning would reject results of schools that the log knows well. It cannot be left
        to the agent: its batches would queue behind results that wait for them.
        """
        positions = await self.positions()
        self._reached = dict(positions)
        for partition, records in (await asyncio.to_thread(self._read_topic, positions)).items():
            if records:
                start = positions.get(partition, records[0].offset)
                await self.apply(Batch(ORGANIZATIONS_TOPIC, partition, start, records))
        await self.refresh()

    async def refresh(self) -> bool:
        """Load the directory when it has changed; True when it had."""
        version = await self._redis.get(ORGANIZATIONS_VERSION)
        if version == self._version:
            return False
        if int(version or 0) < int(self._version or 0):
            self._version = version
            await self._read_again()
            return True
        for entry in await self._redis.hvals(ORGANIZATIONS):
            self.directory.put(decode_organization(entry))
        self._version = version
        logger.info("directory loaded organizations=%d", len(self.directory))
        return True

    async def _read_again(self) -> None:
        reached = dict(self._reached)
        self._accidents.happened(
            Accident.DIRECTORY_ROLLED_BACK, **{"from": reached, "to": await self.positions()}
        )
        await self.catch_up()
