"""From documents to acknowledged events, in the order that makes a crash at any point repairable by a resend.

Guarantee: a document is answered as accepted only after every in-sync replica of Kafka has its event. When Kafka or
Redis fails on the way, nothing is recorded as accepted; sending the same documents again is always right, because a
later import of the same report has a higher sequence number and replaces whatever got through.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from gateway.imports.documents import Document
from gateway.imports.histories import (
    ExamClaim,
    History,
    Holder,
    Version,
    exam_claim,
    tombstone,
    tombstones_after,
    tombstones_before,
)
from gateway.imports.judging import MayLoad, Sender, judge, needs_reading, repeated
from gateway.imports.reading import Reading, Refusal
from gateway.imports.records import IMPORTS_PATH, ImportRecord, Outcome, Submission, tally
from gateway.imports.store import ImportStore
from schemas import rejections
from schemas.events import EXAM_RESULT_TYPE, ExamResult, cloud_event_headers, encode_event
from schemas.identifiers import StudentId, StudentKey
from schemas.imports import FieldError, ImportStatus
from schemas.process.outgoing import EventPublisher, OutgoingRecord
from schemas.pseudonyms import Pseudonymizer
from schemas.rejections import Reason
from schemas.topics import EXAM_RESULTS, REJECTED

logger = logging.getLogger(__name__)

# Documents read in one go in a thread; parsing holds the interpreter, and other requests want their turn.
_READ_AT_ONCE: Final = 25


@dataclass(frozen=True, slots=True)
class _Taken:
    """A document that is about to be produced."""

    record: ImportRecord
    event: ExamResult
    parked: bool
    claim: ExamClaim


class ImportService:
    """Takes documents in; one per gateway process."""

    def __init__(
        self,
        store: ImportStore,
        publisher: EventPublisher,
        pseudonymizer: Pseudonymizer,
        read: Callable[[Document], Reading | Refusal],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        observe: Callable[[Counter[str]], None] = lambda counts: None,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._student_key = pseudonymizer.student_key
        self._read = read
        self._clock = clock
        self._observe = observe

    async def submit(
        self,
        documents: Sequence[Document],
        creator: str,
        batch: str | None = None,
        *,
        may_load: MayLoad = MayLoad.REAL,
    ) -> list[Submission]:
        """Import documents, and answer for each, in their order.

        1. Bytes that were accepted before are answered with their first import.
        2. The others are read; what cannot be, or may not be loaded by this sender, is refused, with its faults.
        3. Exams of schools that the directory lacks are parked, in the rejected topic.
        4. Each event gets its sequence number and claims its exam.
        5. All are produced, tombstones for corrected students ahead of the states.
        6. After Kafka's acknowledgement the versions are confirmed, then the records kept.

        Raises:
            DependencyUnavailable: Kafka or Redis did not answer; nothing was recorded as accepted.
        """
        sender = Sender(creator, batch, self._clock(), may_load)
        digests = await asyncio.to_thread(lambda: [document.digest() for document in documents])
        unique = dict(zip(reversed(digests), reversed(documents), strict=True))  # the first of each
        earlier = dict(zip(unique, await self._store.earlier(list(unique)), strict=True))
        schools = await self._store.schools()
        readings = await self._read_all({d: unique[d] for d in digests if needs_reading(earlier[d])})
        judged = await asyncio.to_thread(
            lambda: {
                digest: judge(unique[digest], digest, sender, earlier[digest], readings.get(digest), schools)
                for digest in dict.fromkeys(digests)
            }
        )
        await self._produce(_events(judged, readings), sender.now)
        kept = dict(zip(judged, await self._store.keep(list(judged.values())), strict=True))
        submissions = _in_order(digests, kept)
        counts = tally(submissions)
        if batch is not None:
            await self._store.count(creator, batch, counts)
        self._observe(counts)
        return submissions

    async def find(self, import_id: str, creator: str) -> ImportRecord | None:
        """One import of this creator; None for an unknown id and for another's import alike."""
        record = await self._store.find(import_id)
        return record if record is not None and record.creator == creator else None

    async def batch_counts(self, creator: str, batch: str) -> Counter[str]:
        """What this creator's batch came to so far; empty when there is none."""
        return await self._store.batch_counts(creator, batch)

    async def _read_all(self, documents: dict[str, Document]) -> dict[str, Reading | Refusal]:
        readings: dict[str, Reading | Refusal] = {}
        waiting = list(documents.items())
        for start in range(0, len(waiting), _READ_AT_ONCE):
            readings |= await asyncio.to_thread(self._read_some, waiting[start : start + _READ_AT_ONCE])
        return readings

    def _read_some(self, documents: Sequence[tuple[str, Document]]) -> dict[str, Reading | Refusal]:
        return {digest: self._read_one(document) for digest, document in documents}

    def _read_one(self, document: Document) -> Reading | Refusal:
        try:
            return self._read(document)
        except Exception as error:  # noqa: BLE001 (the rim around one document)
            # A fault of ours must not keep the other documents of a request out. No traceback and no message: either
            # may hold what the document says of a student.
            logger.error(
                "document not read, a fault of ours digest=%s error=%s",
                document.digest(),
                type(error).__name__,
            )
            return Refusal(
                ImportStatus.PIPELINE_FAILURE,
                (
                    FieldError(
                        "", "", "this is a fault of the service; report the import's digest to its operators"
                    ),
                ),
            )

    async def _produce(self, events: Sequence[tuple[Submission, ExamResult]], now: datetime) -> None:
        if not events:
            return
        first = await self._store.take_sequences(len(events))
        taken = [self._take(*pair, sequence) for sequence, pair in enumerate(events, first)]
        claims = [one.claim for one in taken]
        claimed = await self._store.claim(claims)
        await self._publisher.publish(
            [
                record
                for one, history in zip(taken, claimed, strict=True)
                for record in _states(one, history, now)
            ]
        )
        confirmed = await self._store.confirm(claims)
        await self._publisher.publish(
            [
                record
                for one, before, after in zip(taken, claimed, confirmed, strict=True)
                for record in _owed(one, before, after, now)
            ]
        )

    def _take(self, submission: Submission, event: ExamResult, sequence: int) -> _Taken:
        event = msgspec.structs.replace(event, sequence=sequence)
        student = self._student_key(StudentId(event.student_id or ""))  # reading refuses events without one
        parked = submission.outcome is Outcome.PARKED
        return _Taken(submission.record, event, parked, exam_claim(event, student))


