"""The recount: what the aggregates must be, counted from scratch by the plainest means.

It shares nothing with the stream processor: no packed cells, no retracting, no batches. It remembers the newest version
of every exam, and when asked counts them all again. The rules, in the order in which they are applied:

1. An event is refused when it names an assessment that the registry refuses, no student or school, a school that is not
   in the directory, or a grade, score or level that its assessment does not have. A reset needs its exam only.
2. Of the versions of an exam (student, assessment id, opportunity id) the highest counts: the latest status date, and of
   equal ones the highest sequence. The order of arrival is of no importance.
3. A student has one result for each assessment and year: of the exams that are not reset, the one with a countable
   score that was completed last; without any countable score, the one completed last. Of exams completed at the same
   moment the one with the highest version is taken. An exam without completion counts as completed at its status date.
4. The result is counted at its school, the school's district, its county and the state; a canary's not for the state, and
   the exams that name a canary's school are another student's than those that do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final, Literal, NamedTuple

from msgspec import Struct, field

from schemas.assessments import Assessment, Registry
from schemas.errors import InvalidInput, UnknownAssessment
from schemas.events import ExamResult
from schemas.identifiers import Grade, OrganizationId, ancestry, is_canary

# The statuses whose score counts when there is one: all but invalidated and reset.
_MAY_COUNT: Final = frozenset(
    ["scored", "completed", "reported", "appeal", "submitted", "handscoring", "pending", "paused", "expired"]
)


class CellId(NamedTuple):
    """Which figures: an organization's code, and "year:test:grade"."""

    cds: str
    cell: str


class CountedCell(Struct, omit_defaults=True):
    """Recounted figures of one organization, test, grade and year."""

    results: int = 0
    with_scores: int = 0
    under_appeal: int = 0
    score_sum: int = 0
    score_sum_sq: int = 0
    levels: list[int] = field(default_factory=list)  # students per level, lowest first
    claims: dict[str, list[int]] = field(default_factory=dict)  # students per level, by the claim's code
    histogram: dict[int, int] = field(default_factory=dict)  # students per score


class _Exam(NamedTuple):
    """The newest version of one exam, in what matters for counting."""

    assessment: Assessment
    version: tuple[datetime, int]
    live: bool
    completed: datetime
    school: str
    grade: str
    countable: bool
    under_appeal: bool
    score: int
    level: int
    claims: tuple[tuple[str, int], ...]


