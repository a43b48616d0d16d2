"""Takes changes in: from the topics to what is pending, and up to where, in one step.

At least once. A record that is read again makes something pending again that was told already; it is then compared with what
was told, and not told twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from consumers.webhooks.connection import REDIS_AWAY, passes_by
from consumers.webhooks.matching import (
    Followers,
    affected_by_release,
    cell_listeners,
    follows_schools_of,
    listeners,
)
from consumers.webhooks.metrics import WorkerMetrics
from consumers.webhooks.outbox import ReignEnded
from consumers.webhooks.pending import PendingKey
from consumers.webhooks.pending_names import ALL_CELLS, GONE, gone_cell, release_name
from consumers.webhooks.reign import command
from consumers.webhooks.rules import NothingToTellBy, Rules
from consumers.webhooks.store import Store
from consumers.webhooks.topic_feed import ChangeRecord, TopicFeed
from schemas.aggregate_changes import decode_result_change
from schemas.aggregates import CellField
from schemas.errors import DependencyUnavailable
from schemas.identifiers import OrganizationId, OrganizationLevel
from schemas.keys import RELEASES_POSITION
from schemas.releases import Report, decode_release_entry
from schemas.topics import AGGREGATE_CHANGES, PUBLISHED_CHANGES, RELEASES, RESULT_CHANGES
from schemas.webhooks.endpoints import EventType
from schemas.webhooks.keys import WORKER

logger = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.1
_COMMANDS_AT_ONCE: Final = 2_000
_RESULT_EVENTS: Final = {
    "rescored": EventType.RESULT_RESCORED,
    "invalidated": EventType.RESULT_INVALIDATED,
}


class _NamedCell(Struct, frozen=True):
    """What of a ``CellChange`` decides whom it concerns; its figures are read anew when they are told."""

    organization: OrganizationId
    cell: CellField
    version: int
    changed_ms: int


_decode_cell: Final = msgspec.json.Decoder(_NamedCell).decode

Pending = dict[tuple[str, PendingKey], set[str]]


class Intake:
    """Reads the topics for one reign."""

    def __init__(
        self,
        store: Store,
        feed: TopicFeed,
        rules: Rules,
        metrics: WorkerMetrics,
        *,
        again_seconds: float = 60.0,
    ) -> None:
        """``again_seconds``: another number of partitions, or another log, is noticed within so long."""
        self._store = store
        self._feed = feed
        self._rules = rules
        self._metrics = metrics
        self._again_seconds = again_seconds
        self._followers = Followers(store.endpoints.values())

    def endpoints_changed(self) -> None:
        """Endpoints are others now."""
        self._followers = Followers(self._store.endpoints.values())

    async def run(self) -> None:
        """Read until cancelled.

        Raises:
            BaseExceptionGroup: with ``ReignEnded``: another worker delivers; or the topics are others than they were.
        """
        identity, partitions = await self._described()
        if self._store.log_identity not in ("", identity):
            logger.warning("the topics are other ones, and are read from their beginning")
            await self._store.write([command("HDEL", WORKER, field) for field in self._store.positions])
            self._store.positions.clear()
        self._store.log_identity = identity
        await self._store.write([command("HSET", WORKER, "log", identity)])
        await self._feed.open(self._offsets(), partitions)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(), name="reading the topics")
                tasks.create_task(self._watch(identity, partitions), name="watching the topics")
        finally:
            await self._feed.close()

    async def _read(self) -> None:
        while True:
            records = await self._feed.batch()
            if records:
                await self.take(records)
                await self._feed.commit(self._offsets())
            self._metrics.lag.set(await self._feed.lag(self._offsets()))

    async def _watch(self, identity: str, partitions: Mapping[str, int]) -> None:
        """Beside the reading: Kafka may take seconds to say what its topics are, and nobody is to wait for that."""
        while True:
            await asyncio.sleep(self._again_seconds)
            if await self._described() != (identity, partitions):
                raise ReignEnded("the topics have changed; they are read as they are now")

    async def take(self, records: Sequence[ChangeRecord]) -> None:
        """Make pending what some records say, together with up to where they were read."""
        pending: Pending = {}
        seen: set[tuple[str, str, str]] = set()  # names by topic and organization
        for record in records:
            if record.value is None:
                continue
            try:
                if record.topic == RELEASES:
                    await self._take_release(record, pending)
                elif record.topic == RESULT_CHANGES:
                    self._take_result(record.value, pending)
                elif record.topic in (AGGREGATE_CHANGES, PUBLISHED_CHANGES):
                    self._take_cell(record.topic, _decode_cell(record.value), seen, pending)
            except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
                # Nothing to tell is in it; whoever wrote it must be mended, and the others are not to wait for that.
                self._metrics.unreadable.inc()
                logger.error(
                    "a record cannot be read, it is passed over topic=%s partition=%d offset=%d error=%s",
                    record.topic,
                    record.partition,
                    record.offset,
                    error,
                )
        commands = [
            command
            for (endpoint, key), names in pending.items()
            for command in self._store.add_pending(endpoint, key, names)
        ]
        # Where a change concerns many endpoints, in several steps, so that nobody waits long for Redis; the offsets come last.
        while len(commands) > _COMMANDS_AT_ONCE:
            await self._store.write(commands[:_COMMANDS_AT_ONCE])
            del commands[:_COMMANDS_AT_ONCE]
        positions = {position_name(record.topic, record.partition): record.offset + 1 for record in records}
        await self._store.write([*commands, *self._store.positions_written(positions)])
        self._metrics.records.inc(len(records))
        if pending:
            self._store.ripening.set()

    def _take_cell(
        self, topic: str, change: _NamedCell, seen: set[tuple[str, str, str]], pending: Pending
    ) -> None:
        organization, field = change.organization, change.cell
        name = gone_cell(field, change.changed_ms) if change.version == GONE else field
        if (topic, organization, name) in seen:
            return
        seen.add((topic, organization, name))
        followers = self._followers.of(organization)
        if not followers:
            return
        key = PendingKey(organization, EventType.AGGREGATE_UPDATED)
        waiting = {
            endpoint: one
            for endpoint, one in followers.items()
            if not self._store.pending.has(endpoint, key, name)
        }
        published = topic == PUBLISHED_CHANGES
        for one in cell_listeners(waiting, organization, field, self._rules.rights, published=published):
            _note(pending, one.id, key, name)

    def _take_result(self, value: bytes, pending: Pending) -> None:
        change = decode_result_change(value)
        event = _RESULT_EVENTS[change.kind]
        for one in listeners(self._followers.of(change.organization), event):
            _note(pending, one.id, PendingKey(change.organization, event), value.decode())

    async def _take_release(self, record: ChangeRecord, pending: Pending) -> None:
        assert record.value is not None
        key, _ = decode_release_entry(record.value)
        around = self._followers.around(key.district)
        if not around:
            return
        # What is told is judged by the table, so this has to be in it.
        await self._until_in_table(record)
        for one in listeners(around, EventType.RELEASE_CHANGED):
            told = PendingKey(key.district, EventType.RELEASE_CHANGED)
            _note(pending, one.id, told, release_name(key, record.timestamp_ms))
        if key.report is not Report.AGGREGATE:
            return
        for one in listeners(around, EventType.AGGREGATE_UPDATED):
            organizations = affected_by_release(one, key.district)
            if follows_schools_of(one, key.district):
                organizations += self._rules.organizations.below(key.district, OrganizationLevel.SCHOOL)
            for organization in organizations:
                _note(pending, one.id, PendingKey(organization, EventType.AGGREGATE_UPDATED), ALL_CELLS)

    async def _until_in_table(self, record: ChangeRecord) -> None:
        while True:
            try:
                reply: Any = await self._store.redis.hget(RELEASES_POSITION, str(record.partition))
                if reply is not None and int(reply) > record.offset:
                    await self._rules.refresh()
                    return
            except (*REDIS_AWAY, NothingToTellBy) as error:
                if not isinstance(error, NothingToTellBy) and not passes_by(error):
                    raise
            await asyncio.sleep(_LOOK_SECONDS)

    async def _described(self) -> tuple[str, Mapping[str, int]]:
        told = False
        while True:
            try:
                return await self._feed.describe()
            except DependencyUnavailable as error:
                if not told:
                    logger.warning("the topics cannot be read yet: %s", error)
                    told = True
            await asyncio.sleep(_RETRY_SECONDS)

    def _offsets(self) -> dict[tuple[str, int], int]:
        return dict(_read_positions(self._store.positions))


def position_name(topic: str, partition: int) -> str:
    """The field of the worker's hash for the next offset of a partition."""
    return f"at:{topic}:{partition}"


def _read_positions(positions: Mapping[str, int]) -> Iterable[tuple[tuple[str, int], int]]:
    for field, offset in positions.items():
        _, topic, partition = field.split(":")
        yield (topic, int(partition)), offset


def _note(pending: Pending, endpoint: str, key: PendingKey, name: str) -> None:
    pending.setdefault((endpoint, key), set()).add(name)
