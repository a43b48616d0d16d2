"""Exam rows counted again must come to the cells that were kept all along."""

from __future__ import annotations

from memory_partition import MemoryPartition

from cli.simulator.county import plan_county
from cli.simulator.options import SeasonOptions
from cli.simulator.season import Season
from schemas.aggregates import Cell
from schemas.assessments import load_registry
from schemas.events import encode_event
from schemas.identifiers import STATE
from schemas.pseudonyms import Pseudonymizer
from streams.reading import Reader
from streams.rebuild_recount import Recount, suffixes_of
from streams.topic_reading import StoredRecord

REGISTRY = load_registry()
PSEUDONYMS = Pseudonymizer(b"sixteen bytes or more of a secret")


def season() -> MemoryPartition:
    """The tables of a small season with resets and moves."""
    options = SeasonOptions(schools=16, results=400, seed=3, rescores=0.3, resets=0.1, moves=0.2)
    county = plan_county(16, 3)
    schools = {school.cds for school in county.schools}
    partition = MemoryPartition(Reader(REGISTRY, PSEUDONYMS, schools.__contains__))
    records = [
        StoredRecord(record.key.encode(), encode_event(record.event), offset, 0)
        for offset, record in enumerate(Season(county, REGISTRY, PSEUDONYMS, options))
    ]
    for start in range(0, len(records), 50):
        partition.apply(records[start : start + 50])
    return partition


def recounted(partition: MemoryPartition) -> Recount:
    fields = {field for cds, field in partition.cells if cds == STATE}
    recount = Recount(suffixes_of(fields, REGISTRY))
    recount.add(partition.rows.items())
    return recount


def test_recount_of_the_rows_is_what_was_added_up() -> None:
    partition = season()
    recount = recounted(partition)
    kept = {name: cell for name, cell in partition.cells.items() if cell.results}
    assert recount.cells() == kept
    assert recount.rows == len(partition.rows) and recount.strangers == 0
    assert recount.results == sum(cell.results for (cds, _), cell in kept.items() if cds == STATE)


def test_recount_finds_a_row_that_no_cell_knows() -> None:
    partition = season()
    row = next(row for row in partition.rows.values() if len(row) == 45)
    recount = recounted(partition)
    recount.add([(b"a stranger's uni", row)])
    assert recount.strangers == 1


def test_recount_differs_when_a_row_is_missing() -> None:
    partition = season()
    before = recounted(partition).cells()
    unit = next(unit for unit, row in partition.rows.items() if len(row) == 45)
    del partition.rows[unit]
    after = recounted(partition).cells()
    differing = {name for name in before if before[name] != after.get(name, Cell())}
    assert len(differing) == 4, "school, district, county and state"
