"""From documents to events: what is accepted, refused, parked, recognized, and what a crash leaves behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from fake_imports import (
    NOW,
    OTHER_SCHOOL,
    PSEUDONYMIZER,
    UNLISTED_SCHOOL,
    MemoryImportStore,
    MemoryPublisher,
    import_service,
    json,
    registry,
    statuses,
    student_key,
    xml,
)

from gateway.imports.documents import Document
from gateway.imports.reading import DocumentReader, Reading, Refusal
from gateway.imports.records import Outcome, shown, summary, tally
from gateway.imports.service import ImportService
from schemas.errors import DependencyUnavailable
from schemas.events import ExamResult
from schemas.imports import ImportStatus
from schemas.topics import EXAM_RESULTS, REJECTED

ACCEPTED = (ImportStatus.ACCEPTED, Outcome.ACCEPTED)
DUPLICATE = (ImportStatus.ACCEPTED, Outcome.DUPLICATE)
PARKED = (ImportStatus.UNKNOWN_SCHOOL, Outcome.PARKED)


@pytest.fixture
def store() -> MemoryImportStore:
    return MemoryImportStore()


@pytest.fixture
def kafka() -> MemoryPublisher:
    return MemoryPublisher()


@pytest.fixture
def service(store: MemoryImportStore, kafka: MemoryPublisher) -> ImportService:
    return import_service(store, kafka)


def live(kafka: MemoryPublisher) -> list[tuple[str, int | None]]:
    """Student key and score of the exams that stand at the end, by the workers' rule: the highest version wins."""
    newest: dict[str, ExamResult] = {}
    for key, event in kafka.events(EXAM_RESULTS):
        known = newest.get(key)
        if known is None or (event.status_date, event.sequence) > (known.status_date, known.sequence):
            newest[key] = event
    return sorted((key, event.scale_score) for key, event in newest.items() if event.status != "reset")


@pytest.mark.anyio
async def test_a_report_becomes_an_event_keyed_by_the_students_pseudonym(
    service: ImportService, kafka: MemoryPublisher
) -> None:
    [submission] = await service.submit([xml("exam.xml")], "vendor", "may-20")

    [(key, event)] = kafka.events(EXAM_RESULTS)
    assert key == student_key("9000000001")
    assert (event.student_id, event.scale_score, event.sequence) == ("9000000001", 2480, 10**15)
    headers = dict(kafka.records[0].headers)
    assert headers["ce_type"] == b"scores.exam-result.v1"
    assert headers["ce_id"].decode() == submission.record.id
    assert shown(submission.record) == {
        "id": submission.record.id,
        "content": "ExamResult",
        "contentType": "application/xml",
        "digest": xml().digest(),
        "status": "ACCEPTED",
        "code": 0,
        "creator": "vendor",
        "created": "2021-05-20T12:00:00.000Z",
        "filename": "exam.xml",
        "batch": "may-20",
        "errors": [],
        "warnings": [],
        "_links": {"self": {"href": f"/v1/exams/imports/{submission.record.id}"}},
    }


@pytest.mark.anyio
async def test_the_same_bytes_again_are_answered_with_the_first_import_and_produce_nothing(
    service: ImportService, kafka: MemoryPublisher
) -> None:
    [first] = await service.submit([xml("exam.xml")], "vendor")
    [second] = await service.submit([xml("again.xml")], "vendor", "later")

    assert second.record == first.record
    assert second.outcome is Outcome.DUPLICATE
    assert len(kafka.records) == 1


@pytest.mark.anyio
async def test_the_same_bytes_twice_in_one_request_are_one_import(
    service: ImportService, kafka: MemoryPublisher
) -> None:
    submissions = await service.submit([xml(), xml(opportunity="2"), xml()], "vendor")

    assert statuses(submissions) == [ACCEPTED, ACCEPTED, DUPLICATE]
    assert submissions[2].record == submissions[0].record
    assert len(kafka.records) == 2


