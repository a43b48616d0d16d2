"""Reading the aggregates: cells merged over all partitions, what of them is published, change notices, how far the data
are complete, and which release states there are.

Only single-slot commands and pipelines of them, so that standalone Redis and Redis Cluster serve alike. Nothing is
written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple, Protocol

from redis.asyncio import RedisCluster

from gateway.held_connections import HeldConnections
from gateway.redis_connection import RedisClient
from schemas.aggregates import CellField
from schemas.catching_up import tables_incomplete
from schemas.disclosure.published import PublishedCell, unpack_published
from schemas.events import decode_organization
from schemas.identifiers import OrganizationId
from schemas.keys import (
    GENERATION,
    ORGANIZATIONS,
    ORGANIZATIONS_VERSION,
    PARTITION_COUNT,
    PUBLISHED_CHANGES,
    PUBLISHED_POSITION,
    RELEASES,
    RELEASES_CHANGED_MS,
    RELEASES_VERSION,
    Generation,
    published_cells,
)
from schemas.merged_cells import (
    MergedCell,
    Serving,
    ask_cells,
    ask_organizations,
    ask_published_cells,
    found_published_cells,
    merged_cells,
    merged_organizations,
)
from schemas.organization_list import OrganizationList
from schemas.releases import Releases, ReleaseState, releases_from
from schemas.shares import stored_fields

NOTICES_AT_ONCE: Final = (
    500  # half of what the workers keep, so that a full read is noticed before the trim bites
)
# Few organizations' cells, as a quiet tick has them, are asked for by one script: a pipeline of a command for each partition
# costs several times as much here. Of many a script would keep Redis from others.
_IN_ONE_SCRIPT: Final = 16


class NoticeKeys(Protocol):
    """Where change notices are, and how far their writer has come."""

    @property
    def changes(self) -> str:
        """The stream."""

    @property
    def position(self) -> str:
        """The hash."""


class _Published(NamedTuple):
    changes: str = PUBLISHED_CHANGES
    position: str = PUBLISHED_POSITION


PUBLISHED_NOTICES: Final[NoticeKeys] = _Published()


class Notices(NamedTuple):
    """One read of a partition's change stream."""

    read_ms: int  # server time of the read: every change up to then was in the stream
    complete_ms: int | None  # everything produced to this partition before this time was applied
    gap: bool  # notices may have been lost; whatever was read before counts as unknown
    last: bytes  # where to go on
    packed: list[bytes]
    more: bool  # there may be more right now
    incomplete: bool  # the partition's tables are still being built from the log
    next_offset: int | None = None  # of the log, after the last batch that was applied


