"""The exam that a canary sends: always the same one, each time with another score, so that each time a cell changes; pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from schemas.aggregates import CellField, cell_field
from schemas.assessments import Assessment, Registry
from schemas.canary import canary_school
from schemas.events import ExamResult, encode_event
from schemas.identifiers import Grade, OrganizationId, TestCode

# An interim: no release state holds it back, so it shows what everybody's live results do.
TEST: Final = TestCode("ELA-ICA")
GRADE: Final = Grade("04")
_SCHOOL_YEAR_ENDS: Final = 7  # July


class CanaryExam:
    """The exam of one canary in one school year."""

    def __init__(self, registry: Registry, number: int, today: datetime) -> None:
        self.school: OrganizationId = canary_school(number)
        self.school_year = today.year + (today.month > _SCHOOL_YEAR_ENDS)
        self.field: CellField = cell_field(self.school_year, TEST, GRADE)
        self._student = f"CANARY-{number}"
        self._assessment: Assessment = registry.at(self.school_year, TEST, GRADE)
        self._name = registry.natural_id(TEST, GRADE, self.school_year)

    def scores(self, start: int) -> Iterator[int]:
        """Scores without end, each another than the one before and another than ``start``."""
        lowest, highest = self._assessment.score_range or (0, 4095)
        span = highest - lowest + 1
        at = start - lowest
        while True:
            at = (at + 1) % span
            yield lowest + at

    def document(self, score: int, now: datetime) -> bytes:
        """The exam with this score, as the import takes it."""
        event = ExamResult(
            assessment_id=self._name,
            opportunity_id=self._student,
            school_year=self.school_year,
            status="scored",
            status_date=now,
            sequence=0,  # the import gives it one
            student_id=self._student,
            school=self.school,
            grade=GRADE,
            completed=now,
            scale_score=score,
            level=self._assessment.level_for(score),
        )
        fields = msgspec.json.decode(encode_event(event))
        del fields["sequence"]
        return msgspec.json.encode(fields)
