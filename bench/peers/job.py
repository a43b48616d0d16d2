"""The job that every peer does: of each exam the newest version counts, on four organization levels.

It is less than ours: seven figures a cell (we keep claims, squares, appeals and every score besides), no registry, no
pseudonyms, no directory, and each exam counts, where we choose one of a student's several. What is left is what the
engines are compared in: state of millions of exams, retraction, regrouping by organization, and Redis.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

FIGURES: Final = ("results", "with_scores", "score_sum", "level_1", "level_2", "level_3", "level_4")
STATE: Final = "0" * 14

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

Figures = tuple[int, ...]  # as FIGURES names them


class Exam(Struct, frozen=True, gc=False):
    """The fields of a result event that the job needs."""

    assessment_id: str
    opportunity_id: str
    status: str
    status_date: datetime
    sequence: int
    school: str | None = None
    grade: str | None = None
    scale_score: int | None = None
    level: int | None = None


class Version(NamedTuple):
    """One version of an exam: what orders it, and what it contributes."""

    date_us: int
    sequence: int
    school: str  # empty after a reset: nothing is counted
    cell: str  # "assessment id:grade", the latter empty where a test spans grades
    score: int
    level: int  # 0 without a score


decode: Final = msgspec.json.Decoder(Exam).decode


def exam_id(exam: Exam) -> str:
    """What identifies an exam through all its versions."""
    return f"{exam.assessment_id}/{exam.opportunity_id}"


def version_of(exam: Exam) -> Version:
    """The version that an event describes."""
    date_us = (exam.status_date - _EPOCH) // _MICROSECOND
    if exam.status == "reset" or exam.school is None:
        return Version(date_us, exam.sequence, "", "", 0, 0)
    cell = f"{exam.assessment_id}:{exam.grade or ''}"
    if exam.status == "invalidated" or exam.scale_score is None or exam.level is None:
        return Version(date_us, exam.sequence, exam.school, cell, 0, 0)
    return Version(date_us, exam.sequence, exam.school, cell, exam.scale_score, exam.level)


def supersedes(new: Version, old: Version | None) -> bool:
    """Whether a version replaces the stored one; the same version again does not."""
    return old is None or (new.date_us, new.sequence) > (old.date_us, old.sequence)


def figures_of(version: Version) -> Figures:
    """What a version that names a school adds to each of its four cells."""
    level = version.level
    if not level:
        return (1, 0, 0, 0, 0, 0, 0)
    return (1, 1, version.score, int(level == 1), int(level == 2), int(level == 3), int(level == 4))


def organizations(school: str) -> tuple[str, str, str, str]:
    """School, district, county and state."""
    return school, school[:7] + "0000000", school[:2] + "000000000000", STATE


def changes(old: Version | None, new: Version) -> Iterator[tuple[str, str, Figures]]:
    """Organization, cell and difference of figures for each cell that a new version touches."""
    if old is not None and old.school:
        away = tuple(-figure for figure in figures_of(old))
        for organization in organizations(old.school):
            yield organization, old.cell, away
    if new.school:
        more = figures_of(new)
        for organization in organizations(new.school):
            yield organization, new.cell, more


def to_text(version: Version) -> str:
    """A version as it is stored by those peers whose state lies in Redis."""
    return "|".join(map(str, version))


def from_text(text: str) -> Version:
    """A stored version."""
    date_us, sequence, school, cell, score, level = text.split("|")
    return Version(int(date_us), int(sequence), school, cell, int(score), int(level))
