"""The relay's work, in rounds: read which cells changed, publish them as they are now, and then note how far that came.

How nothing is lost, whenever the process ends:

1. A round reads the notices behind the position that is stored beside the tables.
2. It reads the cells that they name, as they are now, and publishes them.
3. Only when Kafka has acknowledged all of them the position moves. A crash before that publishes the same cells once more,
   with the same versions or later ones.
4. Where notices are gone (trimmed, or there never were any for these tables) all cells are read, and those published that
   have changed since.

Tables that are still being built from the log are not relayed: what they say is not so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from redis.exceptions import RedisClusterException, RedisError

from schemas.aggregates import CellField
from schemas.assessments import AssessmentLookup
from schemas.changes import decode_changes, decode_notes
from schemas.errors import DependencyUnavailable, UnknownAssessment
from schemas.identifiers import OrganizationId
from schemas.keys import Generation
from schemas.merged_cells import Serving
from schemas.topics import AGGREGATE_CHANGES, PUBLISHED_CHANGES
from streams.connection import worth_waiting
from streams.log import TopicFacts
from streams.relay.metrics import Metrics
from streams.relay.publishing import Publisher
from streams.relay.records import (
    OF_NO_GENERATION,
    Outgoing,
    exact_record,
    gone_record,
    published_record,
    result_record,
)
from streams.relay.tables import (
    NOTES_AT_ONCE,
    ORGANIZATIONS_AT_ONCE,
    PUBLISHED,
    CellNames,
    Followed,
    Notes,
    RelayTables,
    Unread,
    followed,
)

logger = logging.getLogger(__name__)

_CELLS_AT_ONCE: Final = 5_000  # in one transaction, which takes about a second then
_RETRY_SECONDS: Final = 0.5
_READ: Final = "read"


class Relay:
    """One relay at work.

    Args:
        still_ours: raises ``Fenced`` when another relay has taken over.
        round_seconds: between two looks at the tables.
        budget_seconds: for how long Kafka or Redis may be away.
    """

    def __init__(
        self,
        tables: RelayTables,
        publisher: Publisher,
        assessments: AssessmentLookup,
        metrics: Metrics,
        *,
        still_ours: Callable[[], Awaitable[None]],
        round_seconds: float,
        budget_seconds: float,
    ) -> None:
        self._tables = tables
        self._publisher = publisher
        self._assessments = assessments
        self._metrics = metrics
        self._still_ours = still_ours
        self._round_seconds = round_seconds
        self._budget_seconds = budget_seconds
        self._topics: Mapping[str, TopicFacts] | None = (
            None  # until Kafka has taken us for the one who publishes
        )
        self._serving: Generation | None = None
        self._relayed: Generation | None = None  # of which Kafka has every cell
        self._replaced: CellNames = {}  # cells of the tables before, until these are relayed
        self._unknown: set[CellField] = set()

    async def run(self) -> None:
        """Relay until cancelled.

        Raises:
            Fenced: another relay has taken over.
            DependencyUnavailable: Kafka or Redis was away for longer than the budget.
        """
        away_since: float | None = None
        while True:
            try:
                more = await self.round()
            except (DependencyUnavailable, RedisError, RedisClusterException, OSError) as error:
                if not isinstance(error, DependencyUnavailable) and worth_waiting(error) is None:
                    raise
                self._topics = None
                now = time.monotonic()
                if away_since is None:
                    away_since = now
                    logger.warning("the relay waits error=%s", error)
                if now - away_since > self._budget_seconds:
                    raise DependencyUnavailable(
                        f"{error} (for {self._budget_seconds:g} s, SCORES_DEPENDENCY_BUDGET_SECONDS)"
                    ) from error
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if away_since is not None:
                logger.info("the relay goes on after_seconds=%.1f", time.monotonic() - away_since)
                away_since = None
            if not more:
                await asyncio.sleep(self._round_seconds)

    async def round(self) -> bool:
        """Publish what has changed; whether there may be more right now.

        Raises:
            Fenced: another relay has taken over; nothing was noted since.
            DependencyUnavailable: Kafka did not acknowledge.
        """
        if self._topics is None:
            await self._still_ours()  # or we would shut out the one who took over
            self._topics = await self._publisher.begin()
        serving = await self._tables.serving()
        more = False
        if serving is not None:
            if serving.generation != self._serving:
                await self._look_at_new(serving)
            more = await self._relay_partitions(serving, self._topics[AGGREGATE_CHANGES].identity)
        more |= await self._relay_published(self._topics[PUBLISHED_CHANGES].identity)
        self._metrics.rounds.inc()
        if not more:
            self._metrics.last_round.set_to_current_time()
        return more

    async def _look_at_new(self, serving: Serving) -> None:
        """Other tables serve than before: keep what is only in those, which are removed soon."""
        relayed = self._relayed = await self._tables.relayed_generation()
        if relayed is not None and relayed != serving.generation:
            logger.info("other tables serve relayed=%s serving=%s", relayed, serving.generation)
            everything: dict[int, int | None] = dict.fromkeys(range(serving.partitions))
            self._replaced = await self._tables.changed_since(relayed, everything)
        async for partition, stream, notes in self._tables.left_notes(serving.generation):
            await self._publish(_result_records(partition, notes))
            await self._tables.remove(stream)
        self._serving = serving.generation

    async def _relay_partitions(self, serving: Serving, topic: str) -> bool:
        keys = [followed(one) for one in serving.partition_keys()]
        unread = await asyncio.gather(*(self._tables.unread(one, topic) for one in keys))
        await self._relay_notes(keys, unread, topic)
        more = any(len(one.notes) >= NOTES_AT_ONCE for one in unread)
        if any(one.incomplete for one in unread):
            return more
        names = _named(notice for one in unread for notice in one.notices)
        behind = {number: one for number, one in enumerate(unread) if one.outcome != _READ}
        if behind:
            self._tell_of_reading_anew(serving.generation, behind)
            since = {number: one.since_ms for number, one in behind.items()}
            _add(names, await self._tables.changed_since(serving.generation, since))
        await self._publish_exact(serving, names)
        await self._finish_generation(serving, names, max(one.read_ms for one in unread))
        await asyncio.gather(
            *(self._tables.note(at, one, topic, notes=False) for at, one in zip(keys, unread, strict=True))
        )
        return more or any(one.more for one in unread)

    async def _relay_notes(self, keys: Sequence[Followed], unread: Sequence[Unread], topic: str) -> None:
        records = [
            record for number, one in enumerate(unread) for record in _result_records(number, one.notes)
        ]
        await self._publish(records)
        for at, one in zip(keys, unread, strict=True):
            if one.notes:
                await self._tables.note(at, one, topic, cells=False)

    async def _publish_exact(self, serving: Serving, names: CellNames) -> None:
        for some in _parts(names):
            records: list[Outgoing] = []
            for (organization, _), cells in zip(some, await self._tables.cells(serving, some), strict=True):
                for field, merged in cells.items():
                    try:
                        records.append(
                            exact_record(organization, field, merged, serving.generation, self._assessments)
                        )
                    except UnknownAssessment as error:
                        self._tell_of_unknown(field, error)
            await self._publish(records)

    async def _finish_generation(self, serving: Serving, names: CellNames, read_ms: int) -> None:
        """Take back what was in the tables before these, and is not in these."""
        if self._relayed == serving.generation:
            return
        for some in _parts(_without(self._replaced, names)):
            found = await self._tables.cells(serving, some)
            await self._publish(
                [
                    gone_record(AGGREGATE_CHANGES, organization, field, serving.generation, read_ms)
                    for (organization, fields), cells in zip(some, found, strict=True)
                    for field in fields
                    if field not in cells
                ]
            )
        await self._tables.note_generation(serving.generation)
        self._relayed, self._replaced = serving.generation, {}

    async def _relay_published(self, topic: str) -> bool:
        unread = await self._tables.unread(PUBLISHED, topic)
        if unread.outcome == _READ:
            names = _named(unread.notices)
        else:
            self._tell_of_reading_anew("published", {0: unread})
            first = unread.since_ms is None
            # Whatever was taken back meanwhile, nobody names any more: all that there may have been is published, or is not.
            names = await (self._tables.published_names() if first else self._tables.ever_published())
        for some in _parts(names):
            records: list[Outgoing] = []
            for (organization, fields), cells in zip(some, await self._tables.published(some), strict=True):
                for field in fields:
                    found = cells.get(field)
                    try:
                        records.append(
                            gone_record(
                                PUBLISHED_CHANGES, organization, field, OF_NO_GENERATION, unread.read_ms
                            )
                            if found is None
                            else published_record(organization, field, found, self._assessments)
                        )
                    except UnknownAssessment as error:
                        self._tell_of_unknown(field, error)
            await self._publish(records)
        await self._tables.note(PUBLISHED, unread, topic)
        return unread.more

    async def _publish(self, records: Sequence[Outgoing]) -> None:
        if records:
            await self._publisher.publish(records)
            self._metrics.records.labels(records[0].topic).inc(len(records))

    def _tell_of_reading_anew(self, tables: str, behind: Mapping[int, Unread]) -> None:
        for one in behind.values():
            self._metrics.read_anew.labels(one.outcome).inc()
        logger.info(
            "reading the tables anew tables=%s partitions=%s reasons=%s",
            tables,
            sorted(behind),
            sorted({one.outcome for one in behind.values()}),
        )

    def _tell_of_unknown(self, field: CellField, error: UnknownAssessment) -> None:
        if field not in self._unknown:
            self._unknown.add(field)
            logger.error("a cell is not relayed, the registry does not know its test error=%s", error)


def _result_records(partition: int, notes: Iterable[Notes]) -> list[Outgoing]:
    return [
        result_record(note, partition, one.changed_ms) for one in notes for note in decode_notes(one.packed)
    ]


def _named(notices: Iterable[bytes]) -> CellNames:
    names: CellNames = {}
    for notice in notices:
        for organization, fields in decode_changes(notice).items():
            names.setdefault(OrganizationId(organization), set()).update(map(CellField, fields))
    return names


def _add(names: CellNames, more: CellNames) -> None:
    for organization, fields in more.items():
        names.setdefault(organization, set()).update(fields)


def _without(names: CellNames, others: CellNames) -> CellNames:
    left = {organization: fields - others.get(organization, set()) for organization, fields in names.items()}
    return {organization: fields for organization, fields in left.items() if fields}


def _parts(names: CellNames) -> Iterator[list[tuple[OrganizationId, list[CellField]]]]:
    """The names, as much at a time as is read and published at once."""
    part: list[tuple[OrganizationId, list[CellField]]] = []
    cells = 0
    for organization, fields in names.items():
        part.append((organization, sorted(fields)))
        cells += len(fields)
        if cells >= _CELLS_AT_ONCE or len(part) >= ORGANIZATIONS_AT_ONCE:
            yield part
            part, cells = [], 0
    if part:
        yield part
