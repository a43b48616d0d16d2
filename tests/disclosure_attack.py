"""An attacker who keeps every published state of a season and solves for groups below the minimum.

The season is simulated with the truth about each student; the attacker is given more than any real one has: not only the
numbers of every cell at every moment, but which results each of them contains. A linear combination of cells *isolates*
the students whose results do not cancel out in it. The attacker looks at single cells, at all pairs of moments of a cell,
at parents minus their shown children at the same and at neighbouring moments, and at all combinations of all of them, by
elimination.

More seeds than the tests try: ``PYTHONPATH=tests python -m disclosure_attack --seeds 200``.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from schemas.aggregates import LEVELS
from schemas.disclosure.block import Block, Statement
from schemas.disclosure.family import Family
from schemas.disclosure.held import Held, held_from
from schemas.disclosure.rules import MINIMUM, RULES, Rules
from schemas.identifiers import STATE, OrganizationId, county_of, district_of

HOUR_MS: Final = 3_600_000
PRIME: Final = 2**31 - 1  # elimination is done modulo a prime: exact, and numbers stay small

# Students a school has in the end, by district: many small ones, a district below the minimum, one of one school.
SCHOOLS: Final = {
    "0100001": (25, 14, 9, 4),
    "0100002": (12,),
    "0100003": (5, 8),
    "0200001": (30, 11, 10),
    "0200002": (6,),
    "0200003": (3, 4),
    "0300001": (22, 13, 2),
}
TOP_SCHOOL: Final = OrganizationId("03000010000002")  # all its students are in the highest level


class Result(NamedTuple):
    """One version of one student's result; a rescore is another, a student who moves takes it along."""

    student: int
    version: int
    level: int
    score: int


# What a cell contains: results, and how often. One that moved can be in two schools' totals for a while: in those of one as
# they were, in those of the other as they are.
State = frozenset[tuple[Result, int]]


class Finding(NamedTuple):
    """A group that the attacker isolated."""

    how: str
    students: int


class WatchedFamily(Family):
    """A family that tells which results its statements contain."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.results: Mapping[OrganizationId, set[Result]] = {}
        self.contents: dict[Block, frozenset[Result]] = {}

    def _tell(self, block: Block, told: Statement) -> None:
        super()._tell(block, told)
        self.contents[block] = frozenset().union(*(self.results[s.organization] for s in block.schools))

    def cell(self, organization: OrganizationId) -> State:
        """The results that an organization's published totals contain."""
        counted: Counter[Result] = Counter()
        for block in self._inside[organization]:
            counted.update(self.contents[block])
        return frozenset(counted.items())


