"""An example of every body, for the API's description; the golden files are these bytes. Schools, people and scores are invented."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.aggregate_changes import ResultChange
from schemas.aggregates import CellName
from schemas.figures import ClaimFigures, Figures, LevelFigure
from schemas.identifiers import Grade, OrganizationId, TestCode
from schemas.releases import ReleaseKey, ReleaseState, Report
from schemas.webhooks.endpoints import DisabledReason, Endpoint, EventType
from schemas.webhooks.payload_types import OrganizationPart, read_payload
from schemas.webhooks.payloads import (
    Body,
    ToldCell,
    aggregate_updated,
    disabled,
    organization_part,
    ping,
    release_changed,
    results_changed,
)

GATEWAY: Final = "https://scores.state.test"
ENDPOINT: Final = "ep_k5sqmvzv3fmvabxqgm2xw7vh3q"
NOON_MS: Final = 1_777_896_000_000

_DISTRICT: Final = OrganizationId("19990010000000")
_SCHOOL: Final = OrganizationId("19990010000101")
_CONFIRMATION: Final = "cfm_2lkd3zvjmt5qs7hmvl3cwfyq2ae"


@cache
def examples() -> dict[str, Body]:
    """The bodies by name; a name begins with the event type."""
    school, cells, results = example_school(), example_cells(), example_results()
    [thin] = aggregate_updated(school, cells, base_url=GATEWAY)
    [full] = aggregate_updated(school, cells, base_url=GATEWAY, full=True)
    [rescored] = results_changed(EventType.RESULT_RESCORED, school, results, base_url=GATEWAY)
    [invalidated] = results_changed(EventType.RESULT_INVALIDATED, school, results[:1], base_url=GATEWAY)
    released = ReleaseKey(2026, _DISTRICT, "ELA", Report.AGGREGATE)
    return {
        "aggregate.updated": thin,
        "aggregate.updated-full": full,
        "result.rescored": rescored,
        "result.invalidated": invalidated,
        "release.changed": release_changed(
            released, ReleaseState.RELEASED, changed_ms=NOON_MS, base_url=GATEWAY
        ),
        "endpoint.ping": ping(ENDPOINT, at_ms=NOON_MS),
        "endpoint.ping-confirmation": ping(ENDPOINT, at_ms=NOON_MS, confirmation=_CONFIRMATION),
        "endpoint.disabled": disabled(
            example_endpoint(), DisabledReason.FAILING, at_ms=NOON_MS, base_url=GATEWAY
        ),
    }


def examples_of(payload: type[Struct]) -> Iterator[tuple[str, Any]]:
    """The examples of one type, as values."""
    for name, body in examples().items():
        if type(read_payload(body.content)) is payload:
            yield name, msgspec.json.decode(body.content)


def example_school() -> OrganizationPart:
    """A school."""
    return organization_part(_SCHOOL, "Cañon Elementary")


def example_cells() -> tuple[ToldCell, ...]:
    """Two of its cells, the second without results."""
    third = CellName(2026, TestCode("ELA-SUM"), Grade("03"))
    fourth = CellName(2026, TestCode("ELA-SUM"), Grade("04"))
    return ToldCell(third, 4, NOON_MS, example_figures(third, 4)), ToldCell(fourth, 17, NOON_MS + 3_120)


def example_results() -> tuple[ResultChange, ...]:
    """Two of its exams."""
    return tuple(
        ResultChange(
            id=f"3-{offset}",
            kind="rescored",
            organization=_SCHOOL,
            assessment_id="(SBAC)SBAC-SUM-ELA-3-Spring-2025-2026",
            opportunity_id=opportunity,
            school_year=2026,
            status_date=f"2026-05-0{day}T11:59:00Z",
            changed_ms=NOON_MS + offset,
        )
        for offset, opportunity, day in ((17, "100150", 4), (250, "100151", 3))
    )


def example_endpoint() -> Endpoint:
    """An endpoint whose address has something to hide."""
    return Endpoint(
        id=ENDPOINT,
        url="https://sis.district.test/hooks?token=of-the-district",
        subject="m.alvarez@district.test",
        grants=(),
        follows=(),
        description="Student information system",
    )


def example_figures(name: CellName, version: int) -> Figures:
    """Figures of one cell."""
    levels = ("Standard Not Met", "Standard Nearly Met", "Standard Met", "Standard Exceeded")
    return Figures(
        test=name.test,
        test_name="ELA Summative",
        subject="ELA",
        school_year=name.school_year,
        grade=name.grade,
        results=4,
        with_scores=3,
        under_appeal=1,
        mean=2394,
        standard_error=28.7,
        first_quartile=2340,
        median=2402,
        third_quartile=2440.5,
        levels=[
            LevelFigure(level, word, count, percent)
            for level, (word, count, percent) in enumerate(
                zip(levels, (1, 2, 0, 0), (33.3, 66.7, 0.0, 0.0), strict=True), start=1
            )
        ],
        claims=[
            ClaimFigures(
                "SOCK_R",
                "Reading",
                [LevelFigure(1, "Below Standard", 1, 100.0), LevelFigure(2, "Near Standard", 0, 0.0)],
            )
        ],
        version=version,
        changed="2026-05-04T12:00:00.000Z",
    )
