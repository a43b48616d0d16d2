"""Who may import a canary's results, and that these disturb nobody's import history."""

from __future__ import annotations

import pytest
from fake_imports import SCHOOL as IMPORTED_SCHOOL
from fake_imports import MemoryImportStore, MemoryPublisher, import_service, json

from gateway.imports.judging import MayLoad
from gateway.imports.records import Outcome
from schemas.canary import canary_school, names_canary
from schemas.events import ExamResult, decode_exam_result
from schemas.imports import ImportStatus

CANARY = canary_school(1)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("school", "may_load", "outcome"),
    [
        (CANARY, MayLoad.REAL, Outcome.REJECTED),
        (CANARY, MayLoad.CANARIES, Outcome.ACCEPTED),
        (IMPORTED_SCHOOL, MayLoad.CANARIES, Outcome.REJECTED),
        (IMPORTED_SCHOOL, MayLoad.REAL, Outcome.ACCEPTED),
        (CANARY, MayLoad.REAL | MayLoad.CANARIES, Outcome.ACCEPTED),
        (None, MayLoad.CANARIES, Outcome.REJECTED),
    ],
)
async def test_only_the_canary_imports_canaries_and_nothing_else(
    school: str | None, may_load: MayLoad, outcome: Outcome
) -> None:
    store, kafka = MemoryImportStore((IMPORTED_SCHOOL, CANARY)), MemoryPublisher()
    status = "scored" if school else "reset"  # a reset without a school would take a real exam away
    [submission] = await import_service(store, kafka).submit(
        [json(school=school, status=status)], "somebody", may_load=may_load
    )
    assert submission.outcome is outcome
    if outcome is Outcome.REJECTED:
        assert submission.record.status is ImportStatus.UNAUTHORIZED
        assert not kafka.records


@pytest.mark.anyio
async def test_import_with_a_real_school_and_a_canarys_is_refused() -> None:
    store, kafka = MemoryImportStore((IMPORTED_SCHOOL, CANARY)), MemoryPublisher()
    [submission] = await import_service(store, kafka).submit(
        [json(tested_school=CANARY)], "somebody", may_load=MayLoad.REAL | MayLoad.CANARIES
    )
    assert submission.record.status is ImportStatus.BAD_DATA
    assert not kafka.records


@pytest.mark.anyio
async def test_canary_that_uses_a_real_exams_identifiers_takes_no_student_away() -> None:
    store, kafka = MemoryImportStore((IMPORTED_SCHOOL, CANARY)), MemoryPublisher()
    service = import_service(store, kafka)
    await service.submit([json()], "vendor")
    before = len(kafka.records)
    await service.submit([json(school=CANARY, student_id="9000000777")], "canary", may_load=MayLoad.CANARIES)
    [sent] = [decode_exam_result(record.value or b"") for record in kafka.records[before:]]
    assert (sent.school, sent.status) == (CANARY, "scored")


@pytest.mark.anyio
async def test_correction_of_a_canarys_student_takes_away_the_canarys_exam_and_no_real_one() -> None:
    store, kafka = MemoryImportStore((IMPORTED_SCHOOL, CANARY)), MemoryPublisher()
    service = import_service(store, kafka)
    for student in ("9000000777", "9000000778"):
        await service.submit([json(school=CANARY, student_id=student)], "canary", may_load=MayLoad.CANARIES)
    events: list[ExamResult] = [decode_exam_result(record.value or b"") for record in kafka.records]
    [tombstone] = [event for event in events if event.status == "reset"]
    assert names_canary(tombstone.school, tombstone.tested_school)