class Season:
    """A season of small schools; ``step`` lets an hour pass."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.results: dict[OrganizationId, set[Result]] = {}
        self.expected: dict[OrganizationId, int] = {}
        for district, sizes in SCHOOLS.items():
            for number, size in enumerate(sizes, start=1):
                school = OrganizationId(f"{district}{number:07d}")
                self.results[school] = set()
                self.expected[school] = size + self.random.randrange(3)
        self.released = {district_of(school) for school in self.results if self.random.random() < 0.6}
        self._students = 0
        self._away: list[tuple[OrganizationId, set[Result]]] = []  # taken back, and may be reinstated

    def step(self, hour: int) -> None:
        """What happens in one hour."""
        chance = self.random.random
        for school in self.results:
            if self.expected[school] > 0 and chance() < 0.2:
                self._arrive(school, self.random.choice((1, 1, 2, 5, self.expected[school])))
            if self.results[school] and chance() < 0.06:
                self._rescore(school, self.random.choice((1, 2, len(self.results[school]))))
            if self.results[school] and chance() < 0.05:
                self._away.append((school, self._take(school, 1)))
            if self.results[school] and chance() < 0.03:
                self.results[self.random.choice(list(self.results))] |= self._take(school, 1)
        if self._away and chance() < 0.3:
            school, results = self._away.pop()
            self.results[school] |= results
        if chance() < 0.15:
            district = district_of(self.random.choice(list(self.results)))
            self.released ^= {district}
        if hour % 12 == 0:  # a class comes late
            self.expected[self.random.choice(list(self.results))] += self.random.randrange(11, 16)
        if hour % 6 == 2:
            self._fall_short()
        if hour % 9 == 4:
            self._swap(self.random.choice(list(self.results)))
        if hour % 10 == 5:
            self._change_school()

    def totals(self, *, released: bool) -> dict[OrganizationId, Held]:
        """The totals of every released school, or of every other."""
        return {
            school: held(results)
            for school, results in self.results.items()
            if (district_of(school) in self.released) == released
        }

    def _arrive(self, school: OrganizationId, count: int) -> None:
        for _ in range(min(count, self.expected[school])):
            self._students += 1
            self.expected[school] -= 1
            self.results[school].add(self._result(school, self._students, 1))

    def _rescore(self, school: OrganizationId, count: int) -> None:
        for result in sorted(self._take(school, count)):
            self.results[school].add(self._result(school, result.student, result.version + 1))

    def _fall_short(self) -> None:
        """A school just above the minimum falls below it, and may be back soon with another student."""
        near = [school for school, results in self.results.items() if MINIMUM <= len(results) <= MINIMUM + 4]
        if near:
            school = self.random.choice(near)
            self._away.append((school, self._take(school, len(self.results[school]) - MINIMUM + 1)))
            self.expected[school] += 1

    def _swap(self, school: OrganizationId) -> None:
        """Taken back: all results but one; or those taken back before come again, and all but one of the others go."""
        away = [pair for pair in self._away if pair[0] == school]
        if not away:
            self._away.append((school, self._take(school, len(self.results[school]) - 1)))
            self._arrive(school, self.expected[school])
            return
        self._away = [pair for pair in self._away if pair[0] != school]
        for _, results in away:
            self.results[school] |= results

    def _change_school(self) -> None:
        """A school's students go to another one, all but one."""
        largest = max(self.results, key=lambda school: (len(self.results[school]), school))
        near = [other for other in self.results if other[:2] == largest[:2] and other != largest]
        self.results[self.random.choice(near)] |= self._take(largest, len(self.results[largest]) - 1)

    def _take(self, school: OrganizationId, count: int) -> set[Result]:
        here = sorted(self.results[school])
        taken = set(self.random.sample(here, min(max(0, count), len(here))))
        self.results[school] -= taken
        return taken

    def _result(self, school: OrganizationId, student: int, version: int) -> Result:
        level = LEVELS if school == TOP_SCHOOL else self.random.randrange(LEVELS) + 1
        return Result(student, version, level, 2300 + 60 * level + self.random.randrange(50))


class Attack:
    """What the attacker has collected, and finds."""

    def __init__(self) -> None:
        self.moments: list[dict[OrganizationId, State]] = []
        self.findings: list[Finding] = []

    def collect(self, family: WatchedFamily) -> None:
        """Keep all that is published now."""
        shown = {
            organization: family.cell(organization)
            for organization, value in family.published().items()
            if value is not None
        }
        for organization, state in shown.items():
            results = Counter(dict(state)).elements()
            assert family.published()[organization] == held(results), (
                "the attacker must know what is published"
            )
        self.moments.append(shown)

    def watch(self, season: Season) -> None:
        """Compare what is shown of schools with what they are now."""
        for organization in self.moments[-1]:
            if organization in season.results and len(season.results[organization]) < MINIMUM:
                self.findings.append(
                    Finding("shown although fewer are left", len(season.results[organization]))
                )

    def solve(self) -> list[Finding]:
        """All methods, one after the other."""
        states: dict[OrganizationId, dict[State, None]] = defaultdict(dict)
        for shown in self.moments:
            for organization, state in shown.items():
                states[organization][state] = None
        for of_cell in states.values():
            distinct = list(of_cell)
            for at, later in enumerate(distinct):
                self._judge("a cell", dict(later))
                if len({result.level for result, _ in later}) == 1:
                    self.findings.append(Finding("a cell in one level", len(later)))
                for earlier in distinct[:at]:
                    self._judge("two moments of a cell", combined((1, later), (-1, earlier)))
        for earlier_shown, shown in zip([{}, *self.moments], self.moments, strict=False):
            for parents, parts in ((shown, shown), (shown, earlier_shown), (earlier_shown, shown)):
                self._parents(parents, parts)
        for group in small_groups([list(of_cell) for of_cell in states.values()]):
            self._judge("elimination", group)
        return self.findings

    def _parents(
        self, parents: Mapping[OrganizationId, State], parts: Mapping[OrganizationId, State]
    ) -> None:
        children: dict[OrganizationId, list[State]] = defaultdict(list)
        for organization, state in parts.items():
            if above := next_above(organization, parts):
                children[above].append(state)
        for parent in children.keys() & parents.keys():
            self._judge(
                "parent minus children",
                combined((1, parents[parent]), *((-1, state) for state in children[parent])),
            )

    def _judge(self, how: str, results: Iterable[Result]) -> None:
        students = len({result.student for result in results})
        if 0 < students < MINIMUM:
            self.findings.append(Finding(how, students))