class Tables:
    """All reads of one gateway process."""

    def __init__(self, redis: RedisClient, *, unlisted: ReleaseState = ReleaseState.LOADING) -> None:
        """``unlisted`` is the release state of what has none of its own."""
        self._redis = redis
        self._unlisted = unlisted
        # A cluster has a connection for each node, and its client has to choose.
        self._held = None if isinstance(redis, RedisCluster) else HeldConnections(redis)
        scripts = files("gateway").joinpath("lua")
        self._read_changes = scripts.joinpath("read_changes.lua").read_text()
        self._read_cells = scripts.joinpath("read_cells.lua").read_text()
        self._read_releases = scripts.joinpath("read_releases.lua").read_text()

    async def ping(self) -> None:
        """Raise unless Redis answers."""
        await self._redis.ping()

    async def serving(self) -> Serving | None:
        """What is served now; None while the first tables are still to come."""
        generation, partitions = await self._values(GENERATION, PARTITION_COUNT)
        if not generation or not partitions:
            return None
        return Serving(Generation(generation.decode()), int(partitions))

    async def organizations(self, known: OrganizationList | None) -> OrganizationList:
        """The directory; ``known`` itself when it has not changed since."""
        [stored] = await self._values(ORGANIZATIONS_VERSION)
        version = int(stored or 0)
        if known is not None and known.version == version:
            return known
        entries = await self._redis.hvals(ORGANIZATIONS)
        return OrganizationList(map(decode_organization, entries), version)

    async def releases(self, known: Releases | None) -> Releases | None:
        """The release states; ``known`` itself when they have not changed since, and when Redis has lost some of them.

        Then they are being read again from their topic. Until that is done what was known holds; None when nothing was.
        """
        [stored] = await self._values(RELEASES_VERSION)
        if stored is None or (known is not None and int(stored) <= known.version):
            return known
        reply: Any = await self._redis.eval(
            self._read_releases, 3, RELEASES_VERSION, RELEASES, RELEASES_CHANGED_MS
        )
        version, changed_ms, pairs = reply
        if not version:
            return known
        entries = dict(zip(pairs[::2], pairs[1::2], strict=True))
        return releases_from(
            entries, version=int(version), changed_ms=int(changed_ms), unlisted=self._unlisted
        )

    async def read_organizations(
        self, serving: Serving, organizations: Sequence[OrganizationId]
    ) -> list[dict[CellField, MergedCell]]:
        """Every cell of each of some organizations, by name; one read of each share, all in one round trip."""
        pipe = self._pipeline()
        ask_organizations(pipe, serving, organizations)
        return merged_organizations(serving, organizations, await pipe.execute())

    async def read_cells(
        self, serving: Serving, names: Sequence[tuple[OrganizationId, Sequence[CellField]]]
    ) -> list[dict[CellField, MergedCell]]:
        """The named cells of each of some organizations; a cell that no partition has is left out."""
        if self._held is None or len(names) > _IN_ONE_SCRIPT:
            pipe = self._pipeline()
            ask_cells(pipe, serving, names)
            return merged_cells(serving, names, await pipe.execute())
        partitions = serving.partition_keys()
        keys = [one.cells(organization) for organization, _ in names for one in partitions]
        wanted: list[str | int] = []
        for _, fields in names:
            parts = stored_fields(fields)
            wanted += (len(parts), *parts)
        [replies] = await self._held.ask(
            ["EVAL", self._read_cells, len(keys), *keys, serving.partitions, *wanted]
        )
        return merged_cells(serving, names, replies)

    async def read_published(
        self, organizations: Sequence[OrganizationId]
    ) -> list[dict[CellField, PublishedCell]]:
        """Every published cell of each of some organizations; none while nothing is published of it."""
        pipe = self._pipeline()
        for organization in organizations:
            pipe.hgetall(published_cells(organization))
        return [
            {CellField(field.decode()): unpack_published(value) for field, value in reply.items()}
            for reply in await pipe.execute()
        ]

    async def read_published_cells(
        self, names: Sequence[tuple[OrganizationId, Sequence[CellField]]]
    ) -> list[dict[CellField, PublishedCell]]:
        """The named published cells of each of some organizations; what is not, or no longer, published is left out."""
        pipe = self._pipeline()
        ask_published_cells(pipe, names)
        return found_published_cells(names, await pipe.execute())

    async def published_changed_ms(self) -> int:
        """When anything that is published changed last (Redis time); 0 while nothing was ever published."""
        return int(await self._redis.hget(PUBLISHED_POSITION, "changed_ms") or 0)

    async def complete_ms(self, serving: Serving) -> int | None:
        """The time before which everything produced is in the tables; None until every partition has said so."""
        pipe = self._pipeline()
        for keys in serving.partition_keys():
            pipe.hget(keys.position, "complete_ms")
        replies = await pipe.execute()
        return min(map(int, replies)) if replies and None not in replies else None

    def together(self, partitions: Sequence[int]) -> list[list[int]]:
        """Which partitions' notices can be read by one command: all of them; on a cluster each alone."""
        return [[one] for one in partitions] if self._held is None else [list(partitions)]

    async def read_notices(self, followed: Sequence[tuple[NoticeKeys, bytes | None]]) -> list[Notices]:
        """Each one's notices after the last that is known; with None, only where to begin. Of all at one and the same moment.

        ``followed``: of one group of ``together``.
        """
        keys, arguments = _reading(followed)
        replies: Any = await self._redis.eval(self._read_changes, len(keys), *keys, *arguments)
        return [_notices(reply) for reply in replies]

    async def next_notices(
        self, followed: Sequence[tuple[NoticeKeys, bytes]], seconds: float
    ) -> list[Notices]:
        """The same, as soon as there is a notice after the last that is known of any, or after ``seconds``."""
        # What the wait returns is read again by the script, together with the time; so one entry is enough.
        if self._held is None:
            after: dict[Any, Any] = {keys.changes: last for keys, last in followed}
            await self._redis.xread(after, count=1, block=int(seconds * 1000))
            return await self.read_notices(followed)
        streams, last = [keys.changes for keys, _ in followed], [last for _, last in followed]
        keys, arguments = _reading(followed)
        _, replies = await self._held.ask(
            ["XREAD", "COUNT", 1, "BLOCK", int(seconds * 1000), "STREAMS", *streams, *last],
            ["EVAL", self._read_changes, len(keys), *keys, *arguments],
        )
        return [_notices(reply) for reply in replies]

    async def _values(self, *keys: str) -> list[bytes | None]:
        if self._held is not None:
            return await self._held.ask(*(("GET", key) for key in keys))
        pipe = self._pipeline()
        for key in keys:
            pipe.get(key)
        found: list[bytes | None] = await pipe.execute()
        return found

    def _pipeline(self) -> Any:
        # Any: the two clients' pipelines share the commands used here, not a type.
        return self._redis.pipeline(transaction=False)


def _reading(followed: Sequence[tuple[NoticeKeys, bytes | None]]) -> tuple[list[str], list[str | bytes]]:
    """Keys and arguments of the script that reads notices."""
    keys = [name for one, _ in followed for name in (one.changes, one.position)]
    return keys, [str(NOTICES_AT_ONCE), *(last or b"" for _, last in followed)]


def _notices(reply: Any) -> Notices:
    read_ms, complete_ms, outcome, upto, packed, claimed, next_offset, catch_up = reply
    return Notices(
        read_ms=int(read_ms),
        complete_ms=int(complete_ms) if complete_ms else None,
        gap=outcome == b"gap",
        last=upto,
        packed=packed,
        more=len(packed) >= NOTICES_AT_ONCE,
        incomplete=tables_incomplete(
            claimed=bool(claimed),
            next_offset=int(next_offset) if next_offset else None,
            catch_up=int(catch_up) if catch_up else None,
        ),
        next_offset=int(next_offset) if next_offset else None,
    )
