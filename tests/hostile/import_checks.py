"""What must hold for every document and request that the import endpoint is sent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

import httpx
import msgspec
from fake_imports import MemoryImportStore, MemoryPublisher
from starlette.applications import Starlette

from gateway.imports.documents import XML, Document
from gateway.imports.histories import History, exam_claim
from gateway.imports.judging import Sender, judge
from gateway.imports.reading import DocumentReader, Reading, Refusal
from gateway.imports.records import Outcome, encode_record, shown
from gateway.imports.routes import import_routes
from gateway.imports.service import ImportService
from gateway.imports.settings import ImportSettings
from gateway.tokens import Principal
from hostile.inputs import Input
from hostile.sound import PSEUDONYMS, registry, schools
from schemas.access.permissions import Grant
from schemas.access.roles import BUILT_IN_ROLES, IMPORT_ROLE
from schemas.events import ExamResult, decode_exam_result, encode_event
from schemas.identifiers import STATE, StudentId
from schemas.imports import FieldError, ImportStatus
from streams.reading import Incoming, Reader

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)

_SENDER: Final = Sender("a sender", None, NOW)
_REFUSALS: Final = frozenset(
    {ImportStatus.BAD_FORMAT, ImportStatus.INVALID, ImportStatus.UNKNOWN_ASMT, ImportStatus.BAD_DATA}
)
_LONGEST: Final = {"element": 200, "value": 80, "error": 1_000}
_LARGEST_RECORD_BYTES: Final = 64 * 1024
_LARGEST_EVENT_BYTES: Final = 900_000  # Kafka takes about a megabyte
_ANSWERS: Final = frozenset({202, 400, 413, 415})
_REQUESTS_A_SERVICE: Final = 100  # then a new one: the stores in memory keep everything


class ImportCheck:
    """Checks documents as the import service reads and judges them."""

    def __init__(self, reader: Reader | None = None) -> None:
        self._schools = frozenset(schools())
        self._read = DocumentReader(registry())
        self._worker = reader or Reader(registry(), PSEUDONYMS, self._schools.__contains__)

    def check(self, given: Input) -> str:
        """What became of one report: "accepted", or "rejected: " and its status."""
        document = given.body or b""
        student = document[200:240].decode("utf-8", "replace")  # as senders name files, somewhat
        return self.check_document(Document(document, XML, f"{student}.xml"))

    def check_document(self, document: Document) -> str:
        """What became of one document.

        Raises:
            AssertionError: something that must hold does not.
            Exception: a crash.
        """
        reading = self._read(document)
        submission = judge(document, document.digest(), _SENDER, None, reading, self._schools)
        record = submission.record
        assert len(encode_record(record)) <= _LARGEST_RECORD_BYTES, "the record of the import is large"
        msgspec.json.encode(shown(record))
        if isinstance(reading, Refusal):
            assert reading.status in _REFUSALS, f"refused as {reading.status.name}"
            assert reading.errors, "refused without a reason"
            assert submission.outcome is Outcome.REJECTED
            _check_texts(reading.errors)
            return f"rejected: {reading.status.name}"
        assert isinstance(reading, Reading), f"the reader answered {reading!r}"
        _check_texts(reading.warnings)
        if submission.outcome is Outcome.ACCEPTED:
            self._check_event(reading.event)
            return "accepted"
        return f"rejected: {record.status.name}"

    def _check_event(self, event: ExamResult) -> None:
        """What the import takes, the worker never refuses."""
        event = msgspec.structs.replace(event, sequence=1)
        body = encode_event(event)
        assert len(body) <= _LARGEST_EVENT_BYTES, f"an event of {len(body)} bytes"
        assert decode_exam_result(body) == event, "written and read again it is another event"
        assert event.student_id is not None
        student = PSEUDONYMS.student_key(StudentId(event.student_id))
        claim = exam_claim(event, student)
        packed = claim.version.packed() + claim.holder.packed()
        assert History.unpack(packed).newest == (claim.version, claim.holder), "another version, once packed"
        result = self._worker.read(_Produced(student.encode(), body))
        assert isinstance(result, Incoming), f"taken by the import, refused by the worker: {result[1:]}"


class RequestCheck:
    """Sends whole requests to the import endpoint; a context manager that owns an event loop."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()

    def check(self, given: Input) -> str:
        """What became of one request: "accepted" for 202, or "rejected: " and the status code."""
        if self._sent % _REQUESTS_A_SERVICE == 0:
            self._app = _application()
        self._sent += 1
        response = self._runner.run(self._send(given))
        assert response.status_code in _ANSWERS, f"answered {response.status_code}"
        answer = response.json()
        assert b"PIPELINE_FAILURE" not in response.content, "a fault of the service"
        if response.status_code == 202:
            return "accepted"
        assert answer["detail"], "refused without a reason"
        return f"rejected: {response.status_code}"

    async def _send(self, given: Input) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            headers = {b"content-type": given.head or b""}
            return await client.post("/v1/exams/imports", content=given.body or b"", headers=headers)


class _Produced:
    """A record as the import produces it."""

    offset = 0
    timestamp = 0

    def __init__(self, key: bytes, value: bytes) -> None:
        self.key: bytes | None = key
        self.value: bytes | None = value


def _application() -> Starlette:
    service = ImportService(
        MemoryImportStore(schools()),
        MemoryPublisher(),
        PSEUDONYMS,
        DocumentReader(registry()),
        clock=lambda: NOW,
    )
    grants = (Grant(IMPORT_ROLE, STATE),)
    rights = BUILT_IN_ROLES.rights(grants)
    loader = Principal("a sender", grants, datetime.max.replace(tzinfo=UTC), "a token", rights)
    settings = ImportSettings(request_documents=5)
    return Starlette(routes=import_routes(service, lambda request: loader, settings))


def _check_texts(errors: tuple[FieldError, ...]) -> None:
    for error in errors:
        for name, longest in _LONGEST.items():
            length = len(getattr(error, name))
            assert length <= longest, f"{name} of {error.element[:80]} has {length} characters"
        assert error.error, "an error without a text"
