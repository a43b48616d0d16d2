"""Plausible results of one assessment: scale scores spread like a normal distribution, levels from the cuts.

Drawing from a table of ready results costs a tenth of computing each, and a season draws millions.
"""

from __future__ import annotations

from bisect import bisect_right
from random import Random
from statistics import NormalDist
from typing import Final, NamedTuple

from schemas.assessments import Assessment
from schemas.events import ClaimScore

QUANTILES: Final = 512  # entries of a table; a student's ability is the index of one

# Scores of tests whose range and cuts are not published: any whole numbers will do.
_UNPUBLISHED: Final = NormalDist(400, 30)


class Outcome(NamedTuple):
    """Overall score and level, the standard error as reported, and the claims."""

    score: int
    level: int
    error: str
    claims: tuple[ClaimScore, ...]


def outcomes(assessment: Assessment, rng: Random) -> list[Outcome]:
    """``QUANTILES`` results of an assessment, the lowest score first."""
    distribution = _distribution(assessment)
    low, high = assessment.score_range or (0, 4095)
    table = []
    for index in range(QUANTILES):
        quantile = (index + 0.5) / QUANTILES
        score = min(max(round(distribution.inv_cdf(quantile)), low), high)
        claims = tuple(
            ClaimScore(claim.code, _level(quantile + rng.gauss(0, 0.15), len(claim.levels)))
            for claim in assessment.claims
        )
        error = str(round(distribution.stdev / 4 + abs(quantile - 0.5) * 20))
        table.append(Outcome(score, _overall_level(assessment, score, quantile), error, claims))
    return table


def _overall_level(assessment: Assessment, score: int, quantile: float) -> int:
    # A score at a cut belongs to the higher level.
    if assessment.cuts:
        return bisect_right(assessment.cuts, score) + 1
    return _level(quantile, len(assessment.levels))


def _level(quantile: float, levels: int) -> int:
    return min(max(int(quantile * levels), 0), levels - 1) + 1


def _distribution(assessment: Assessment) -> NormalDist:
    # The middle cut is where about half of the students are; the outer cuts are about 1.3 deviations apart.
    cuts, span = assessment.cuts, assessment.score_range
    if cuts and span:
        middle = cuts[len(cuts) // 2]
        spread = max((cuts[-1] - cuts[0]) * 0.75, (span[1] - span[0]) / 20)
        return NormalDist(middle, min(spread, (span[1] - span[0]) / 5))
    if cuts:
        return NormalDist(cuts[len(cuts) // 2], max(cuts[-1] - cuts[0], 10))
    if span:
        return NormalDist((span[0] + span[1]) / 2, min(max((span[1] - span[0]) / 6, 1), 100))
    return _UNPUBLISHED
