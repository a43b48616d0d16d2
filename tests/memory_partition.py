"""One partition's tables in plain dictionaries, for tests of the engine alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.aggregates import Cell
from schemas.shares import Share
from streams.engine import CellKey, Chain, add_up, decide, organizations_above
from streams.reading import Reader, Record, Rejection, SchoolCell
from streams.rows import Row
from streams.scoring import Outcome


@dataclass
class MemoryPartition:
    """Applies records as the worker does, without Redis and Kafka."""

    reader: Reader
    rows: dict[bytes, Row] = field(default_factory=dict)
    shares: dict[CellKey, Share] = field(default_factory=dict)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    rejected: list[Rejection] = field(default_factory=list)

    def apply(self, records: Sequence[Record]) -> None:
        """One batch."""
        read = [self.reader.read(record) for record in records]
        self.rejected += [result for result in read if isinstance(result, Rejection)]
        decision = decide([result for result in read if not isinstance(result, Rejection)], self.rows)
        self.rejected += decision.rejected
        chains = {cell: self._chain(cell) for cell, _ in (*decision.added, *decision.retracted)}
        add_up(decision, chains)
        self.rows |= decision.rows
        self.outcomes += decision.outcomes

    @property
    def cells(self) -> dict[CellKey, Cell]:
        """All shares as cells."""
        return {key: share.totals() for key, share in self.shares.items()}

    def _chain(self, cell: SchoolCell) -> Chain:
        keys: list[CellKey] = [(above, cell[1]) for above in organizations_above(cell[0])]
        for key in keys:
            self.shares.setdefault(key, Share()).name = key
        return tuple(self.shares[key] for key in keys)
