"""The core of the stream processor: what a batch of events changes. It knows neither Faust nor Redis.

    records -> Reader.read -> decide(events, stored exams) -> Decision -> add_up(decision, cells) -> changed cells

``decide`` applies each event to its student's exams and notes which contribution goes and which comes. ``add_up`` retracts
and adds them in the cells of the school, its district, its county and the state. A student's contribution is retracted
from the very cells it was added to, wherever the student is now: the stored exam says which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from schemas.aggregates import Cell, CellField
from schemas.identifiers import OrganizationId, ancestry
from schemas.rejections import Reason
from streams.reading import Incoming, Rejection
from streams.scoring import Outcome, Placed, StoredExam, counting, school_code, supersede

CellKey = tuple[OrganizationId, CellField]


@dataclass(slots=True)
class Decision:
    """What a batch changes: rows to write, contributions to retract and add, and what became of each event."""

    units: dict[bytes, tuple[str, list[StoredExam]]] = field(
        default_factory=dict
    )  # unit -> student, exams to write
    retracted: list[Placed] = field(default_factory=list)
    added: list[Placed] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    outcomes: Counter[Outcome] = field(default_factory=Counter)


def decide(events: Iterable[Incoming], stored: Mapping[bytes, list[StoredExam]]) -> Decision:
    """Apply events, in log order, to their students' exams.

    Of several events for one student only the difference between before and after reaches the cells, so a batch
    that scores and rescores an exam costs one addition.
    """
    decision = Decision()
    outcomes = decision.outcomes
    current = decision.units
    for incoming in events:
        unit = incoming.unit
        known = current.get(unit)
        exams = known[1] if known is not None else stored.get(unit, _NO_EXAMS)
        outcome, after = supersede(exams, incoming.exam)
        outcomes[outcome] += 1
        if outcome is Outcome.APPLIED:
            current[unit] = (incoming.student, after)
        elif outcome is Outcome.CONTRADICTION:
            detail = "another event has this version of the exam and says something else; send it with a later status date"
            decision.rejected.append(Rejection(incoming.record, Reason.CONTRADICTION, detail))
    for unit, (_, after) in current.items():
        old = counting(stored.get(unit, _NO_EXAMS))
        new = counting(after)
        if old != new:
            if old is not None:
                decision.retracted.append(old)
            if new is not None:
                decision.added.append(new)
    return decision


def touched(decision: Decision) -> set[CellKey]:
    """The cells that a decision changes; the caller provides them to ``add_up``."""
    keys: set[CellKey] = set()
    for placed in (*decision.retracted, *decision.added):
        cell = placed.cell
        for organization in organizations_above(placed.school):
            keys.add((organization, cell))
    return keys


def add_up(decision: Decision, cells: Mapping[CellKey, Cell]) -> None:
    """Retract and add in place, in every touched cell, and move the touched cells' versions on.

    Additions come first: a student who only changes score must not let a count dip below zero on the way.

    Raises:
        AggregateUnderflow: the cells are not the sum of the stored exams.
    """
    changed: set[CellKey] = set()
    for placed in decision.added:
        for organization in organizations_above(placed.school):
            key = (organization, placed.cell)
            cells[key].apply(placed.part)
            changed.add(key)
    for placed in decision.retracted:
        for organization in organizations_above(placed.school):
            key = (organization, placed.cell)
            cells[key].retract(placed.part)
            changed.add(key)
    for key in changed:
        cells[key].version += 1


@lru_cache(maxsize=32_768)  # more than there are schools
def organizations_above(school: int) -> tuple[OrganizationId, ...]:
    """The school and all above it: school, district, county, state."""
    return ancestry(school_code(school))


_NO_EXAMS: list[StoredExam] = []
