"""What the tables of a partition must be: a recount of the plain facts of its log, by brute force."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from schemas.aggregates import MEASURES_AT_MOST, Cell
from schemas.shares import unpack_share
from simulation.history import Fact
from streams import rows

# Counts without trailing zeros (results, with scores, under appeal, then the levels), sum, sum of squares, histogram.
Counted = tuple[tuple[int, ...], int, int, tuple[tuple[int, int], ...]]
NOTHING: Counted = ((), 0, 0, ())

CellName = tuple[str, str]  # organization, "year:test:grade"
ExamName = tuple[str, bytes]  # student, exam


class Tables(NamedTuple):
    """The contents of one partition's tables, in plain terms."""

    exams: dict[ExamName, tuple[int, int]]  # newest version
    live: frozenset[ExamName]
    cells: dict[CellName, Counted]


def recount(facts: Iterable[Fact]) -> Tables:
    """The tables that these events amount to, in this order."""
    newest: dict[ExamName, Fact] = {}
    for fact in facts:
        known = newest.get((fact.student, fact.exam))
        if known is None or fact.version > known.version:
            newest[fact.student, fact.exam] = fact
    counting: dict[tuple[str, str], Fact] = {}
    for fact in newest.values():
        rival = counting.get((fact.student, fact.unit))
        if fact.live and (rival is None or _precedence(fact) > _precedence(rival)):
            counting[fact.student, fact.unit] = fact
    counted: dict[CellName, list[Fact]] = {}
    for fact in counting.values():
        school = fact.school
        for organization in (school, school[:7] + "0" * 7, school[:2] + "0" * 12, "0" * 14):
            counted.setdefault((organization, fact.cell), []).append(fact)
    return Tables(
        {name: fact.version for name, fact in newest.items()},
        frozenset(name for name, fact in newest.items() if fact.live),
        {name: _count(facts) for name, facts in counted.items()},
    )


def _precedence(fact: Fact) -> tuple[bool, int, tuple[int, int]]:
    return fact.scored, fact.completed_us, fact.version


def _count(facts: list[Fact]) -> Counted:
    counts = [len(facts)] + [0] * 30
    histogram: dict[int, int] = {}
    for fact in facts:
        if not fact.scored:
            continue
        counts[1] += 1
        counts[2] += fact.appeal
        for slot in fact.slots:
            counts[slot] += 1
        histogram[fact.score] = histogram.get(fact.score, 0) + 1
    scores = [fact.score for fact in facts if fact.scored]
    return _stripped(counts), sum(scores), sum(score**2 for score in scores), tuple(sorted(histogram.items()))


def _stripped(counts: list[int]) -> tuple[int, ...]:
    end = len(counts)
    while end and not counts[end - 1]:
        end -= 1
    return tuple(counts[:end])


def stored_exams(unit: bytes, row: bytes) -> dict[ExamName, tuple[tuple[int, int], bool]]:
    """What a stored row says: the version of each exam, and whether it lives."""
    student = unit[:12].hex()
    return {
        (student, row[start + 1 : start + 9]): (rows.version(row, start), row[start] == rows.LIVE)
        for start, _ in rows.exams(row)
    }


def counted(cell: Cell) -> Counted:
    """A cell of totals in plain terms."""
    counts = [cell.results, cell.with_scores, cell.under_appeal]
    for measure in range(MEASURES_AT_MOST):
        counts += cell.level_counts(measure)
    return _stripped(counts), cell.score_sum, cell.score_sum_sq, tuple(cell.scores())


@lru_cache(maxsize=50_000)
def version_and_count(recent: bytes, settled: bytes | None) -> tuple[int, Counted]:
    """A stored share's version, and itself in plain terms."""
    share = unpack_share(recent, settled)
    return share.version, counted(share.totals())


def differences(expected: Mapping[CellName, Counted], found: Mapping[CellName, Counted]) -> list[str]:
    """Each cell that is not what it must be, told in one line."""
    return [
        f"{name[0]} {name[1]}: expected {expected.get(name, NOTHING)}, found {found.get(name, NOTHING)}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name, NOTHING) != found.get(name, NOTHING)
    ]
