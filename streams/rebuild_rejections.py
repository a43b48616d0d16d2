"""What a rebuild rejects, compared with what the stream workers rejected when they read the same records first.

- Rejected then and now: the record is in the rejected topic already, and is only counted.
- Taken now, rejected then: its school or test has become known. Right, and noted: the serving tables may lack it.
- Rejected now, taken then: the rule or the registry has changed. It goes to the rejected topic before the position moves, so
  that nothing vanishes, and is noted: the serving tables have it.

Noted are the units (a student's exams for one test and year), in Redis, before the batch is written. Comparing may then
leave out what they contribute on either side; so a unit noted without need does no harm.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from schemas import rejections
from schemas.errors import InvalidInput
from schemas.keys import PartitionKeys
from schemas.rejections import Reason
from schemas.topics import EXAM_RESULTS, REJECTED
from streams.closings import KnownClosings
from streams.connection import RedisClient
from streams.reading import Incoming, Reader, Record, Rejection
from streams.tables import Change, Claim, Tables
from streams.topic_reading import StoredRecord, read_topic

Park = Callable[[Sequence[Rejection], int], Awaitable[None]]

_NOTED_AT_ONCE: Final = 1_000
_WRONG_KEYS_TAKEN: Final = 20  # a producer's, at the log's beginning
_UNKNOWN: Final = b""  # of a value that was too large to go along


class FirstPass:
    """The rejected topic as an index: which records of the results topic are in it."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._next: dict[int, int] = {}
        self._known: dict[int, dict[int, bytes]] = {}  # partition -> offset -> digest of the value

    async def catch_up(self) -> None:
        """Read what has come since.

        Raises:
            InvalidInput: there is no rejected topic.
            DependencyUnavailable: Kafka does not answer.
        """
        await asyncio.to_thread(self._read)

    def add(self, stored: StoredRecord) -> None:
        """Take in one record of the rejected topic."""
        headers = {name: value for name, value in stored.headers if name.startswith("rejected_")}
        if (
            headers.get(rejections.HEADER_TOPIC) != EXAM_RESULTS.encode()
            or rejections.HEADER_RETRIED in headers
        ):
            return
        try:
            partition = int(headers[rejections.HEADER_PARTITION])
            offset = int(headers[rejections.HEADER_OFFSET])
        except (KeyError, ValueError):
            return  # somebody else's record
        omitted = b"value" in headers.get(rejections.HEADER_OMITTED, b"").split(b",")
        self._known.setdefault(partition, {})[offset] = _UNKNOWN if omitted else _digest(stored.value)

    def rejected(self, partition: int, record: Record) -> bool:
        """Whether this record was rejected then. Its bytes decide with its place: a topic made anew has the same places."""
        known = self._known.get(partition)
        digest = known.get(record.offset) if known else None
        return digest is not None and digest in (_UNKNOWN, _digest(record.value))

    def _read(self) -> None:
        for stored in read_topic(self._kafka, REJECTED, self._next):
            self._next[stored.partition] = stored.offset + 1
            self.add(stored)


class SecondReading:
    """Reads one partition's records for a rebuild.

    Args:
        reader: under the rule of the new generation.
        before: under the rule of the serving one.
        closings: a result that came while its test was closed is read here, and then parked again.
        park: puts rejected records of a partition into the rejected topic.
    """

    def __init__(
        self,
        number: int,
        reader: Reader,
        before: Reader,
        first: FirstPass,
        park: Park,
        closings: KnownClosings,
    ) -> None:
        self.rejected: Counter[Reason] = Counter()
        self.newly_rejected = 0
        self.newly_taken = 0
        self.to_note: set[bytes] = set()
        self._taken = 0
        self._wrong_keys = 0
        self._number = number
        self._reader = reader
        self._before = before
        self._first = first
        self._park = park
        self._closings = closings

    def read(self, record: Record) -> Incoming | Rejection:
        """As ``Reader.read``."""
        result = self._reader.read(record)
        if isinstance(result, Incoming):
            self._taken += 1
            closed = self._closings.now.closed_since(result.fields[0], record.timestamp) is not None
            if not closed and self._first.rejected(self._number, record):
                self.newly_taken += 1
                self.to_note.add(result.unit)
        return result

    async def reject(self, rejected: Sequence[Rejection]) -> None:
        """Count them, and park those that are not parked yet.

        Raises:
            InvalidInput: nearly every key is wrong all of a sudden.
        """
        first, number = self._first, self._number
        self.rejected.update(rejection.reason for rejection in rejected)
        new = [rejection for rejection in rejected if not first.rejected(number, rejection.record)]
        if new:
            await first.catch_up()  # the workers may have rejected it a moment ago
            new = [rejection for rejection in new if not first.rejected(number, rejection.record)]
        self._wrong_keys += sum(rejection.reason is Reason.WRONG_KEY for rejection in new)
        if self._wrong_keys > max(_WRONG_KEYS_TAKEN, self._taken):
            raise InvalidInput(
                "the stream workers took these keys, and here nearly every one is wrong: SCORES_STUDENT_KEY_SECRET is not the "
                "workers' secret. Set it, then `scores rebuild clean` and start again"
            )
        for rejection in new:
            for reader in (self._reader, self._before):
                result = reader.read(rejection.record)
                if isinstance(result, Incoming):
                    self.to_note.add(result.unit)
        if new:
            self.newly_rejected += len(new)
            await self._park(new, number)


class NotingTables(Tables):
    """Tables of a rebuild: what the second reading found is noted before the batch is written."""

    def __init__(
        self,
        redis: RedisClient,
        owner: str,
        log_identity: str,
        readings: Mapping[str, SecondReading],
    ) -> None:
        """``readings`` by the name of the partition's position."""
        super().__init__(redis, owner, log_identity)
        self._client = redis
        self._readings = readings

    async def apply(self, keys: PartitionKeys, claim: Claim, change: Change) -> None:
        """As the parent's."""
        reading = self._readings[keys.position]
        units = list(reading.to_note)
        for start in range(0, len(units), _NOTED_AT_ONCE):
            await self._client.sadd(keys.reconsidered, *units[start : start + _NOTED_AT_ONCE])
        reading.to_note.difference_update(units)
        # What these tables say of results, the serving ones have said.
        await super().apply(keys, claim, change._replace(notes=()))


def _digest(value: bytes | None) -> bytes:
    return blake2b(value or b"", digest_size=8).digest()
