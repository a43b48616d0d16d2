"""What the cells must be after a replay, from the counts that its producers kept."""

from __future__ import annotations

from array import array
from collections import defaultdict

from bench.replay_season import SCHOOL_YEAR, TESTS, Templates, cell_number, grades_of, school_code
from cli.simulator.outcomes import QUANTILES, Outcome
from cli.simulator.recount import CellId, CountedCell
from schemas.assessments import Assessment
from schemas.identifiers import Grade, OrganizationId, ancestry


def expected_cells(schools: int, templates: Templates, parts: list[array[int]]) -> dict[CellId, CountedCell]:
    """The cells of all organizations; ``parts`` are the counts of the producers."""
    # By organization, grade and test: how many results have each outcome.
    totals: dict[tuple[OrganizationId, Grade, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for school in range(schools):
        above = ancestry(school_code(school, schools))
        for index, grade in enumerate(grades_of(school)):
            for test in range(len(TESTS)):
                start = cell_number(school, index, test) * QUANTILES
                for part in parts:
                    for outcome, count in enumerate(part[start : start + QUANTILES]):
                        if count:
                            for organization in above:
                                totals[organization, grade, test][outcome] += count
    assessments = templates.assessments()
    cells = {}
    for (organization, grade, test), counts in totals.items():
        name = CellId(organization, f"{SCHOOL_YEAR}:{TESTS[test]}:{grade}")
        cells[name] = _cell(assessments[grade, test], templates.outcomes[grade, test], counts)
    return cells


def _cell(assessment: Assessment, ready: list[Outcome], counts: dict[int, int]) -> CountedCell:
    cell = CountedCell(
        levels=[0] * len(assessment.levels),
        claims={claim.code: [0] * len(claim.levels) for claim in assessment.claims},
    )
    for index, count in counts.items():
        outcome = ready[index]
        cell.results += count
        cell.with_scores += count
        cell.score_sum += count * outcome.score
        cell.score_sum_sq += count * outcome.score * outcome.score
        cell.levels[outcome.level - 1] += count
        cell.histogram[outcome.score] = cell.histogram.get(outcome.score, 0) + count
        for claim in outcome.claims:
            if claim.level is not None:
                cell.claims[claim.code][claim.level - 1] += count
    return cell