@pytest.mark.anyio
async def test_another_senders_identical_bytes_are_recognized_but_their_import_is_not_shown(
    service: ImportService, kafka: MemoryPublisher
) -> None:
    [first] = await service.submit([xml("secret-name.xml")], "vendor")
    [second] = await service.submit([xml()], "another vendor")

    assert statuses([second]) == [DUPLICATE]
    assert (second.record.creator, second.record.filename) == ("another vendor", None)
    assert await service.find(second.record.id, "another vendor") == second.record
    assert await service.find(first.record.id, "another vendor") is None
    assert len(kafka.records) == 1


@pytest.mark.anyio
async def test_later_imports_have_higher_sequences_even_after_redis_lost_its_data(
    kafka: MemoryPublisher,
) -> None:
    before = MemoryImportStore(clock_microseconds=1_000)
    await import_service(before, kafka).submit([xml(), xml(opportunity="2")], "vendor")
    after = MemoryImportStore(clock_microseconds=2_000)  # empty, and some time later
    await import_service(after, kafka).submit([xml(score=2481)], "vendor")

    assert [event.sequence for _, event in kafka.events(EXAM_RESULTS)] == [1_000, 1_001, 2_000]


@pytest.mark.anyio
async def test_a_refused_report_is_recorded_with_its_faults_and_others_of_the_request_are_accepted(
    service: ImportService, store: MemoryImportStore, kafka: MemoryPublisher
) -> None:
    submissions = await service.submit(
        [
            xml(score=9999),
            Document(b"<oops", "application/xml"),
            xml(assessment="(SBAC)Nonesuch-2021"),
            xml(),
        ],
        "vendor",
        "mixed",
    )

    assert [s.record.status.name for s in submissions] == [
        "BAD_DATA",
        "BAD_FORMAT",
        "UNKNOWN_ASMT",
        "ACCEPTED",
    ]
    assert all(s.record.errors for s in submissions[:3])
    assert [await service.find(s.record.id, "vendor") for s in submissions] == [s.record for s in submissions]
    assert len(kafka.records) == 1
    assert summary(await service.batch_counts("vendor", "mixed")) == {
        "received": 4,
        "accepted": 1,
        "duplicate": 0,
        "parked": 0,
        "rejected": {"BAD_DATA": 1, "BAD_FORMAT": 1, "UNKNOWN_ASMT": 1},
    }


@pytest.mark.anyio
async def test_a_refused_report_is_read_again_when_it_comes_again(
    store: MemoryImportStore, kafka: MemoryPublisher
) -> None:
    """The registry may have been mended in the meantime."""
    registry_mended = False

    def read(document: Document) -> Reading | Refusal:
        if registry_mended:
            return DocumentReader(registry())(document)
        return Refusal(ImportStatus.UNKNOWN_ASMT, ())

    service = ImportService(store, kafka, PSEUDONYMIZER, read, clock=lambda: NOW)
    await service.submit([xml()], "vendor")
    registry_mended = True

    assert statuses(await service.submit([xml()], "vendor")) == [ACCEPTED]


@pytest.mark.anyio
async def test_a_fault_of_ours_in_one_report_keeps_no_other_out_and_tells_nothing_of_the_student(
    store: MemoryImportStore, kafka: MemoryPublisher, caplog: pytest.LogCaptureFixture
) -> None:
    def read(document: Document) -> Reading | Refusal:
        if b"Troublesome" in document.data:
            raise RuntimeError("cannot cope with Troublesome, student 9000000001")
        return DocumentReader(registry())(document)

    service = ImportService(store, kafka, PSEUDONYMIZER, read, clock=lambda: NOW)
    submissions = await service.submit([xml(last_name="Troublesome"), xml()], "vendor")

    assert [s.record.status.name for s in submissions] == ["PIPELINE_FAILURE", "ACCEPTED"]
    assert "Troublesome" not in caplog.text
    assert "RuntimeError" in caplog.text