class Recount:
    """Takes events in any order, any number of times; ``cells`` counts what they amount to.

    ``outcomes`` counts what became of the events in the order they came, as the stream processor would: applied,
    duplicate, stale, or refused and why.
    """

    def __init__(
        self,
        registry: Registry,
        schools: Collection[str],
        attribution: Literal["current", "tested"] = "current",
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self._registry = registry
        self._schools = frozenset(schools)
        self._attribution = attribution
        # (student, whether a canary's) -> (assessment id, opportunity id) -> newest version
        self._exams: dict[tuple[str, bool], dict[tuple[str, int, str], _Exam]] = {}
        self._assessments: dict[tuple[str, int], Assessment] = {}

    def add(self, key: str, event: ExamResult) -> None:
        """Take one event of the student whose record key is ``key``."""
        try:
            exam = self._read(event)
        except UnknownAssessment:
            self.outcomes["rejected: assessment"] += 1
            return
        except _Refused as refusal:
            self.outcomes[f"rejected: {refusal}"] += 1
            return
        canary = any(
            is_canary(school) for school in (event.school, event.tested_school) if school is not None
        )
        exams = self._exams.setdefault((key, canary), {})
        # The year belongs to an exam's identity: an assessment id without one is another assessment in another year.
        name = (event.assessment_id, exam.assessment.school_year, event.opportunity_id)
        known = exams.get(name)
        if known is not None and known.version > exam.version:
            self.outcomes["stale"] += 1
        elif known is not None and known.version == exam.version:
            self.outcomes["duplicate" if known == exam else "contradiction"] += 1
        else:
            exams[name] = exam
            self.outcomes["applied"] += 1

    def cells(self) -> dict[CellId, CountedCell]:
        """The figures of every organization, test, grade and year that has a result."""
        cells: dict[CellId, CountedCell] = {}
        for exams in self._exams.values():
            for exam in _results(exams.values()):
                cell = f"{exam.assessment.school_year}:{exam.assessment.test}:{exam.grade}"
                for organization in ancestry(OrganizationId(exam.school)):
                    name = CellId(organization, cell)
                    if name not in cells:
                        cells[name] = _empty_cell(exam.assessment)
                    _count(cells[name], exam)
        return cells

    def _read(self, event: ExamResult) -> _Exam:
        assessment = self._assessment(event)
        version = (event.status_date, event.sequence)
        if event.school and event.tested_school and is_canary(event.school) != is_canary(event.tested_school):
            raise _Refused("canary")
        if event.status == "reset":
            return _Exam(assessment, version, False, event.status_date, "", "", False, False, 0, 0, ())
        if event.student_id is None or event.school is None:
            raise _Refused("no student or no school")
        school = event.school
        if self._attribution == "tested" and event.tested_school is not None:
            school = event.tested_school
        if school not in self._schools:
            raise _Refused("unknown school")
        enrolled = event.enrolled_grade or event.grade
        try:
            grade = assessment.cell_grade(Grade(enrolled) if enrolled else None)
        except InvalidInput as error:
            raise _Refused("grade") from error
        if event.level is not None and event.level > len(assessment.levels):
            raise _Refused("level")
        if event.scale_score is not None and assessment.score_range is not None:
            lowest, highest = assessment.score_range
            if event.scale_score < lowest or event.scale_score > highest:
                raise _Refused("score")
        countable = (
            event.scale_score is not None
            and event.level is not None
            and event.status in _MAY_COUNT
            and event.validity != "invalid"
            and event.condition != "IN"
            and event.include_indicator in (None, "Y")
            and event.attempted != "N"
        )
        return _Exam(
            assessment=assessment,
            version=version,
            live=True,
            completed=event.completed if event.completed is not None else event.status_date,
            school=school,
            grade=grade,
            countable=countable,
            under_appeal=countable and event.status == "appeal",
            score=event.scale_score or 0 if countable else 0,
            level=event.level or 0 if countable else 0,
            claims=_claims(assessment, event) if countable else (),
        )

    def _assessment(self, event: ExamResult) -> Assessment:
        name = (event.assessment_id, event.school_year)
        if name not in self._assessments:
            self._assessments[name] = self._registry.resolve(*name)
        return self._assessments[name]


class _Refused(Exception):
    """The event cannot be counted; the text says why."""


def _claims(assessment: Assessment, event: ExamResult) -> tuple[tuple[str, int], ...]:
    levels_of = {claim.code: len(claim.levels) for claim in assessment.claims}
    counted: dict[str, int] = {}
    for claim in event.claims:
        if claim.level is None or claim.code not in levels_of:
            continue
        if claim.level > levels_of[claim.code]:
            raise _Refused("claim level")
        if claim.code in counted:
            raise _Refused("claim reported twice")
        counted[claim.code] = claim.level
    return tuple(sorted(counted.items()))


def _results(exams: Iterable[_Exam]) -> list[_Exam]:
    """Of one student's exams those that count: one for each assessment and year."""
    chosen: dict[tuple[int, str, Grade], _Exam] = {}
    for exam in exams:
        if not exam.live:
            continue
        test = (exam.assessment.school_year, exam.assessment.test, exam.assessment.grades[0])
        rival = chosen.get(test)
        if rival is None or _precedence(exam) > _precedence(rival):
            chosen[test] = exam
    return list(chosen.values())


def _precedence(exam: _Exam) -> tuple[bool, datetime, tuple[datetime, int]]:
    return exam.countable, exam.completed, exam.version


def _empty_cell(assessment: Assessment) -> CountedCell:
    return CountedCell(
        levels=[0] * len(assessment.levels),
        claims={claim.code: [0] * len(claim.levels) for claim in assessment.claims},
    )


def _count(counted: CountedCell, exam: _Exam) -> None:
    counted.results += 1
    if not exam.countable:
        return
    counted.with_scores += 1
    counted.under_appeal += exam.under_appeal
    counted.score_sum += exam.score
    counted.score_sum_sq += exam.score * exam.score
    counted.levels[exam.level - 1] += 1
    counted.histogram[exam.score] = counted.histogram.get(exam.score, 0) + 1
    for code, level in exam.claims:
        counted.claims[code][level - 1] += 1
