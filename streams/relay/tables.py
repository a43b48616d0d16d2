"""What the relay reads of the tables, and the positions that it keeps beside them, in the same slot.

A position says which notice Kafka has acknowledged last. It is lost with the tables and comes back with them, so that after a
rollback of Redis everything that is replayed is published again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from schemas.aggregates import CellField
from schemas.catching_up import tables_incomplete
from schemas.changes import KEPT_AT_LEAST
from schemas.disclosure.published import PublishedCell
from schemas.errors import Fenced, ScoreStreamError
from schemas.identifiers import OrganizationId, ancestry
from schemas.keys import (
    GENERATION,
    ORGANIZATIONS,
    PARTITION_COUNT,
    PUBLISHED_CHANGES,
    PUBLISHED_FAMILIES,
    PUBLISHED_POSITION,
    PUBLISHED_RELAYED,
    RELAY_GENERATION,
    RESULTS_ENDING,
    Generation,
    PartitionKeys,
    published_cells,
)
from schemas.merged_cells import (
    MergedCell,
    Names,
    Serving,
    ask_cells,
    ask_published_cells,
    found_published_cells,
    merged_cells,
)
from schemas.shares import cell_of_part, changed_ms_of
from streams.connection import RedisClient
from streams.tables import load_script

NOTICES_AT_ONCE: Final = 500
NOTES_AT_ONCE: Final = 500  # entries, each of one batch
ORGANIZATIONS_AT_ONCE: Final = 500  # of which cells are read in one round trip

CellNames = dict[OrganizationId, set[CellField]]


class Notes(NamedTuple):
    """Notes on results of one batch, packed, and the entry of the stream in which they are."""

    entry: bytes
    packed: bytes
    changed_ms: int


class Unread(NamedTuple):
    """What of one partition, or of the published tables, Kafka does not have."""

    outcome: str  # read, start (nothing is known to be relayed) or gap (notices are gone)
    known: bytes  # the last notice that was relayed when this was read
    last: bytes  # the last that is in this
    upto_ms: bytes  # every cell that changed up to then is in it, or was before; empty when there is more
    since_ms: int | None  # up to when changed cells were relayed; None: never
    notices: list[bytes]
    more: bool
    incomplete: bool  # the tables are still being built from the log
    notes: list[Notes]
    read_ms: int  # when it was read, and no cell has changed later


class Followed(NamedTuple):
    """Key names of whatever gives notices."""

    relayed: str
    changes: str
    position: str
    results: str


PUBLISHED: Final = Followed(
    PUBLISHED_RELAYED, PUBLISHED_CHANGES, PUBLISHED_POSITION, "{published}" + RESULTS_ENDING
)


def followed(keys: PartitionKeys) -> Followed:
    """The key names of a partition."""
    return Followed(keys.relayed, keys.changes, keys.position, keys.results)


class RelayTables:
    """All that one relay asks of Redis, under its epoch."""

    def __init__(self, redis: RedisClient, epoch: int) -> None:
        self._redis = redis
        self._epoch = epoch
        self._read = load_script(redis, "read_unrelayed")
        self._note = load_script(redis, "note_relayed")

    async def serving(self) -> Serving | None:
        """What is served now; None while there is nothing."""
        pipe = self._pipeline()
        pipe.get(GENERATION)
        pipe.get(PARTITION_COUNT)
        generation, partitions = await pipe.execute()
        if not generation or not partitions:
            return None
        return Serving(Generation(generation.decode()), int(partitions))

    async def unread(self, keys: Followed, topic: str) -> Unread:
        """What Kafka does not have; ``topic`` is the identity of the topic that it goes to.

        Raises:
            Fenced: another relay works.
        """
        reply = await self._read(
            keys=list(keys), args=[self._epoch, topic, NOTICES_AT_ONCE, KEPT_AT_LEAST, NOTES_AT_ONCE]
        )
        if reply[0] == b"fenced":
            raise self._fenced(reply[1])
        outcome, known, last, upto_ms, since_ms, notices, more, claimed, next_offset, catch_up, *rest = reply
        notes, read_ms = rest
        return Unread(
            outcome=outcome.decode(),
            known=known,
            last=last,
            upto_ms=upto_ms,
            since_ms=int(since_ms) if since_ms else None,
            notices=notices,
            more=bool(more),
            incomplete=tables_incomplete(
                claimed=bool(claimed),
                next_offset=int(next_offset) if next_offset else None,
                catch_up=int(catch_up) if catch_up else None,
            ),
            notes=[Notes(notes[at], notes[at + 1], int(notes[at + 2])) for at in range(0, len(notes), 3)],
            read_ms=int(read_ms),
        )

    async def note(
        self, keys: Followed, unread: Unread, topic: str, *, cells: bool = True, notes: bool = True
    ) -> None:
        """Kafka has what was unread: the cells, the notes, or both.

        When Redis is not where it was read any more, nothing is noted, and the next look begins where it is.

        Raises:
            Fenced: another relay works.
        """
        moved = cells and (unread.last != unread.known or unread.outcome != "read")
        # Where nothing was changed since, there is nothing to write.
        later = cells and unread.upto_ms and unread.upto_ms != str(unread.since_ms).encode()
        keep = _after(unread.notes[-1].entry) if notes and unread.notes else ""
        if not (moved or later or keep):
            return
        outcome, found = await self._note(
            keys=[keys.relayed, keys.results],
            args=[
                self._epoch,
                unread.known,
                unread.last if moved else "",
                unread.upto_ms if later else "",
                topic,
                keep,
            ],
        )
        if outcome == b"fenced" and int(found or 0) > self._epoch:
            raise self._fenced(found)
        if outcome not in {b"noted", b"moved", b"fenced"}:
            raise ScoreStreamError(f"note_relayed answered {outcome!r}")

    async def cells(self, serving: Serving, names: Names) -> list[dict[CellField, MergedCell]]:
        """The named cells of some organizations, summed over the partitions."""
        pipe = self._pipeline()
        ask_cells(pipe, serving, names)
        return merged_cells(serving, names, await pipe.execute())

    async def published(self, names: Names) -> list[dict[CellField, PublishedCell]]:
        """The named published cells of some organizations; what is not published is left out."""
        pipe = self._pipeline()
        ask_published_cells(pipe, names)
        return found_published_cells(names, await pipe.execute())

    async def changed_since(self, generation: Generation, since_ms: Mapping[int, int | None]) -> CellNames:
        """The cells of which a partition's share changed then or later (None: all), by number of the partition."""
        found: CellNames = {}
        async for key, shares in self._hashes(f"{{{generation}.*}}:cells:*"):
            tag, _, organization = key.partition("}:cells:")
            partition = int(tag.rpartition(".")[2])
            if partition not in since_ms:
                continue
            since = since_ms[partition]
            for field, value in shares.items():
                if since is None or changed_ms_of(value) >= since:
                    found.setdefault(OrganizationId(organization), set()).add(cell_of_part(field))
        return found

    async def published_names(self) -> CellNames:
        """Every cell that is published."""
        prefix = published_cells(OrganizationId(""))
        return {
            OrganizationId(key[len(prefix) :]): {CellField(field.decode()) for field in cells}
            async for key, cells in self._hashes(prefix + "*")
        }

    async def ever_published(self) -> CellNames:
        """Every cell that may ever have been published: any family's, of anybody in the directory and above."""
        families: Any = await self._redis.hkeys(PUBLISHED_FAMILIES)
        listed: Any = await self._redis.hkeys(ORGANIZATIONS)
        everybody = {above for code in listed for above in ancestry(OrganizationId(code.decode()))}
        names = {CellField(field.decode()) for field in families}
        return {
            organization: names for organization in everybody
        }  # one set for all: there are a million names

    async def relayed_generation(self) -> Generation | None:
        """The generation of which Kafka has every cell."""
        stored: Any = await self._redis.get(RELAY_GENERATION)
        return None if stored is None else Generation(stored.decode())

    async def note_generation(self, generation: Generation) -> None:
        """Kafka has every cell of it."""
        await self._redis.set(RELAY_GENERATION, generation)

    async def left_notes(self, serving: Generation | None) -> AsyncIterator[tuple[int, str, list[Notes]]]:
        """Notes on results in tables that serve no longer: the partition, the stream, and all that it has."""
        async for key in self._redis.scan_iter(match="{*}" + RESULTS_ENDING, count=2_000):
            tag = key.decode()[1 : -len(RESULTS_ENDING) - 1]
            generation, _, partition = tag.rpartition(".")
            if generation != serving and partition.isdecimal():
                entries: Any = await self._redis.xrange(key)
                notes = [
                    Notes(entry, fields[b"results"], int(fields[b"changed_ms"])) for entry, fields in entries
                ]
                yield int(partition), key.decode(), notes

    async def remove(self, stream: str) -> None:
        """Kafka has all of it, and nobody writes it any more."""
        await self._redis.unlink(stream)

    async def _hashes(self, pattern: str) -> AsyncIterator[tuple[str, Mapping[bytes, bytes]]]:
        """Every hash of these names, in one pass over all keys."""
        names: list[str] = []
        async for key in self._redis.scan_iter(match=pattern, count=2_000):
            names.append(key.decode())
            if len(names) >= ORGANIZATIONS_AT_ONCE:
                for one in await self._read_hashes(names):
                    yield one
                names.clear()
        for one in await self._read_hashes(names):
            yield one

    async def _read_hashes(self, names: Sequence[str]) -> list[tuple[str, Mapping[bytes, bytes]]]:
        pipe = self._pipeline()
        for name in names:
            pipe.hgetall(name)
        return list(zip(names, await pipe.execute(), strict=True))

    def _fenced(self, epoch: bytes) -> Fenced:
        return Fenced(f"another relay works, under epoch {int(epoch)}; ours was {self._epoch}")

    def _pipeline(self) -> Any:
        # Any: the two clients' pipelines share the commands used here, not a type.
        return self._redis.pipeline(transaction=False)


def _after(entry: bytes) -> str:
    """The first id behind a stream's entry."""
    milliseconds, _, number = entry.decode().partition("-")
    return f"{milliseconds}-{int(number) + 1}"
