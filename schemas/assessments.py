"""The assessment registry: every assessment that is taken, with its levels, cut scores, ranges and claims by year.

The data are TOML files beside this module, in ``assessment_data/``; this module only reads and answers from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.identifiers import Grade, TestCode


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, domain or composite: measure 1 upwards of the assessment's cells, in registry order."""

    code: str  # as measureOf has it: "SOCK_R", "1", "1-L"
    name: str
    levels: tuple[str, ...]  # names, lowest first


@dataclass(frozen=True, slots=True)
class Assessment:
    """One test of one grade (or span of grades) in one school year."""

    test: TestCode  # e.g. "ELA-SUM"
    name: str  # reporting name of the test, e.g. "Smarter Balanced Summative ELA"
    subject: Literal["ELA", "Math", "Science", "ELPAC", "CSA"]
    kind: Literal["SUM", "ICA", "IAB"]
    school_year: int  # the year it ends
    grades: tuple[Grade, ...]  # one, or the span that shares this test
    levels: tuple[str, ...]  # names, lowest first; three or four
    cuts: tuple[int, ...]  # where level 2, 3, (4) begin; empty when not published
    score_range: tuple[int, int] | None  # lowest and highest scale score; None when not published
    claims: tuple[Claim, ...] = ()

    @property
    def measures(self) -> int:
        """Overall, then the claims."""
        return 1 + len(self.claims)
