"""Corrected student identifiers: whatever the order, an exam is live under one student in the end."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.imports.histories import (
    ExamClaim,
    History,
    Holder,
    Version,
    exam_claim,
    tombstones_after,
    tombstones_before,
)
from schemas.events import ExamResult
from schemas.identifiers import StudentKey

EXAM = b"one exam ..."
START = datetime(2021, 5, 1, tzinfo=UTC)


class Index:
    """What the two scripts do."""

    def __init__(self) -> None:
        self.history = History(())

    def claim(self, claim: ExamClaim) -> History:
        if claim.holder not in self.history.holders:
            self.history = History((*self.history.holders, claim.holder), self.history.newest)
        return self.history

    def confirm(self, claim: ExamClaim) -> History:
        if self.history.newest is None or claim.version > self.history.newest[0]:
            self.history = History(self.history.holders, (claim.version, claim.holder))
        return self.history


class Log:
    """What the stream workers make of the events: by holder, the highest version and whether it is live."""

    def __init__(self) -> None:
        self.states: dict[Holder, tuple[Version, bool]] = {}

    def produce(self, holder: Holder, version: Version, live: bool) -> None:
        known = self.states.get(holder)
        assert known is None or known[0] != version or known[1] == live, "one version with two contents"
        if known is None or version > known[0]:
            self.states[holder] = (version, live)

    def live(self) -> list[tuple[Holder, Version]]:
        return [(holder, version) for holder, (version, live) in self.states.items() if live]


def steps(claim: ExamClaim, index: Index, log: Log):  # type: ignore[no-untyped-def]  # a generator of pauses
    """One import, pausing wherever another may run."""
    claimed = index.claim(claim)
    yield
    for holder, version in tombstones_before(claim, claimed):
        log.produce(holder, version, False)
    log.produce(claim.holder, claim.version, True)
    yield
    confirmed = index.confirm(claim)
    yield
    for holder, version in tombstones_after(claim, claimed, confirmed):
        log.produce(holder, version, False)


imports = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from([2020, 2021])), min_size=1, max_size=6
)


@given(imports=imports, order=st.randoms(use_true_random=False))
def test_imports_of_one_exam_in_any_order_and_at_once_leave_it_live_under_the_newest_student_alone(
    imports: list[tuple[int, int, int]], order: random.Random
) -> None:
    index, log = Index(), Log()
    claims = [
        ExamClaim(
            EXAM,
            Holder(StudentKey(f"{student:024x}"), year),
            Version(START + timedelta(days=day), sequence),
        )
        for sequence, (student, day, year) in enumerate(imports, 1)
    ]
    running = [steps(claim, index, log) for claim in claims]
    while running:
        one = order.choice(running)
        if next(one, "ended") == "ended":
            running.remove(one)

    newest = max(claims, key=lambda claim: claim.version)
    assert log.live() == [(newest.holder, newest.version)]


@given(imports=imports, order=st.randoms(use_true_random=False), crashes=st.sets(st.integers(0, 5)))
def test_imports_that_break_off_anywhere_are_repaired_by_sending_them_again(
    imports: list[tuple[int, int, int]], order: random.Random, crashes: set[int]
) -> None:
    index, log = Index(), Log()
    documents = [
        (Holder(StudentKey(f"{student:024x}"), year), START + timedelta(days=day))
        for student, day, year in imports
    ]
    claims = [ExamClaim(EXAM, holder, Version(date, n)) for n, (holder, date) in enumerate(documents, 1)]
    running = {number: steps(claim, index, log) for number, claim in enumerate(claims)}
    sequence, again = len(claims), Counter[int]()
    while running:
        number = order.choice(sorted(running))
        broken = number in crashes and not again[number] and order.random() < 0.5
        if broken:
            again[number] += 1
            sequence += 1
            holder, date = documents[number]
            claims[number] = ExamClaim(EXAM, holder, Version(date, sequence))
            running[number] = steps(claims[number], index, log)
        elif next(running[number], "ended") == "ended":
            del running[number]

    newest = max(claims, key=lambda claim: claim.version)
    assert log.live() == [(newest.holder, newest.version)]


def test_a_history_survives_its_bytes() -> None:
    holder = Holder(StudentKey("0123456789abcdef01234567"), 2021)
    other = Holder(StudentKey("f" * 24), 2020)
    version = Version(datetime(2021, 5, 10, 10, 0, 0, 123456, tzinfo=UTC), 1_700_000_000_000_001)
    packed = version.packed() + other.packed() + holder.packed() + other.packed()

    assert History.unpack(packed) == History((holder, other), (version, other))
    assert History.unpack(bytes(30) + holder.packed()) == History((holder,), None)


def test_versions_in_bytes_sort_as_versions_do() -> None:
    ascending = [
        Version(datetime(1, 1, 1, tzinfo=UTC), 2**62),
        Version(datetime(1969, 12, 31, tzinfo=UTC), 1),
        Version(START, 255),
        Version(START, 256),
        Version(START + timedelta(microseconds=1), 1),
        Version(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), 0),
    ]

    assert sorted(ascending, key=Version.packed) == ascending


def test_the_same_opportunity_id_in_two_assessments_is_two_exams() -> None:
    def claim(assessment: str) -> ExamClaim:
        exam = ExamResult(
            assessment_id=assessment,
            opportunity_id="100150",
            school_year=2021,
            status="scored",
            status_date=START,
            sequence=1,
        )
        return exam_claim(exam, StudentKey("0" * 24))

    assert claim("grade 4").exam != claim("grade 6").exam