def next_above(organization: OrganizationId, shown: Mapping[OrganizationId, State]) -> OrganizationId | None:
    """The smallest shown organization that contains this one."""
    for above in (district_of(organization), county_of(organization), STATE):
        if above != organization and above in shown:
            return above
    return None


def combined(*terms: tuple[int, State]) -> dict[Result, int]:
    """The results that do not cancel out of a sum of states, each taken so many times."""
    sums: dict[Result, int] = {}
    for factor, state in terms:
        for result, times in state:
            sums[result] = sums.get(result, 0) + factor * times
    return {result: times for result, times in sums.items() if times}


def small_groups(cells: Sequence[Sequence[State]]) -> Iterator[set[Result]]:
    """Groups below the minimum that some linear combination of all states of all cells isolates.

    Results that the very same states contain cannot be told apart, so they are one unknown. Elimination removes the
    unknowns of 11 students and more first: what is left over spans all combinations in which none of them remains, and
    any group below the minimum is among these. Where nothing is left over, there is no such group.
    """
    rows = [row for states in cells for row in differences(states)]
    pattern: dict[Result, list[tuple[int, int]]] = defaultdict(list)
    for number, row in enumerate(rows):
        for result, times in row.items():
            pattern[result].append((number, times))
    classes: dict[tuple[tuple[int, int], ...], list[Result]] = defaultdict(list)
    for result, its in pattern.items():
        classes[tuple(its)].append(result)
    unknowns = sorted(classes.values(), key=lambda its: -len({result.student for result in its}))
    large = sum(len({result.student for result in its}) >= MINIMUM for its in unknowns)
    first = {its[0]: place for place, its in enumerate(unknowns)}
    pivots: dict[int, dict[int, int]] = {}
    for row in rows:
        vector = {first[result]: times % PRIME for result, times in row.items() if result in first}
        _reduce(vector, pivots)
    left = [pivots[lead] for lead in sorted(pivots, reverse=True) if lead >= large]
    for at, vector in enumerate(left):  # fully reduced, each is as short as elimination gets it
        for other in left[:at]:
            if factor := vector.get(min(other), 0):
                _subtract(vector, other, factor)
        yield {result for place in vector for result in unknowns[place]}


def differences(states: Sequence[State]) -> Iterator[dict[Result, int]]:
    """A cell's first state, and each later one minus the one before: the same combinations, in short rows."""
    before: State = frozenset()
    for state in states:
        yield combined((1, state), (-1, before))
        before = state


def _reduce(vector: dict[int, int], pivots: dict[int, dict[int, int]]) -> None:
    while vector:
        lead = min(vector)
        if lead not in pivots:
            inverse = pow(vector[lead], -1, PRIME)
            pivots[lead] = {place: value * inverse % PRIME for place, value in vector.items()}
            return
        _subtract(vector, pivots[lead], vector[lead])


def _subtract(vector: dict[int, int], other: Mapping[int, int], factor: int) -> None:
    for place, value in other.items():
        rest = (vector.get(place, 0) - factor * value) % PRIME
        if rest:
            vector[place] = rest
        else:
            vector.pop(place, None)


def held(results: Iterable[Result]) -> Held:
    """The totals of some results."""
    levels = [0] * LEVELS
    score_sum = 0
    for result in results:
        levels[result.level - 1] += 1
        score_sum += result.score
    return held_from(levels, score_sum)


def attack(
    seed: int, rules: Rules = RULES, hours: int = 72, made: type[WatchedFamily] | None = None
) -> list[Finding]:
    """All groups below the minimum that the attacker finds in one season; ``made`` is for families that do otherwise."""
    season, family, attacker = Season(seed), (made or WatchedFamily)(rules), Attack()
    for hour in range(hours):
        season.step(hour)
        family.results = season.results
        family.publish(season.totals(released=True), hour * HOUR_MS, withheld=season.totals(released=False))
        attacker.collect(family)
        attacker.watch(season)
    return attacker.solve()


def main() -> None:
    """Attack many seasons and say what was found."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--hours", type=int, default=72)
    arguments = parser.parse_args()
    found = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        for finding in attack(seed, hours=arguments.hours):
            found += 1
            print(f"seed {seed}: {finding.students} students by {finding.how}")
    print(f"{arguments.seeds} seasons, {found} groups below {MINIMUM} found")
    if found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
