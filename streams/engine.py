"""The core of the stream processor: what a batch of events changes. It knows neither Faust nor Redis.

    records -> Reader.read -> decide(events, stored rows) -> Decision -> add_up(decision, shares) -> changed shares

``decide`` applies each event to its student's exams and notes which contribution goes and which comes. ``add_up`` retracts
and adds them in the cells of the school, its district, its county and the state. A student's contribution is retracted
from the very cells it was added to, wherever the student is now: the stored row says which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from schemas.aggregates import CellField
from schemas.changes import ResultNote
from schemas.identifiers import OrganizationId, ancestry
from schemas.rejections import Reason
from schemas.shares import Share
from streams.reading import Counted, Incoming, Rejection, SchoolCell
from streams.result_notes import note_on
from streams.rows import Row, grade_number, school_code, school_number
from streams.scoring import Outcome, counting, supersede

CellKey = tuple[OrganizationId, CellField]

# The shares that a school's contribution changes: the school's own, its district's, its county's and the state's.
Chain = tuple[Share, ...]

_CONTRADICTION = (
    "another event has this version of the exam and says something else; send it with a later status date"
)


@dataclass(slots=True)
class Decision:
    """What a batch changes: rows to write, contributions to retract and add, and what became of each event.

    ``notes`` say whose counted result is another now, or counts no more; they change nothing.
    """

    rows: dict[bytes, Row] = field(default_factory=dict)
    retracted: list[Counted] = field(default_factory=list)
    added: list[Counted] = field(default_factory=list)
    notes: list[ResultNote] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    outcomes: Counter[Outcome] = field(default_factory=Counter)


def decide(events: Iterable[Incoming], stored: Mapping[bytes, Row]) -> Decision:
    """Apply events, in log order, to their students' exams.

    Of several events for one student only the difference between before and after reaches the cells, so a batch
    that scores and rescores an exam costs one addition.
    """
    decision = Decision()
    rows = decision.rows
    latest: dict[bytes, Incoming] = {}
    changing: dict[bytes, list[Incoming]] = {}  # what was applied to stored rows
    newcomers = 0
    for incoming in events:
        unit = incoming.unit
        row = rows.get(unit) or stored.get(unit)
        if row is None:  # nearly always
            newcomers += 1
            rows[unit] = incoming.exam
            latest[unit] = incoming
            continue
        outcome, after = supersede(row, incoming.exam)
        decision.outcomes[outcome] += 1
        if outcome is Outcome.APPLIED:
            rows[unit] = after
            latest[unit] = incoming
            if unit in stored:
                changing.setdefault(unit, []).append(incoming)
        elif outcome is Outcome.CONTRADICTION:
            decision.rejected.append(Rejection(incoming.record, Reason.CONTRADICTION, _CONTRADICTION))
    decision.outcomes[Outcome.APPLIED] += newcomers
    for unit, after in rows.items():
        incoming = latest[unit]
        before = stored.get(unit)
        old = _counting(before, incoming.fields) if before is not None else None
        new = incoming.counted if after is incoming.exam else _counting(after, incoming.fields)
        if old != new:
            if old is not None and before is not None:
                decision.retracted.append(old)
                note = note_on(before, after, changing[unit])
                if note is not None:
                    decision.notes.append(note)
            if new is not None:
                decision.added.append(new)
    return decision


def add_up(decision: Decision, chains: Mapping[SchoolCell, Chain]) -> list[Share]:
    """Retract and add in place; returns the shares that changed, their versions moved on.

    Additions come first: a student who only changes score must not let a count dip below zero on the way.

    Args:
        decision: from ``decide``.
        chains: of every school and cell in the decision.

    Raises:
        AggregateUnderflow: the shares are not the sum of the stored rows.
    """
    changed: dict[Share, None] = {}  # in the order in which they were met
    for cell, part in decision.added:
        for share in chains[cell]:
            share.recent.append(part)
            changed[share] = None
    for cell, part in decision.retracted:
        for share in chains[cell]:
            share.retract(part)
            changed[share] = None
    for share in changed:
        share.version += 1
    return list(changed)


@lru_cache(maxsize=32_768)  # more than there are schools
def organizations_above(school: int) -> tuple[OrganizationId, ...]:
    """The school and all above it: school, district, county, state; of a canary's, its county last."""
    return ancestry(school_code(school))


def _counting(row: Row, fields: tuple[CellField, ...]) -> Counted | None:
    found = counting(row)
    if found is None:
        return None
    place, part = found
    return (school_number(place), fields[grade_number(place)]), part
