"""The scores of an exam report: overall result and claims, judged by the assessment's levels and ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from schemas.assessments import Assessment, Claim
from schemas.events import ClaimScore
from schemas.trt_faults import Faults
from schemas.trt_values import level, scale_score, score_error
from schemas.trt_xml import Report

_OVERALL: Final = ("Overall",)
_SCORE: Final = "ScaleScore"
_LEVEL: Final = "PerformanceLevel"
_HIGHEST_SCORE: Final = 4095  # as the event's schema has it
_ATTEMPTED: Final[Mapping[str, Literal["Y", "P", "N"]]] = {"y": "Y", "p": "P", "n": "N"}
_NOTHING: Final[Mapping[str, str]] = {}


class Scores(NamedTuple):
    """What a report says of an exam's results."""

    score: int | None
    score_text: str | None  # as it stands, when it is not the whole number itself
    score_error: str | None
    level: int | None
    attempted: Literal["Y", "P", "N"] | None
    claims: tuple[ClaimScore, ...]


def read_scores(report: Report, assessment: Assessment, faults: Faults) -> Scores:
    """The overall result and the claims that the assessment has; other measures are passed over.

    The level counts as reported: one that the cut scores contradict is only warned of.
    """
    overall = _measure(report, _OVERALL, _SCORE)
    text = overall.get("value", "").strip()
    score = _score(faults, f"Score[Overall {_SCORE}]", text, assessment.score_range, assessment)
    reached = _level(report, faults, _OVERALL, assessment.highest_level)
    _compare(faults, "Overall", score, reached, assessment.cuts)
    attempted = _measure(report, _OVERALL, "Attempted").get("value", "").strip().lower()
    return Scores(
        score,
        text if score is not None and text != str(score) else None,
        score_error(overall.get("standardError", "").strip()) if score is not None else None,
        reached,
        _ATTEMPTED.get(attempted),
        tuple(
            part
            for claim in assessment.claims
            if (part := _claim(report, faults, claim, assessment)) is not None
        ),
    )


def _claim(report: Report, faults: Faults, claim: Claim, assessment: Assessment) -> ClaimScore | None:
    names = (claim.code, *claim.aliases)
    text = _measure(report, names, _SCORE).get("value", "").strip()
    score = _score(faults, f"Score[{claim.code} {_SCORE}]", text, claim.score_range, assessment)
    reached = _level(report, faults, names, len(claim.levels))
    _compare(faults, claim.code, score, reached, claim.cuts)
    return ClaimScore(claim.code, reached, score) if score is not None or reached is not None else None


def _measure(report: Report, names: tuple[str, ...], label: str) -> Mapping[str, str]:
    for name in names:
        if found := report.scores.get((name, label)):
            return found
    return _NOTHING


def _score(
    faults: Faults, element: str, text: str, score_range: tuple[int, int] | None, assessment: Assessment
) -> int | None:
    score = faults.take(element, text, scale_score)
    if score is None:
        return None
    lowest, highest = score_range or (0, _HIGHEST_SCORE)
    if lowest <= score <= highest:
        return score
    grades = "-".join(dict.fromkeys((assessment.grades[0], assessment.grades[-1])))
    faults.add(
        element,
        text,
        f"outside {lowest} to {highest}, the range of {assessment.test} grade {grades} in the school year ending "
        f"{assessment.school_year}; correct the score, or the assessment",
    )
    return None


def _level(report: Report, faults: Faults, names: tuple[str, ...], highest: int) -> int | None:
    text = _measure(report, names, _LEVEL).get("value", "").strip()
    return faults.take(f"Score[{names[0]} {_LEVEL}]", text, lambda value: level(value, highest))


def _compare(
    faults: Faults, name: str, score: int | None, reached: int | None, cuts: tuple[int, ...]
) -> None:
    if score is None or reached is None or not cuts:
        return
    derived = bisect_right(cuts, score) + 1
    if derived != reached:
        faults.warn(
            f"Score[{name} {_LEVEL}]",
            str(reached),
            f"the cut scores give level {derived}; the report's counts",
        )