def _events(
    judged: dict[str, Submission], readings: dict[str, Reading | Refusal]
) -> list[tuple[Submission, ExamResult]]:
    return [
        (submission, reading.event)
        for digest, submission in judged.items()
        if submission.outcome in (Outcome.ACCEPTED, Outcome.PARKED)
        and isinstance(reading := readings[digest], Reading)
    ]


def _in_order(digests: Iterable[str], kept: dict[str, Submission]) -> list[Submission]:
    seen: set[str] = set()
    submissions = []
    for digest in digests:
        submissions.append(repeated(kept[digest]) if digest in seen else kept[digest])
        seen.add(digest)
    return submissions


def _states(one: _Taken, history: History, now: datetime) -> Iterator[OutgoingRecord]:
    for number, (holder, version) in enumerate(tombstones_before(one.claim, history), 1):
        yield _tombstone(one, holder, version, f"{one.record.id}.{number}", now, parked=one.parked)
    yield _record(one.event, one.claim.holder.student, one.record.id, now, parked=one.parked)


def _owed(one: _Taken, claimed: History, confirmed: History, now: datetime) -> Iterator[OutgoingRecord]:
    for number, (holder, version) in enumerate(tombstones_after(one.claim, claimed, confirmed), 1):
        yield _tombstone(one, holder, version, f"{one.record.id}.late.{number}", now, parked=False)


def _tombstone(
    one: _Taken, holder: Holder, version: Version, event_id: str, now: datetime, *, parked: bool
) -> OutgoingRecord:
    return _record(tombstone(one.event, holder, version), holder.student, event_id, now, parked=parked)


def _record(
    event: ExamResult, student: StudentKey, event_id: str, now: datetime, *, parked: bool
) -> OutgoingRecord:
    headers = cloud_event_headers(EXAM_RESULT_TYPE, event_id, IMPORTS_PATH, now)
    if parked:
        # A tombstone is parked together with the state it precedes: both take effect, or neither. There is no partition
        # or offset to tell, because the event never was in the topic.
        headers += [
            (rejections.HEADER_REASON, Reason.UNKNOWN_ORGANIZATION.encode()),
            (rejections.HEADER_DETAIL, b"the school is not in the directory; load it and retry"),
            (rejections.HEADER_TOPIC, EXAM_RESULTS.encode()),
            (rejections.HEADER_TIME, now.isoformat(timespec="milliseconds").encode()),
        ]
    return OutgoingRecord(
        REJECTED if parked else EXAM_RESULTS, student.encode(), encode_event(event), tuple(headers)
    )
