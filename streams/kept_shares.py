"""The shares of cells that the owner of a partition keeps in memory, so that a batch reads only what it meets first.

Right because there is one writer: while the claim holds, nobody else can change these shares.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from schemas.shares import Share
from streams.engine import CellKey, Chain, organizations_above
from streams.reading import Counted, SchoolCell

# About 500 bytes each. The state has 63,000 cells of schools; below the number of cells that a burst touches, every batch
# would read its cells again.
CHAINS_KEPT: Final = 80_000

ReadShares = Callable[[Iterable[CellKey]], Awaitable[Mapping[CellKey, Share]]]


class KeptShares:
    """Chains of shares by school and cell."""

    def __init__(self, read: ReadShares, *, tables_empty: bool) -> None:
        """``tables_empty``: there was nothing to read when the partition was claimed, so all that is kept is all there is."""
        self._read = read
        self._all_kept = tables_empty
        self._shares: dict[CellKey, Share] = {}
        self._chains: dict[SchoolCell, Chain] = {}

    async def chains(self, *counted: Sequence[Counted]) -> Mapping[SchoolCell, Chain]:
        """The chains of at least the cells of ``counted``."""
        missing = self._missing(counted)
        if missing and len(self._chains) + len(missing) > CHAINS_KEPT:
            self._shares.clear()
            self._chains.clear()
            self._all_kept = False
            missing = self._missing(counted)
        if missing:
            await self._add(missing)
        return self._chains

    def _missing(self, counted: Iterable[Sequence[Counted]]) -> set[SchoolCell]:
        kept = self._chains
        return {cell for some in counted for cell, _ in some if cell not in kept}

    async def _add(self, cells: set[SchoolCell]) -> None:
        keys = {cell: [(above, cell[1]) for above in organizations_above(cell[0])] for cell in cells}
        wanted = {key for chain in keys.values() for key in chain if key not in self._shares}
        found = {} if self._all_kept else await self._read(wanted)
        for key in wanted:
            share = self._shares[key] = found[key] if found else Share()
            share.name = key
        for cell, chain in keys.items():
            self._chains[cell] = tuple([self._shares[key] for key in chain])
