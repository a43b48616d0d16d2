"""Stand-ins for what imports need of Redis and Kafka, and exam reports of a fictional county."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from gateway.imports.documents import JSON, XML, Document
from gateway.imports.histories import ExamClaim, History
from gateway.imports.reading import DocumentReader
from gateway.imports.records import ImportRecord, Outcome, Submission
from gateway.imports.service import ImportService
from schemas.assessments import Registry, load_registry
from schemas.errors import DependencyUnavailable
from schemas.events import ExamResult, decode_exam_result
from schemas.identifiers import Grade, StudentId, StudentKey
from schemas.imports import ImportStatus
from schemas.process.outgoing import OutgoingRecord
from schemas.pseudonyms import Pseudonymizer

SCHOOL: Final = "99123450000011"
OTHER_SCHOOL: Final = "99123450000022"
UNLISTED_SCHOOL: Final = "99123450000099"
SECRET: Final = b"a secret of the tests, of no value"
PSEUDONYMIZER: Final = Pseudonymizer(SECRET)
NOW: Final = datetime(2021, 5, 20, 12, 0, tzinfo=UTC)


@functools.cache
def registry() -> Registry:
    """The registry, loaded once for all tests."""
    return load_registry()


def assessment_id(year: int = 2021) -> str:
    """Grade 4 ELA, summative."""
    return registry().natural_id("ELA-SUM", Grade("04"), year)


def student_key(student: str) -> StudentKey:
    return PSEUDONYMIZER.student_key(StudentId(student))


def report(
    *,
    student: str = "9000000001",
    opportunity: str = "700001",
    school: str = SCHOOL,
    score: int | str = 2480,
    level: int | str = 3,
    status: str = "scored",
    status_date: str = "2021-05-10T10:00:00",
    completed: str = "2021-05-10T09:00:00",
    assessment: str | None = None,
    last_name: str = "Nonesuch",
) -> bytes:
    """One TRT document."""
    name = assessment or assessment_id()
    return f"""<TDSReport>
<Test name="{name}" testId="t" subject="ELA" grade="4" assessmentType="Summative" academicYear="2021"/>
<Examinee key="1" isDemo="0">
<ExamineeAttribute context="FINAL" name="StudentIdentifier" value="{student}"/>
<ExamineeAttribute context="FINAL" name="LastOrSurname" value="{last_name}"/>
<ExamineeAttribute context="FINAL" name="Birthdate" value="2011-02-03"/>
<ExamineeAttribute context="FINAL" name="GradeLevelWhenAssessed" value="04"/>
<ExamineeRelationship context="FINAL" name="SchoolId" value="{school}"/>
</Examinee>
<Opportunity oppId="{opportunity}" status="{status}" statusDate="{status_date}" dateCompleted="{completed}"
 completeness="Complete" administrationCondition="Valid">
