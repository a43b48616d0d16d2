"""Published cells, public aggregates and research files, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.images import CellImage, Renderer
from gateway.public_routes import figures_csv, figures_json
from gateway.research_export import ResearchFile
from gateway.tables import Tables
from schemas.access.visibility import Visibility
from schemas.aggregates import CellField, cell_field
from schemas.assessments import load_registry
from schemas.disclosure.held import Held, cell_of
from schemas.disclosure.published import PublishedCell, pack_published, unpack_published
from schemas.events import OrganizationEntry
from schemas.identifiers import OrganizationId, TestCode
from schemas.organization_list import OrganizationList
from schemas.releases import Releases, ReleaseState

GOLDEN = Path(__file__).parent / "golden"
CHANGED_MS = 1_777_896_000_000

SCHOOL = OrganizationId("19990010000101")
SMALL_SCHOOL = OrganizationId("19990010000102")
CHARTER_SCHOOL = OrganizationId("19990010000103")
DISTRICT = OrganizationId("19990010000000")

ORGANIZATIONS = OrganizationList(
    [
        OrganizationEntry(cds=DISTRICT, name="Birch Valley Unified", kind="district"),
        OrganizationEntry(cds=SCHOOL, name="Cañon Elementary, North", kind="school"),
        OrganizationEntry(cds=SMALL_SCHOOL, name="=Dogwood Elementary", kind="school"),
        OrganizationEntry(cds=CHARTER_SCHOOL, name="Fir Charter", kind="school", charter="direct"),
    ],
    1,
)
THIRD, FOURTH = (cell_field(2026, "ELA-SUM", grade) for grade in ("03", "04"))
# Twenty students; the claims follow the overall result.
TWENTY = Held((2, 8, 6, 4) + (5, 10, 5, 0) * 3 + (0, 0, 0, 0), 49_010)
THIRTY = Held((3, 9, 12, 6) + (10, 10, 10, 0) * 4, 74_400)

CELLS: dict[OrganizationId, dict[CellField, Held | None]] = {
    DISTRICT: {THIRD: TWENTY, FOURTH: THIRTY},
    SCHOOL: {THIRD: TWENTY, FOURTH: None},
    SMALL_SCHOOL: {FOURTH: None},
    CHARTER_SCHOOL: {FOURTH: THIRTY},
}


def published(held: Held | None, version: int = 2) -> PublishedCell:
    return PublishedCell(version, CHANGED_MS, None if held is None else cell_of(held, 0))


def images(organization: OrganizationId) -> list[CellImage]:
    renderer = Renderer(load_registry().at)
    return [renderer.masked_image(name, published(held)) for name, held in CELLS[organization].items()]


class GoldenTables:
    """The published tables as they stand in this file."""

    async def read_published_cells(
        self, names: Sequence[tuple[OrganizationId, Sequence[CellField]]]
    ) -> list[dict[CellField, PublishedCell]]:
        """The named cells."""
        return [
            {name: published(CELLS[one][name]) for name in fields if name in CELLS.get(one, {})}
            for one, fields in names
        ]


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def test_published_cell_is_a_stamp_and_a_cell_of_totals() -> None:
    packed = pack_published(published(Held((0, 10, 10), 49_000)))
    assert packed.hex() == (
        "4279df2dc0a00000" "00000002" "01" "010106" "0000000000000000" "68bf000000000000" "0000000000000000"
        "14140000" "0a0a"
    )  # fmt: skip
    assert unpack_published(packed) == published(Held((0, 10, 10), 49_000))


def test_suppressed_cell_is_a_stamp_alone() -> None:
    packed = pack_published(published(None, version=1))
    assert packed.hex() == "4279df2dc0a000000000000101"
    assert unpack_published(packed) == published(None, version=1)


def test_public_aggregates_in_json() -> None:
    assert figures_json(ORGANIZATIONS.summary(SCHOOL), images(SCHOOL)) + b"\n" == golden(
        "public-aggregates.json"
    )


def test_public_aggregates_in_csv() -> None:
    assert figures_csv(ORGANIZATIONS.summary(SCHOOL), images(SCHOOL)) == golden("public-aggregates.csv")


@pytest.mark.anyio
async def test_research_file_has_the_columns_of_the_state() -> None:
    registry = load_registry()
    visibility = Visibility(Releases({}, unlisted=ReleaseState.RELEASED), ORGANIZATIONS, registry.at)
    file = ResearchFile.of(2026, TestCode("ELA-SUM"), registry.at, ORGANIZATIONS, visibility)
    tables = cast(Any, GoldenTables())
    written = b"".join([lines async for lines in file.lines(cast(Tables, tables))])
    assert written == golden("research-file.csv")
