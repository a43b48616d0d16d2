"""The published world of one family: one school year, test and grade.

The schools are parted into *blocks*; a block's totals are published as they stood at its last *statement*, and a total of
a district, county or the state is the sum of the blocks inside it. A school without block waits: no total contains it.
Each statement contains at least 11 students' results that no earlier one does. Why that is enough, and what it costs, is
in ``docs/disclosure.md``.

A round, in this order:

1. the schools' totals are observed; what is no longer released is taken back;
2. what stands for fewer than 11 students by now is taken back;
3. schools leave pools, and blocks move, where the rules allow it;
4. schools that wait are shown, alone or as pools;
5. if anything published changed, organizations that are new to the public are marked as suppressed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from schemas.disclosure.block import Block, Statement, new_students, statement
from schemas.disclosure.held import NOBODY, Held, total
from schemas.disclosure.rules import MINIMUM, RULES, SETTLED_MS, Rules
from schemas.disclosure.school import School
from schemas.disclosure.stored import pack_schools, unpack_schools
from schemas.identifiers import STATE, OrganizationId, ancestry, county_of, district_of

NOTHING: Final[Mapping[OrganizationId, Held]] = {}


class Round(NamedTuple):
    """What one round changed of what is published."""

    changed: Mapping[OrganizationId, Held | None]  # the published totals from now on; None: suppressed
    gone: frozenset[OrganizationId]  # nothing is published any more, not even that it is suppressed


class Family:
    """The published world of one school year, test and grade; not safe for threads."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules = rules
        self.schools: dict[OrganizationId, School] = {}
        self.left_before = 0  # students that left a level of a school in the round before, at least
        self._shown: dict[OrganizationId, Held | None] = {}
        self._inside: dict[OrganizationId, dict[Block, None]] = {}  # live blocks by organization
        self._marks: dict[OrganizationId, int] = {}  # released schools the public knows of, by organization
        self._touched: set[OrganizationId] = set()
        self._has_moved = False

    def publish(
        self,
        actual: Mapping[OrganizationId, Held],
        now_ms: int,
        withheld: Mapping[OrganizationId, Held] = NOTHING,
    ) -> Round:
        """One round.

        ``actual`` are the totals of every school of every released district; a school that is missing is no longer
        released, and what was published of it is taken back. ``withheld`` are the totals of all other schools: nothing of
        them is published, but students may move from there and back. ``now_ms`` is Redis time.
        """
        self._touched, self._has_moved = set(), False
        observed = self._observe({**withheld, **actual}, now_ms)
        changed = self._release(actual, observed, now_ms)
        for block in {school.block: None for school in changed if school.block}:
            self._reconsider(block)
        self._show_waiting(now_ms)
        if self._has_moved:
            self._mark()
        return self._round()

    def published(self) -> Mapping[OrganizationId, Held | None]:
        """All that is published now; None: suppressed."""
        return self._shown

    def pack(self) -> bytes:
        """The stored form; whoever publishes stores it together with what it published."""
        return pack_schools(self.schools.values(), self.left_before)

    def restore(self, schools: Iterable[School], left_before: int) -> None:
        """Become the family of a stored form (``schemas.disclosure.stored``)."""
        self.schools = {school.organization: school for school in schools}
        self.left_before = left_before
        for school in self.schools.values():
            if school.is_marked and school.is_present:
                self._count_mark(school, 1)
        for block in {school.block: None for school in self.schools.values() if school.block}:
            if block.is_whole:
                self._put_up(block)
        self._round()

    def _observe(self, totals: Mapping[OrganizationId, Held], now_ms: int) -> list[School]:
        """Note all schools' totals of now; the schools whose totals changed."""
        arrived: list[tuple[School, Held]] = []
        for organization, held in totals.items():
            school = self.schools.get(organization)
            if school is None:
                school = self.schools[organization] = School(organization, now_ms)
            if school.actual != held:
                arrived.append((school, held))
        # By level, because a school may gain as many as it loses. Rescores within a school count here, too; they do no harm,
        # because what came from elsewhere is at most what a school has grown by.
        left = sum(
            max(0, before - after)
            for school, held in arrived
            for before, after in zip(school.actual.level_counts(), held.level_counts(), strict=True)
        )
        for school, held in arrived:
            # A student who moves is taken from one school and given to the other in one step, but we may have read the
            # one school before it and the other after it.
            school.observe(held, now_ms, left + self.left_before, self.rules)
        self.left_before = left
        return [school for school, _ in arrived]

    def _release(
        self, released: Mapping[OrganizationId, Held], observed: Iterable[School], now_ms: int
    ) -> list[School]:
        """Note which schools are released now; those whose totals or release changed."""
        changed = [school for school in observed if school.is_present]
        for organization, school in self.schools.items():
            if school.is_present == (organization in released):
                continue
            school.is_present = not school.is_present
            if school.is_present:
                school.seen_ms = now_ms
            if school.is_marked:
                self._count_mark(school, 1 if school.is_present else -1)
            changed.append(school)
        return changed

    def _reconsider(self, block: Block) -> None:
        """Take a block back, let schools leave it, or let it move."""
        if not block.is_whole:
            self._take_down(block)
            return
        if self.rules.hides(block.students):
            self._dissolve(block)
            return
        self._put_up(block)  # its schools may be back: it says what it said
        if len(block.schools) > 1 and self._let_leave(block):
            return
        # A pool of several schools that could soon be shown alone is not moved by each new student, or none of them ever
        # had 11 new ones to leave with.
        growing = sum(
            school.actual.with_scores >= MINIMUM and school.new_students(0) > 0 for school in block.schools
        )
        if growing > 1 and new_students(block.schools) < MINIMUM * growing:
            return
        if told := statement(block.schools, self.rules, block.held):
            self._tell(block, told)

    def _let_leave(self, pool: Block) -> bool:
        """Show one school of a pool alone, if it and the rest have enough new results, or the rest is the lesser loss."""
        for school in sorted(pool.schools, key=lambda school: -school.new_students(0)):
            alone = statement((school,), self.rules)
            if not alone:
                continue
            rest = [other for other in pool.schools if other is not school]
            told = statement(rest, self.rules, is_pool=True)
            if told or sum(s.actual.with_scores for s in rest) < school.new_students(0):
                self._dissolve(pool)
                self._form((school,), alone)
                if told:
                    self._form(rest, told)
                return True
        return False

    def _show_waiting(self, now_ms: int) -> None:
        """Show schools that no total contains: alone, or what is too small as pools, in the district if it can be."""
        waiting = [
            school
            for school in self.schools.values()
            if school.is_present
            and school.actual.with_scores
            and not (school.block and school.block.is_live)
            and school.new_students(0) > 0
        ]
        for schools in _by(waiting, district_of):
            self._show_district(schools, now_ms)
        for around in (county_of, lambda _: STATE):
            settled = [school for school in waiting if not _is_live(school) and _is_settled(school, now_ms)]
            for schools in _by(settled, around):
                if told := statement(schools, self.rules, is_pool=True):
                    self._form(schools, told)

    def _show_district(self, waiting: Sequence[School], now_ms: int) -> None:
        good: list[tuple[School, Statement]] = []
        pool: list[School] = []
        for school in waiting:
            if told := statement((school,), self.rules):
                good.append((school, told))
            elif school.seen_ms == now_ms or _is_settled(school, now_ms):
                pool.append(school)
        told_pool = statement(pool, self.rules, is_pool=True) if pool else None
        # With a release all results come at once, and the district's total is to have them all: the smallest school is
        # given up for it. Schools that came one by one are not hidden for those that follow.
        if pool and not told_pool and all(school.seen_ms == now_ms for school in pool):
            new_here = [pair for pair in good if pair[0].seen_ms == now_ms]
            if new_here:
                least = min(new_here, key=lambda pair: (pair[0].actual.with_scores, pair[0].organization))
                pool.append(least[0])
                if told_pool := statement(pool, self.rules, is_pool=True):
                    good.remove(least)
        if told_pool:
            self._form(pool, told_pool)
        for school, told in good:
            self._form((school,), told)

    def _form(self, schools: Sequence[School], told: Statement) -> None:
        for school in schools:
            if school.block:  # it had schools that are not released any more
                self._dissolve(school.block)
        block = Block(schools, NOBODY)
        for school in schools:
            school.block = block
        self._tell(block, told)
        self._put_up(block)

    def _tell(self, block: Block, told: Statement) -> None:
        block.held = told.held
        for school in block.schools:
            school.tell(told.measures)
        self._touch(block)

    def _dissolve(self, block: Block) -> None:
        self._take_down(block)
        for school in block.schools:
            school.block = None

    def _put_up(self, block: Block) -> None:
        if block.is_live:
            return
        block.is_live = True
        for organization in ancestry(block.organization):
            self._inside.setdefault(organization, {})[block] = None
        self._touch(block)

    def _take_down(self, block: Block) -> None:
        if not block.is_live:
            return
        block.is_live = False
        for organization in ancestry(block.organization):
            del self._inside[organization][block]
        self._touch(block)

    def _touch(self, block: Block) -> None:
        self._has_moved = True
        self._touched.update(ancestry(block.organization))

    def _mark(self) -> None:
        """Let the public know of schools that have results; only with other news, or the mark itself would tell when."""
        for school in self.schools.values():
            if not school.is_marked and school.is_present and school.actual.with_scores:
                school.is_marked = True
                self._count_mark(school, 1)

    def _count_mark(self, school: School, step: int) -> None:
        for organization in ancestry(school.organization):
            self._marks[organization] = self._marks.get(organization, 0) + step
            self._touched.add(organization)

    def _round(self) -> Round:
        changed: dict[OrganizationId, Held | None] = {}
        gone: set[OrganizationId] = set()
        for organization in self._touched:
            if not self._marks.get(organization):
                if organization in self._shown:
                    del self._shown[organization]
                    gone.add(organization)
                continue
            inside = self._inside.get(organization)
            value = total(block.held for block in inside) if inside else None
            if organization not in self._shown or self._shown[organization] != value:
                self._shown[organization] = changed[organization] = value
        self._touched = set()
        return Round(changed, frozenset(gone))


def unpack_family(packed: bytes, rules: Rules = RULES) -> Family:
    """The family of a stored form.

    Raises:
        InvalidInput: the bytes are no family of this format. What was published is forgotten then: see
            ``docs/disclosure.md`` before anything is published anew.
    """
    family = Family(rules)
    family.restore(*unpack_schools(packed))
    return family


def _is_live(school: School) -> bool:
    return school.block is not None and school.block.is_live


def _is_settled(school: School, now_ms: int) -> bool:
    return now_ms - max(school.changed_ms, school.seen_ms) >= SETTLED_MS


def _by(
    schools: Iterable[School], around: Callable[[OrganizationId], OrganizationId]
) -> Iterable[list[School]]:
    groups: dict[OrganizationId, list[School]] = {}
    for school in schools:
        groups.setdefault(around(school.organization), []).append(school)
    return groups.values()
