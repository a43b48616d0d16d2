"""Sums over some districts: equal to a recount by brute force, whatever changes and in whatever order it is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.partial_sums import PartialSum
from schemas.aggregates import Cell, CellField, cell_field, contribution, levels_code
from schemas.errors import AggregateUnderflow
from schemas.figures import mean, quartiles, standard_error
from schemas.identifiers import OrganizationId
from schemas.merged_cells import MergedCell

DISTRICTS = [OrganizationId(f"1999{number:03d}0000000") for number in range(1, 5)]
FIELDS = [cell_field(2026, "ELA-SUM", "03"), cell_field(2026, "ELA-SUM", "04")]

results = st.lists(st.tuples(st.integers(2300, 2320), st.integers(1, 4)), max_size=6)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("changes"), st.sampled_from(DISTRICTS), st.sampled_from(FIELDS), results),
        st.tuples(st.just("is read late"), st.sampled_from(DISTRICTS), st.sampled_from(FIELDS), st.none()),
        st.tuples(st.just("is seen"), st.sets(st.sampled_from(DISTRICTS)), st.just(""), st.none()),
    ),
    max_size=40,
)


def cell_of(scored: list[tuple[int, int]], version: int) -> Cell:
    cell = Cell()
    for score, level in scored:
        cell.apply(contribution(score, levels_code([level])))
    cell.version = version
    return cell


def summed(cells: list[Cell]) -> Cell:
    total = Cell()
    for cell in cells:
        total.merge(cell)
    return total


@given(steps)
def test_a_sum_equals_a_recount_whatever_changes_is_released_and_is_read_late(
    course: list[tuple[str, object, str, list[tuple[int, int]] | None]],
) -> None:
    tables: dict[tuple[CellField, OrganizationId], MergedCell] = {}
    earlier: dict[tuple[CellField, OrganizationId], MergedCell] = {}
    seen: set[OrganizationId] = set(DISTRICTS[:2])
    sums = PartialSum()
    for number, (what, which, field, scored) in enumerate(course):
        if what == "is seen":
            assert isinstance(which, set)
            seen = which
            sums.keep(lambda _: seen)  # noqa: B023  # called at once
            for name in FIELDS:
                for district in sums.missing(name, seen):
                    if (name, district) in tables:
                        sums.take(district, name, tables[name, district])
                    sums.note_read(district, [name])
                assert not sums.missing(name, seen)
        else:
            name, district = CellField(field), OrganizationId(str(which))
            if what == "changes":
                known = tables.get((name, district))
                if known is not None:
                    earlier[name, district] = known
                version = known.cell.version + 1 if known is not None else 1
                tables[name, district] = MergedCell(number, cell_of(scored or [], version))
                share = tables[name, district]
            elif (name, district) in earlier:
                share = earlier[name, district]
            else:
                continue
            if district in seen:
                is_news = sums.take(district, name, share)
                assert is_news is (what == "changes")
        for name in FIELDS:
            shares = [tables[name, district] for district in seen if (name, district) in tables]
            assert (name in list(sums)) is bool(shares)
            if shares:
                recount, total = summed([share.cell for share in shares]), sums.total(name)
                assert total.cell == recount
                assert total.cell.version == sum(share.cell.version for share in shares)
                assert total.changed_ms >= max(share.changed_ms for share in shares)
                assert (mean(total.cell), standard_error(total.cell), quartiles(total.cell)) == (
                    mean(recount),
                    standard_error(recount),
                    quartiles(recount),
                )


def test_a_share_is_not_changed_by_being_counted() -> None:
    sums = PartialSum()
    first, second = MergedCell(1, cell_of([(2300, 1)], 1)), MergedCell(2, cell_of([(2310, 2)], 1))
    sums.take(DISTRICTS[0], FIELDS[0], first)
    sums.take(DISTRICTS[1], FIELDS[0], second)
    sums.take(DISTRICTS[0], FIELDS[0], MergedCell(3, cell_of([], 2)))
    assert first.cell == cell_of([(2300, 1)], 1) and second.cell == cell_of([(2310, 2)], 1)
    assert sums.total(FIELDS[0]).cell == second.cell


def test_what_was_never_counted_cannot_be_taken_back() -> None:
    cell = cell_of([(2300, 1), (2301, 1)], 2)
    with pytest.raises(AggregateUnderflow, match="read it anew"):
        cell.unmerge(cell_of([(2302, 1)], 1))
    with pytest.raises(AggregateUnderflow):
        Cell().unmerge(cell)
    cell.unmerge(cell_of([(2300, 1)], 1))
    assert cell == cell_of([(2301, 1)], 1) and cell.version == 1
