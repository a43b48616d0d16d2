"""Small tables that everybody needs whole, kept in Redis from a compacted topic: the directory, the release states."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from schemas.errors import LogReplaced
from schemas.events import too_nested
from streams.accidents import Accident, Accidents
from streams.connection import RedisClient
from streams.partitions import Batch
from streams.reading import Record
from streams.tables import load_script

logger = logging.getLogger(__name__)

# Records of each partition of a topic, from the given offsets (else the beginning) to the end.
ReadTopic = Callable[[Mapping[int, int]], Mapping[int, Sequence[Record]]]


@dataclass(frozen=True, slots=True)
class Reference:
    """One such table: its topic, its keys in Redis (of one slot), and how it is told.

    Attributes:
        what: the table in a sentence: "the directory".
        field_of: the name of a record's entry in the table; raises ``msgspec.MsgspecError`` or ``UnicodeDecodeError`` for
            what is no entry.
        channel: where each change is published; empty when nowhere.
        changed_ms: holds the Redis time of the last change; empty when nothing does.
    """

    topic: str
    what: str
    entries: str
    version: str
    position: str
    field_of: Callable[[Record], str]
    rolled_back: Accident
    changed_ms: str = ""
    channel: str = ""

    @property
    def keys(self) -> list[str]:
        """The keys that the script takes."""
        names = [self.entries, self.version, self.position]
        return [*names, self.changed_ms] if self.changed_ms else names


class ReferenceStore:
    """Keeps one table in Redis up to date from its topic.

    Entries are absolute and the position moves in the same script, so a repeated batch changes nothing. What Redis loses,
    position and entries together, is read again from the topic as soon as somebody looks. The version is there as soon
    as the topic was read, also when it is empty: readers take a table without one for lost, or not read yet.
    """

    def __init__(
        self,
        reference: Reference,
        redis: RedisClient,
        log_identity: str,
        read_topic: ReadTopic,
        accidents: Accidents,
    ) -> None:
        """``log_identity`` names the topic."""
        self._reference = reference
        self._redis = redis
        self._log_identity = log_identity
        self._read_topic = read_topic
        self._accidents = accidents
        self._script = load_script(redis, "apply_reference")
        self._version: bytes | str | None = None
        self._reached: dict[int, int] = {}  # next offset by partition, as we last saw it in Redis

    async def positions(self) -> dict[int, int]:
        """Next offset by partition of the topic.

        Raises:
            LogReplaced: they were read from another topic of that name.
        """
        reference = self._reference
        stored = await self._redis.hgetall(reference.position)
        log = stored.pop(b"log", self._log_identity.encode())
        if log != self._log_identity.encode():
            raise LogReplaced(
                f"{reference.what} was read from log {log!r}, but {reference.topic} is now {self._log_identity}: it was deleted "
                f"and created again, or this is another cluster. Delete {reference.position} in Redis to read it anew"
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
                await self.apply(Batch(self._reference.topic, partition, start, records))
        if await self._redis.get(self._reference.version) is None:
            await self._run_script("", "", "", [])
        await self.refresh()

    async def refresh(self) -> bool:
        """Take the table up when it has changed; True when it had.

        Also True when another task has taken it up since this was called: whoever asks has looked at the table before.
        """
        before = self._version
        while True:
            known = self._version
            version = await self._redis.get(self._reference.version)
            if known == self._version:
                break
            # Another task has taken up a version meanwhile, perhaps a later one than this answer.
        if version == known:
            return known != before
        if int(version or 0) < int(known or 0):
            self._version = version
            await self._read_again()
            return True
        await self._load()
        self._version = version
        return True

    async def _load(self) -> None:
        """Take the entries into memory, for whoever needs them there."""

    async def _applied(self, batch: Batch, position: int | None) -> bool:
        if position is not None and batch.start < position:
            batch = batch.after(position)
            if not batch.records:
                return True
        pairs: list[Any] = []
        for record in batch.records:
            try:
                if too_nested(record.value or b""):
                    raise msgspec.DecodeError("hundreds of brackets; an entry has one")
                field = self._reference.field_of(record)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                logger.warning(
                    "entry refused topic=%s partition=%d offset=%d error=%s",
                    batch.topic,
                    batch.partition,
                    record.offset,
                    error,
                )
                continue
            pairs += (field, record.value)
        expected = "" if position is None else position
        return await self._run_script(batch.partition, expected, batch.next, pairs)

    async def _run_script(
        self, partition: int | str, expected: int | str, following: int | str, pairs: Sequence[Any]
    ) -> bool:
        reference = self._reference
        reply = await self._script(
            keys=reference.keys,
            args=[self._log_identity, partition, expected, following, reference.channel, *pairs],
        )
        return bool(reply[0] == b"applied")

    async def _read_again(self) -> None:
        reached = dict(self._reached)
        self._accidents.happened(
            self._reference.rolled_back, **{"from": reached, "to": await self.positions()}
        )
        await self.catch_up()