<Score measureOf="Overall" measureLabel="ScaleScore" value="{score}" standardError="25"/>
<Score measureOf="Overall" measureLabel="PerformanceLevel" value="{level}"/>
</Opportunity>
</TDSReport>
""".encode()


def xml(filename: str | None = None, **values: str | int) -> Document:
    return Document(report(**values), XML, filename)  # type: ignore[arg-type]  # each value goes into the text as it is


def event(**values: object) -> dict[str, object]:
    """One JSON event as a producer would send it; None takes a field away."""
    fields: dict[str, object] = {
        "assessment_id": assessment_id(),
        "opportunity_id": "700001",
        "school_year": 2021,
        "status": "scored",
        "status_date": "2021-05-10T10:00:00Z",
        "student_id": "9000000001",
        "school": SCHOOL,
        "grade": "04",
        "completed": "2021-05-10T09:00:00Z",
        "scale_score": 2480,
        "level": 3,
    }
    return {name: value for name, value in (fields | values).items() if value is not None}


def json(**values: object) -> Document:
    return Document(msgspec.json.encode(event(**values)), JSON)


class MemoryImportStore:
    """The import store in memory. ``away`` makes every call fail as an absent Redis does."""

    def __init__(
        self, schools: Sequence[str] = (SCHOOL, OTHER_SCHOOL), clock_microseconds: int = 10**15
    ) -> None:
        self.away = False
        self.known_schools = set(schools)
        self.clock_microseconds = clock_microseconds
        self.records: dict[str, ImportRecord] = {}
        self.index: dict[tuple[Outcome, str], str] = {}
        self.batches: dict[tuple[str, str], Counter[str]] = {}
        self.histories: dict[bytes, History] = {}
        self.sequence = 0

    async def earlier(self, digests: Sequence[str]) -> list[ImportRecord | None]:
        await self._answer()
        ids = [
            self.index.get((Outcome.ACCEPTED, digest)) or self.index.get((Outcome.PARKED, digest))
            for digest in digests
        ]
        return [self.records.get(import_id) if import_id else None for import_id in ids]

    async def schools(self) -> frozenset[str]:
        await self._answer()
        return frozenset(self.known_schools)

    async def take_sequences(self, number: int) -> int:
        await self._answer()
        first = max(self.sequence + 1, self.clock_microseconds)
        self.sequence = first + number - 1
        return first

    async def claim(self, claims: Sequence[ExamClaim]) -> list[History]:
        await self._answer()
        return [self._claim(claim) for claim in claims]

    async def confirm(self, claims: Sequence[ExamClaim]) -> list[History]:
        await self._answer()
        return [self._confirm(claim) for claim in claims]

    async def keep(self, submissions: Sequence[Submission]) -> list[Submission]:
        await self._answer()
        return [self._keep(submission) for submission in submissions]

    async def count(self, creator: str, batch: str, counts: Counter[str]) -> None:
        await self._answer()
        self.batches.setdefault((creator, batch), Counter()).update(counts)

    async def find(self, import_id: str) -> ImportRecord | None:
        await self._answer()
        return self.records.get(import_id)

    async def batch_counts(self, creator: str, batch: str) -> Counter[str]:
        await self._answer()
        return self.batches.get((creator, batch), Counter())

    async def _answer(self) -> None:
        await asyncio.sleep(0)  # others get their turn, as they do with a real store
        if self.away:
            raise DependencyUnavailable("Redis is away, says the test")

    def _claim(self, claim: ExamClaim) -> History:
        history = self.histories.get(claim.exam, History(()))
        if claim.holder not in history.holders:
            history = History((*history.holders, claim.holder), history.newest)
        self.histories[claim.exam] = history
        return history

    def _confirm(self, claim: ExamClaim) -> History:
        history = self._claim(claim)
        if history.newest is None or claim.version > history.newest[0]:
            history = History(history.holders, (claim.version, claim.holder))
        self.histories[claim.exam] = history
        return history

    def _keep(self, submission: Submission) -> Submission:
        record = submission.record
        if submission.new:
            self.records[record.id] = record
        if submission.outcome not in (Outcome.ACCEPTED, Outcome.PARKED):
            return submission
        holder = self.index.setdefault((submission.outcome, record.digest), record.id)
        if holder == record.id:
            return submission
        winner = self.records.get(holder)
        if winner is None:
            self.index[submission.outcome, record.digest] = record.id
            return submission
        if winner.creator != record.creator:
            return Submission(record, Outcome.DUPLICATE)
        del self.records[record.id]
        return Submission(winner, Outcome.DUPLICATE, new=False)


class MemoryPublisher:
    """Kafka in memory. ``away`` refuses everything; ``lost_acknowledgements`` takes records and then fails."""

    def __init__(self) -> None:
        self.away = False
        self.lost_acknowledgements = 0
        self.records: list[OutgoingRecord] = []

    async def publish(self, records: Sequence[OutgoingRecord]) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise DependencyUnavailable("Kafka is away, says the test")
        self.records += records
        if self.lost_acknowledgements and records:
            self.lost_acknowledgements -= 1
            raise DependencyUnavailable("the acknowledgement was lost, says the test")

    def events(self, topic: str) -> list[tuple[str, ExamResult]]:
        """Key and event of each record of a topic."""
        return [
            (record.key.decode(), decode_exam_result(record.value or b""))
            for record in self.records
            if record.topic == topic
        ]


def import_service(store: MemoryImportStore, publisher: MemoryPublisher) -> ImportService:
    return ImportService(store, publisher, PSEUDONYMIZER, DocumentReader(registry()), clock=lambda: NOW)


def statuses(submissions: Sequence[Submission]) -> list[tuple[ImportStatus, Outcome]]:
    return [(submission.record.status, submission.outcome) for submission in submissions]