@pytest.mark.anyio
async def test_an_exam_of_an_unknown_school_is_parked_and_accepted_once_the_school_is_there(
    service: ImportService, store: MemoryImportStore, kafka: MemoryPublisher
) -> None:
    [parked] = await service.submit([xml(school=UNLISTED_SCHOOL)], "vendor", "b")
    [again] = await service.submit([xml(school=UNLISTED_SCHOOL)], "vendor", "b")

    assert statuses([parked, again]) == [PARKED, (ImportStatus.UNKNOWN_SCHOOL, Outcome.DUPLICATE)]
    assert parked.record.errors[0].value == UNLISTED_SCHOOL
    [(key, event)] = kafka.events(REJECTED)
    assert (key, event.school) == (student_key("9000000001"), UNLISTED_SCHOOL)
    headers = dict(kafka.records[0].headers)
    assert headers["rejected_reason"] == b"unknown_organization"
    assert headers["rejected_topic"] == EXAM_RESULTS.encode()

    store.known_schools.add(UNLISTED_SCHOOL)
    [accepted] = await service.submit([xml(school=UNLISTED_SCHOOL)], "vendor", "b")

    assert statuses([accepted]) == [ACCEPTED]
    assert live(kafka) == [(student_key("9000000001"), 2480)]
    assert await service.batch_counts("vendor", "b") == Counter(received=3, parked=1, duplicate=1, accepted=1)


@pytest.mark.anyio
async def test_a_reset_needs_no_known_school(service: ImportService, kafka: MemoryPublisher) -> None:
    [submission] = await service.submit([xml(school=UNLISTED_SCHOOL, status="reset")], "vendor")

    assert statuses([submission]) == [ACCEPTED]
    assert [event.status for _, event in kafka.events(EXAM_RESULTS)] == ["reset"]


@pytest.mark.anyio
async def test_a_status_date_in_the_future_is_refused_because_it_would_outrank_every_correction(
    service: ImportService, kafka: MemoryPublisher
) -> None:
    tomorrow = json(status_date=(NOW + timedelta(hours=23)).isoformat())
    next_year = json(status_date=(NOW + timedelta(days=365)).isoformat())

    first, second = await service.submit([tomorrow, next_year], "vendor")

    assert statuses([first]) == [ACCEPTED], "a local time without a zone counts as UTC"
    assert statuses([second]) == [(ImportStatus.BAD_DATA, Outcome.REJECTED)]
    [fault] = second.record.errors
    assert (fault.element, "in the future" in fault.error) == ("status_date", True)
    assert len(kafka.events(EXAM_RESULTS)) == 1


@pytest.mark.anyio
async def test_a_corrected_student_leaves_the_exam_under_the_new_one_alone(
    service: ImportService, kafka: MemoryPublisher
) -> None:
    await service.submit([xml(student="9000000001")], "vendor")
    await service.submit([xml(student="9000000002", status_date="2021-05-12T10:00:00")], "vendor")

    (_, _), (old_key, tombstone), (new_key, state) = kafka.events(EXAM_RESULTS)
    assert (old_key, new_key) == (student_key("9000000001"), student_key("9000000002"))
    assert (tombstone.status, tombstone.student_id) == ("reset", None)
    assert (tombstone.status_date, tombstone.sequence) == (state.status_date, state.sequence)
    assert live(kafka) == [(new_key, 2480)]


@pytest.mark.anyio
async def test_an_older_report_of_the_wrong_student_that_comes_late_does_not_bring_the_exam_back(
    service: ImportService, kafka: MemoryPublisher
) -> None:
    await service.submit([xml(student="9000000002", status_date="2021-05-12T10:00:00")], "vendor")
    await service.submit([xml(student="9000000001", status_date="2021-05-10T10:00:00")], "vendor")

    assert live(kafka) == [(student_key("9000000002"), 2480)]


@pytest.mark.anyio
async def test_a_student_corrected_within_one_request_counts_once(
    service: ImportService, kafka: MemoryPublisher
) -> None:
    await service.submit([xml(student="9000000001"), xml(student="9000000002")], "vendor")

    assert live(kafka) == [(student_key("9000000002"), 2480)]


