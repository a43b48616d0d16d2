"""What one canary's journey says, and what several in a row do."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice, pairwise

import msgspec
import pytest

from consumers.lag.canary.exam import GRADE, TEST, CanaryExam
from consumers.lag.canary.rounds import Deliveries, Journey, Record, Stage
from gateway.imports.documents import JSON, Document
from gateway.imports.reading import DocumentReader, Reading
from schemas.assessments import load_registry
from schemas.canary import canary_entries, canary_school, is_canary
from schemas.errors import InvalidInput
from schemas.operations import Verdict
from schemas.releases import is_withheld_before_release

MAY = datetime(2026, 5, 4, 12, tzinfo=UTC)
IN_TIME = Journey(2400, 100.0, accepted=100.1, applied=100.3, pushed=100.8)
LATE = Journey(2400, 100.0, accepted=100.1, applied=100.3, pushed=102.5)


def test_each_stage_is_told_apart_and_they_add_up_to_the_whole_way() -> None:
    latencies = IN_TIME.latencies()
    assert latencies == pytest.approx(
        {Stage.IMPORT: 0.1, Stage.STREAMS: 0.2, Stage.PUSH: 0.5, Stage.TOTAL: 0.8}
    )
    assert sum(latencies.values()) == pytest.approx(2 * latencies[Stage.TOTAL])


def test_worker_that_is_faster_than_the_gateways_answer_took_no_time() -> None:
    journey = Journey(2400, 100.0, accepted=100.2, applied=100.15, pushed=100.5)
    assert journey.latencies()[Stage.STREAMS] == 0.0


@pytest.mark.parametrize(
    ("journey", "lost"),
    [
        (Journey(2400, 1.0), Stage.IMPORT),
        (Journey(2400, 1.0, accepted=1.1), Stage.STREAMS),
        (Journey(2400, 1.0, accepted=1.1, applied=1.2), Stage.PUSH),
        (Journey(2400, 1.0, accepted=1.1, applied=1.2, pushed=1.3), None),
        # Redis could not be asked, and a screen has it.
        (Journey(2400, 1.0, accepted=1.1, pushed=1.3), None),
    ],
    ids=["not taken", "not applied", "not pushed", "arrived", "arrived unseen by the tables' reader"],
)
def test_canary_is_lost_at_the_first_stage_that_it_did_not_leave(
    journey: Journey, lost: Stage | None
) -> None:
    assert journey.lost_at() is lost


@pytest.mark.parametrize(
    ("journeys", "verdict"),
    [
        ([], Verdict.INCOMPLETE),
        ([IN_TIME], Verdict.OK),
        ([Journey(2400, 1.0)], Verdict.INCOMPLETE),
        ([IN_TIME, Journey(2400, 1.0)], Verdict.OK),
        ([IN_TIME, Journey(2400, 1.0), Journey(2401, 2.0)], Verdict.STOP),
        ([Journey(2400, 1.0), Journey(2401, 2.0), IN_TIME], Verdict.OK),
        ([IN_TIME, LATE], Verdict.OK),
        ([LATE, LATE], Verdict.WARN),
        ([LATE, Journey(2400, 1.0)], Verdict.WARN),
    ],
    ids=[
        "none yet",
        "one in time",
        "the first is lost",
        "one lost",
        "two lost",
        "in time again",
        "one late",
        "two late",
        "late, then lost",
    ],
)
def test_two_lost_canaries_in_a_row_are_an_alarm_and_one_is_an_accident(
    journeys: list[Journey], verdict: Verdict
) -> None:
    record = Record()
    for journey in journeys:
        record.note(journey)
    assert record.verdict is verdict


def test_webhook_that_tells_of_the_latest_answers_for_the_earlier_ones_that_it_replaced() -> None:
    deliveries = Deliveries()
    deliveries.expect(2400, sent=9.0, applied=10.0)
    deliveries.expect(2401, sent=19.0, applied=20.0)
    assert deliveries.delivered(2401, 21.5) == 1.5
    assert deliveries.delivered(2400, 22.0) is None
    assert deliveries.overdue(100.0, 30.0) == 0


def test_webhook_that_never_comes_is_given_up_once() -> None:
    deliveries = Deliveries()
    deliveries.expect(2400, sent=9.0, applied=10.0)
    assert deliveries.overdue(30.0, 30.0) == 0
    assert deliveries.overdue(41.0, 30.0) == 1
    assert deliveries.overdue(90.0, 30.0) == 0


def test_webhook_that_is_faster_than_the_look_at_the_tables_is_not_lost() -> None:
    deliveries = Deliveries()
    assert deliveries.delivered(2400, 10.5) is None
    assert deliveries.expect(2400, sent=9.0, applied=10.0) == 0.5
    assert deliveries.overdue(100.0, 30.0) == 0


def test_webhook_of_an_earlier_canary_with_the_same_score_does_not_answer_for_the_next() -> None:
    deliveries = Deliveries()
    assert deliveries.delivered(2400, 8.0) is None
    assert deliveries.expect(2400, sent=9.0, applied=10.0) is None
    assert deliveries.overdue(41.0, 30.0) == 1


def test_canarys_exam_is_one_that_the_import_takes_and_no_release_state_holds_back() -> None:
    exam = CanaryExam(load_registry(), 1, MAY)
    read = DocumentReader(load_registry())(Document(exam.document(2400, MAY), JSON, None))
    assert isinstance(read, Reading)
    assert not read.warnings
    assert (read.event.school, read.event.scale_score) == (canary_school(1), 2400)
    assert exam.field == f"2026:{TEST}:{GRADE}"
    assert not is_withheld_before_release(load_registry().at(2026, TEST, GRADE))


@pytest.mark.parametrize(("month", "year"), [(7, 2026), (8, 2027), (12, 2027)])
def test_canary_sends_for_the_school_year_that_it_is(month: int, year: int) -> None:
    assert CanaryExam(load_registry(), 1, datetime(2026, month, 1, tzinfo=UTC)).school_year == year


def test_each_canary_has_another_score_than_the_one_before_and_one_that_can_be() -> None:
    exam = CanaryExam(load_registry(), 1, MAY)
    lowest, highest = load_registry().at(2026, TEST, GRADE).score_range or (0, 0)
    scores = list(islice(exam.scores(highest), 2_000))
    assert scores[0] == lowest
    assert all(one != other for one, other in pairwise(scores))
    assert set(scores) == set(range(lowest, highest + 1))


def test_canaries_have_schools_of_their_own_in_the_canarys_county() -> None:
    assert len({canary_school(number) for number in range(1, 100)}) == 99
    assert all(is_canary(entry.cds) for number in (1, 99) for entry in canary_entries(number))
    with pytest.raises(InvalidInput, match="1 to 99"):
        canary_school(100)


def test_document_of_a_canary_has_no_sequence_because_the_import_gives_it_one() -> None:
    assert "sequence" not in msgspec.json.decode(CanaryExam(load_registry(), 1, MAY).document(2400, MAY))
