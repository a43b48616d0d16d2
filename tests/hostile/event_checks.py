"""What must hold for every record of the results topic, whatever its bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from memory_partition import MemoryPartition

from cli.simulator.recount import CellId, Recount
from cli.verify import compare, contradictions, counted_cells
from gateway.imports.documents import JSON, Document
from hostile.import_checks import ImportCheck
from hostile.inputs import Input
from hostile.sound import PSEUDONYMS, registry, schools
from schemas.events import ExamResult, decode_exam_result, encode_event
from schemas.identifiers import StudentId
from schemas.rejections import Reason
from schemas.shares import unpack_share
from streams.reading import CountedFields, Incoming, Reader, Rejection
from streams.rejected import rejected_record
from streams.scoring import Outcome

_NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
_NOW_MS: Final = int(_NOW.timestamp() * 1000)
_BATCH: Final = 50
_KAFKA_BYTES: Final = 1_000_000  # about what a broker takes in one record
_LONGEST_DETAIL: Final = 500
_BRACKETS_AT_MOST: Final = 600  # as the event's schema has it
_HEXADECIMAL: Final = frozenset(b"0123456789abcdef")

# An event whose counted fields are sound, whatever the others hold. The worker does not look at the others: that is the
# one way in which it is more lenient than the event's schema.
_COUNTED: Final = frozenset(CountedFields.__struct_fields__)


def _decoder(judged: frozenset[str]) -> Callable[[bytes], Any]:
    """Decodes an event as its schema has it, and judges of these fields only."""
    fields = [
        (field.name, field.type if field.name in judged else msgspec.Raw, field.default)
        for field in msgspec.structs.fields(ExamResult)
    ]
    return msgspec.json.Decoder(msgspec.defstruct("_Judged", fields, kw_only=True)).decode


_decode_leniently: Final = _decoder(_COUNTED)
_decode_but_schools: Final = _decoder(_COUNTED - {"school", "tested_school"})


@dataclass(frozen=True, slots=True)
class Record:
    """A consumed record."""

    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int = _NOW_MS
    headers: tuple[tuple[str, bytes], ...] = ()


class EventCheck:
    """Checks records one by one, and every now and then what all since then amount to."""

    def __init__(self, reader: Reader | None = None) -> None:
        self._is_school = frozenset(schools()).__contains__
        self._reader = reader or Reader(registry(), PSEUDONYMS, self._is_school)
        self._imports = ImportCheck(self._reader)
        self._offset = 0
        self._start_again()

    def check(self, given: Input) -> str:
        """What became of one record: "accepted", or "rejected: " and why.

        Raises:
            AssertionError: something that must hold does not.
            Exception: a crash.
        """
        self._offset += 1
        record = Record(given.head, given.body, self._offset)
        self._records.append(record)
        result = self._reader.read(record)
        expected = self._expected(record, accepted=isinstance(result, Incoming))
        if isinstance(result, Rejection):
            self._check_rejection(result)
            assert result.reason in expected, f"rejected as {result.reason}; expected one of {expected}"
            verdict = f"rejected: {result.reason}"
        else:
            assert isinstance(result, Incoming), f"the reader answered {result!r}"
            assert not expected, f"accepted; expected a rejection as one of {expected}"
            verdict = "accepted"
        if given.body is not None:
            self._imports.check_document(Document(given.body, JSON, "exam.json"))
        return verdict

    def finish(self) -> None:
        """Apply all records since the last time as a worker does, and compare with the recount.

        Raises:
            AssertionError: the tables differ from the recount, or the outcomes do.
        """
        records, recount = self._records, self._recount
        self._start_again()
        partition = MemoryPartition(self._reader)
        for first in range(0, len(records), _BATCH):
            partition.apply(records[first : first + _BATCH])
            # As after a restart: what was packed is read back.
            partition.shares = {
                key: unpack_share(*share.pack(whole=True)) for key, share in partition.shares.items()
            }
        counts = recount.outcomes
        for outcome in Outcome:
            name, number = outcome.name.lower(), partition.outcomes[outcome]
            assert number == counts[name], f"{number} {name}; recounted {counts[name]}"
        unread = len(records) - partition.outcomes.total()
        assert len(partition.rejected) == unread + partition.outcomes[Outcome.CONTRADICTION]
        found = counted_cells({CellId(*key): cell for key, cell in partition.cells.items()}, registry())
        differences = compare(recount.cells(), found)
        assert not differences, f"{len(differences)} figures differ from the recount: {differences[:5]}"
        assert not contradictions(found), "the levels do not add up"

    def _start_again(self) -> None:
        self._records: list[Record] = []
        self._recount = Recount(registry(), schools())
        self._exams: dict[tuple[bytes, datetime, datetime, int], tuple[str, str]] = {}

    def _check_rejection(self, rejection: Rejection) -> None:
        assert rejection.reason in Reason
        assert 0 < len(rejection.detail) <= _LONGEST_DETAIL, f"a detail of {len(rejection.detail)} characters"
        key, value, headers = rejected_record(rejection, 0, _NOW)
        size = len(key or b"") + len(value or b"") + sum(len(name) + len(text) for name, text in headers)
        assert size <= _KAFKA_BYTES, f"{size} bytes for the rejected topic"

    def _expected(self, record: Record, *, accepted: bool) -> frozenset[Reason]:
        """Why the record may be rejected, by the event's schema and the recount; nothing when it must be accepted."""
        body = record.value or b""
        if body.count(b"[") + body.count(b"{") > _BRACKETS_AT_MOST:
            return frozenset({Reason.UNDECODABLE})
        event = _counted_part(body)
        said_once = _counted_part(_said_once(body)) if event is None else None
        if event is None and accepted:
            event = said_once
        if event is None:
            # Which of them is told depends on what comes first.
            perhaps = said_once is not None or _counted_part(body, _decode_but_schools) is not None
            return _NO_EVENT | _SEMANTIC | {Reason.WRONG_KEY} if perhaps else _NO_EVENT
        self._check_whole(body, event)
        key = record.key or b""
        if event.student_id is not None:
            right = key == PSEUDONYMS.student_key(StudentId(event.student_id)).encode()
        elif event.status == "reset":
            right = len(key) == 24 and set(key) <= _HEXADECIMAL
        else:
            return _SEMANTIC
        if not right:
            return _SEMANTIC | {Reason.WRONG_KEY}  # of several faults any may be told
        recount = self._recount
        if self._ties(key, event):
            # Either exam may count, so this one is judged by itself and left out of what the window amounts to.
            recount = Recount(registry(), schools())
            self._records.pop()
        before = _rejections(recount)
        recount.add(key.decode(), event)
        return _SEMANTIC if _rejections(recount) > before else frozenset()

    def _ties(self, key: bytes, event: ExamResult) -> bool:
        """Whether another exam of the student was completed at the same moment and has the same version."""
        moment = (key, event.completed or event.status_date, event.status_date, event.sequence)
        exam = (event.assessment_id, event.opportunity_id)
        return self._exams.setdefault(moment, exam) != exam

    def _check_whole(self, body: bytes, event: ExamResult) -> None:
        try:
            whole = decode_exam_result(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # one of the fields that are not counted
        counted = {name: getattr(whole, name) for name in _COUNTED}
        assert counted == {name: getattr(event, name) for name in _COUNTED}, (
            "the part says other than the whole"
        )
        assert decode_exam_result(encode_event(whole)) == whole, "written and read again it is another event"


_NO_EVENT: Final = frozenset({Reason.INVALID, Reason.UNDECODABLE})
_SEMANTIC: Final = frozenset(
    {
        Reason.INVALID,
        Reason.UNKNOWN_ORGANIZATION,
        Reason.UNKNOWN_ASSESSMENT,
        Reason.REFUSED_ASSESSMENT,
    }
)


def _counted_part(body: bytes, decode: Callable[[bytes], Any] = _decode_leniently) -> ExamResult | None:
    """The event without the fields that are not counted; None when it is none."""
    try:
        counted = decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return ExamResult(**{name: getattr(counted, name) for name in _COUNTED})


def _said_once(body: bytes) -> bytes:
    """Of each field that is said several times, the last.

    The schema judges every one of them. The worker lets the digits of an earlier school code pass; the last is the one
    that counts with both. Of what is no object, the same.
    """
    text = body.decode(errors="replace").encode()
    try:
        return msgspec.json.encode(msgspec.json.decode(text, type=dict[str, msgspec.Raw]))
    except msgspec.DecodeError:
        return body


def _rejections(recount: Recount) -> int:
    return sum(number for outcome, number in recount.outcomes.items() if outcome.startswith("rejected"))
