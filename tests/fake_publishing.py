"""The published tables in memory, which can go away or lose what was written, and schools to publish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from fake_tables import ELA, FakeTables

from gateway.publisher.publication import Publication
from gateway.publisher.tables import Claim
from schemas.aggregates import Cell, CellField, contribution, levels_code
from schemas.disclosure.held import Held
from schemas.errors import Fenced, TablesLost
from schemas.identifiers import OrganizationId
from schemas.merged_cells import MergedCell

NOW_MS = 1_777_896_000_000


class MemoryPublished:
    """Published tables; as many publishers as one likes share them."""

    def __init__(self) -> None:
        self.claim_held = Claim(0, 0)
        self.stored: dict[CellField, bytes] = {}
        self.cells: dict[tuple[OrganizationId, CellField], tuple[int, Held | None]] = {}  # version, totals
        self.writes = 0
        self.fault: Exception | None = None  # raised before a write, until it is taken away
        self.answer_lost = False  # the next write is done, and its answer does not arrive
        self.away = False  # nothing is answered
        self.signs = 0  # of life
        self.missed = 0  # likewise, while it was away
        self.reading: asyncio.Event | None = None  # families are told when it is set

    async def claim(self) -> Claim:
        """Become the one publisher."""
        self.claim_held = Claim(self.claim_held.epoch + 1, self.claim_held.number)
        return self.claim_held

    async def check(self, claim: Claim) -> int:
        """Raise unless the claim holds."""
        if self.away:
            self.missed += 1
            raise ConnectionError("away")
        self.signs += self.claim_held.epoch == claim.epoch
        self._compare(claim)
        return NOW_MS

    async def families(self) -> AsyncIterator[tuple[CellField, bytes]]:
        """All that is stored."""
        if self.reading is not None:
            await self.reading.wait()
        for name, packed in sorted(self.stored.items()):
            yield name, packed

    async def publish(self, claim: Claim, publication: Publication) -> Claim:
        """Write, or fail as told."""
        if self.fault is not None:
            raise self.fault
        written = Claim(claim.epoch, claim.number + 1)
        if self.claim_held == written:
            return written  # the same write, sent again
        self._compare(claim)
        self.stored[publication.name] = publication.family
        for organization, held in publication.cells.items():
            version, _ = self.cells.get((organization, publication.name), (0, None))
            self.cells[organization, publication.name] = (version + 1, held)
        for organization in publication.gone:
            self.cells.pop((organization, publication.name), None)
        self.claim_held = written
        self.writes += 1
        if self.answer_lost:
            self.answer_lost = False
            raise ConnectionError("the answer got lost")
        return written

    def lose(self) -> None:
        """All is gone, as of a Redis that comes back empty."""
        self.claim_held = Claim(0, 0)
        self.stored.clear()
        self.cells.clear()

    def students(self, organization: OrganizationId, name: CellField = ELA) -> int | str | None:
        """Students with scores, as published; a star when suppressed, None when nothing is published."""
        found = self.cells.get((organization, name))
        if found is None:
            return None
        return "*" if found[1] is None else found[1].with_scores

    def _compare(self, claim: Claim) -> None:
        if self.claim_held.epoch > claim.epoch:
            raise Fenced("another publisher has taken over")
        if self.claim_held != claim:
            raise TablesLost("lost")


def score(tables: FakeTables, school: OrganizationId, students: int, name: CellField = ELA) -> None:
    """Let a school have so many students with scores, on two levels, and give notice of it."""
    cell = scored_cell([2400 + number for number in range(students)])
    known = tables.cells.setdefault(school, {}).get(name)
    cell.version = (known.cell.version if known else 0) + 1
    tables.now_ms += 10
    tables.cells[school][name] = MergedCell(tables.now_ms, cell)
    tables.notice(school, name)


def scored_cell(scores: Sequence[int]) -> Cell:
    """A cell of students with these scores, on levels 2 and 3 by turns."""
    cell = Cell()
    for number, score in enumerate(scores):
        cell.apply(contribution(score, levels_code([2 + number % 2])))
    return cell
