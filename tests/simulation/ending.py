"""The checks at the end of a schedule, when everything has settled."""

from __future__ import annotations

from typing import Any

from cli.simulator.recount import CountedCell, Recount
from schemas.aggregates import Cell
from schemas.events import decode_exam_result
from schemas.identifiers import PartitionId
from schemas.keys import Generation, PartitionKeys
from schemas.shares import unpack_share
from simulation.cast import LATE_SCHOOL, SCHOOLS, cast
from simulation.history import Fact
from simulation.log import LogRecord
from simulation.oracle import CellName, Counted, counted
from simulation.world import Noted, World


def check_end(world: World) -> None:
    """All cells equal an independent recount of the log, schools add up, and no event has vanished."""
    generation = Generation(world.store.values.get("generation", ""))
    merged: dict[CellName, Cell] = {}
    applied: list[LogRecord] = []
    for number, partition in enumerate(world.log.partitions):
        slot = world.store.slots.get(PartitionKeys(generation, PartitionId(number)).position)
        if slot is None or slot.noted is None:
            if world.log.last(number) > partition.start:
                world.mismatch(f"partition {number} has no tables")
            continue
        noted: Noted = slot.noted
        for name, packed in slot.cells.items():
            unpack_share(*packed).add_to(merged.setdefault(name, Cell()))
        records = world.log.prefix(number, noted.base, partition.end)
        applied += [record for record in records if record.offset not in noted.parked]
        _check_nothing_vanished(world, number, records, noted)
    _check_recount(world, merged, applied)
    _check_sums(world, merged)


def _check_nothing_vanished(world: World, number: int, records: Any, noted: Noted) -> None:
    """Each record is in the tables, superseded, a duplicate, or in the rejected topic under its coordinates."""
    newest: dict[tuple[str, bytes], Fact] = {}
    for record in records:
        fact: Fact = record.fact
        must_be_rejected = fact.reason is not None or record.offset in noted.parked
        if not must_be_rejected:
            known = newest.get((fact.student, fact.exam))
            must_be_rejected = known is not None and known.version == fact.version and known != fact
            if known is None or fact.version > known.version:
                newest[fact.student, fact.exam] = fact
        found = world.rejected.get((world.log.identity, number, record.offset))
        if must_be_rejected and (found is None or found[1].value != record.value):
            world.mismatch(f"{number}:{record.offset} is neither applied nor in the rejected topic: {fact}")


def _check_recount(world: World, merged: dict[CellName, Cell], applied: list[LogRecord]) -> None:
    shared = cast()
    recount = Recount(shared.registry, (*SCHOOLS, LATE_SCHOOL), world.attribution)
    for record in applied:
        if record.fact.reason is None:
            recount.add(record.key.decode(), decode_exam_result(record.value))
    expected = {(name.cds, name.cell): _counted(cell) for name, cell in recount.cells().items()}
    found = {name: counted(cell) for name, cell in merged.items() if cell.results}
    if expected != found:
        names = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
        for name in sorted(names):
            world.mismatch(f"in the end {name}: expected {expected.get(name)}, found {found.get(name)}")


def _counted(cell: CountedCell) -> Counted:
    counts = [cell.results, cell.with_scores, cell.under_appeal]
    for levels in (cell.levels, *cell.claims.values()):
        counts += [*levels, 0, 0, 0, 0][:4]
    while counts and not counts[-1]:
        counts.pop()
    return tuple(counts), cell.score_sum, cell.score_sum_sq, tuple(sorted(cell.histogram.items()))


def _check_sums(world: World, merged: dict[CellName, Cell]) -> None:
    """Schools add up to districts, districts to counties, counties to the state."""
    for zeros in (7, 12, 14):
        sums: dict[CellName, Cell] = {}
        below = {7: 0, 12: 7, 14: 12}[zeros]
        for (organization, field), cell in merged.items():
            if _zeros(organization) == below:
                above = organization[: 14 - zeros] + "0" * zeros
                sums.setdefault((above, field), Cell()).merge(cell)
        for name, cell in sums.items():
            if cell.results and merged.get(name) != cell:
                world.mismatch(f"{name} is {merged.get(name)}, but what is below adds up to {cell}")


def _zeros(organization: str) -> int:
    for zeros in (14, 12, 7):
        if organization.endswith("0" * zeros):
            return zeros
    return 0