@pytest.mark.anyio
async def test_a_corrected_student_at_an_unknown_school_is_parked_together_with_the_tombstone(
    service: ImportService, kafka: MemoryPublisher
) -> None:
    await service.submit([xml(student="9000000001")], "vendor")
    await service.submit([xml(student="9000000002", school=UNLISTED_SCHOOL)], "vendor")

    assert live(kafka) == [(student_key("9000000001"), 2480)]  # until the parked records are replayed
    assert [(key, event.status) for key, event in kafka.events(REJECTED)] == [
        (student_key("9000000001"), "reset"),
        (student_key("9000000002"), "scored"),
    ]


@pytest.mark.anyio
async def test_while_kafka_is_away_nothing_is_accepted_and_the_resend_is(
    service: ImportService, store: MemoryImportStore, kafka: MemoryPublisher
) -> None:
    kafka.away = True
    with pytest.raises(DependencyUnavailable):
        await service.submit([xml(), xml(opportunity="2")], "vendor", "b")
    assert not store.records
    assert not store.index
    assert await service.batch_counts("vendor", "b") == Counter()

    kafka.away = False
    assert statuses(await service.submit([xml(), xml(opportunity="2")], "vendor", "b")) == [
        ACCEPTED,
        ACCEPTED,
    ]


@pytest.mark.anyio
async def test_when_an_acknowledgement_is_lost_the_resend_replaces_what_got_through(
    service: ImportService, kafka: MemoryPublisher
) -> None:
    kafka.lost_acknowledgements = 1
    with pytest.raises(DependencyUnavailable):
        await service.submit([xml()], "vendor")
    await service.submit([xml()], "vendor")

    first, second = (event for _, event in kafka.events(EXAM_RESULTS))
    assert second.sequence > first.sequence
    assert live(kafka) == [(student_key("9000000001"), 2480)]


@pytest.mark.anyio
async def test_while_redis_is_away_nothing_is_produced(
    service: ImportService, store: MemoryImportStore, kafka: MemoryPublisher
) -> None:
    store.away = True
    with pytest.raises(DependencyUnavailable):
        await service.submit([xml()], "vendor")

    assert not kafka.records


@pytest.mark.anyio
async def test_identical_bytes_sent_twice_at_the_same_time_are_one_import(
    service: ImportService, store: MemoryImportStore, kafka: MemoryPublisher
) -> None:
    (one,), (two,) = await asyncio.gather(
        service.submit([xml()], "vendor"), service.submit([xml()], "vendor")
    )

    assert one.record.id == two.record.id
    assert sorted(s.outcome for s in (one, two)) == [Outcome.ACCEPTED, Outcome.DUPLICATE]
    assert list(store.records) == [one.record.id]
    assert live(kafka) == [(student_key("9000000001"), 2480)]


@pytest.mark.anyio
async def test_an_import_record_holds_nothing_that_says_whose_exam_it_was(
    service: ImportService, store: MemoryImportStore
) -> None:
    await service.submit(
        [
            xml("9000000001-ELA.xml"),
            xml("9000000001.xml", opportunity="2", score="bad data"),
            json(opportunity_id="3", level=99),
        ],
        "vendor",
    )

    kept = repr([shown(record) for record in store.records.values()])
    assert "(student)-ELA.xml" in kept
    for private in ("Nonesuch", "2011-02-03", "9000000001"):
        assert private not in kept
    assert "bad data" in kept  # a faulty value is named


@pytest.mark.anyio
async def test_events_of_producers_get_our_sequence_not_theirs(
    service: ImportService, kafka: MemoryPublisher
) -> None:
    await service.submit([json(sequence=7)], "vendor")

    assert [event.sequence for _, event in kafka.events(EXAM_RESULTS)] == [10**15]


@pytest.mark.anyio
async def test_what_each_request_came_to_is_told_to_the_metrics(
    store: MemoryImportStore, kafka: MemoryPublisher
) -> None:
    told: list[Counter[str]] = []
    service = ImportService(
        store, kafka, PSEUDONYMIZER, DocumentReader(registry()), clock=lambda: NOW, observe=told.append
    )
    submissions = await service.submit([xml(), xml(school=OTHER_SCHOOL, score=9999)], "vendor")

    assert told == [tally(submissions)] == [Counter({"received": 2, "accepted": 1, "rejected:BAD_DATA": 1})]
