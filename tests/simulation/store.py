"""A model in memory of the partition tables and of the scripts that guard them.

``tests/integration/test_stores_alike.py`` runs the same tests against this model and the real scripts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from schemas.errors import AppliedAlready, Fenced, LogReplaced, PositionMoved
from schemas.keys import PartitionKeys
from schemas.shares import Share, unpack_share
from streams.engine import CellKey
from streams.rows import Row
from streams.tables import Change, Claim

Parts = tuple[bytes, bytes | None]  # of a share: the recent and the settled one
Answer = TypeVar("Answer")
Call = Callable[[Callable[[], Answer]], Awaitable[Answer]]

EPOCH_GUARD: Final = "epoch"
POSITION_GUARD: Final = "position"


@dataclass(slots=True)
class Slot:
    """One partition's tables; ``noted`` is the test's own, kept and lost together with them."""

    epoch: int = 0
    position: int | None = None
    log: str | None = None
    complete_ms: int = 0
    catch_up: int | None = None
    rows: dict[bytes, bytes] = field(default_factory=dict)
    cells: dict[CellKey, Parts] = field(default_factory=dict)
    noted: Any = None

    def copy(self) -> Slot:
        """As it stands now."""
        return replace(self, rows=dict(self.rows), cells=dict(self.cells))


class FakeStore:
    """All tables; ``without`` names the guards that are left out, to see that somebody notices."""

    def __init__(self, without: Collection[str] = ()) -> None:
        self.slots: dict[str, Slot] = {}
        self.values: dict[str, str] = {}  # plain keys, such as the pointer to the serving generation
        self.fenced = 0
        self.moved = 0
        self._without = frozenset(without)
        self._minted = 0

    def snapshot(self) -> Snapshot:
        """Everything, as it stands now."""
        return {name: slot.copy() for name, slot in self.slots.items()}, dict(self.values)

    def restore(self, snapshot: Snapshot) -> None:
        """Be what it was: the tail is lost, of everything at once."""
        slots, values = snapshot
        self.slots = {name: slot.copy() for name, slot in slots.items()}
        self.values = dict(values)

    def wipe(self) -> None:
        """Lose everything."""
        self.slots, self.values = {}, {}

    def slot(self, keys: PartitionKeys) -> Slot:
        """A partition's tables, empty ones where there are none yet."""
        return self.slots.setdefault(keys.position, Slot())

    def claim(self, keys: PartitionKeys, log_identity: str, log_end: int) -> Claim:
        """``claim_partition.lua``."""
        slot = self.slot(keys)
        if slot.log not in (None, log_identity):
            raise LogReplaced(
                f"{keys.position} was read from log {slot.log}, but the topic is now {log_identity}"
            )
        self._minted += 1  # by the clock, which no loss sets back
        slot.epoch = self._minted
        slot.log = log_identity
        if slot.position is None and log_end and slot.catch_up is None:
            slot.catch_up = log_end
        return Claim(slot.epoch, slot.position, slot.catch_up or 0)

    def apply(
        self, keys: PartitionKeys, claim: Claim, change: Change, shares: Mapping[CellKey, Parts]
    ) -> None:
        """``apply_batch.lua``; ``shares`` are the change's, packed when it was sent."""
        slot = self.slot(keys)
        if slot.epoch != claim.epoch and EPOCH_GUARD not in self._without:
            self.fenced += 1
            raise Fenced(f"{keys.position} is at epoch {slot.epoch}; ours was {claim.epoch}")
        if slot.position != claim.position and POSITION_GUARD not in self._without:
            if slot.position == change.next_position:
                raise AppliedAlready(f"{keys.position} is at {change.next_position} already")
            self.moved += 1
            raise PositionMoved(
                f"{keys.position} is at {slot.position}; the batch starts at {claim.position}"
            )
        slot.position = change.next_position
        slot.complete_ms = max(slot.complete_ms, change.complete_ms)
        slot.rows.update(change.rows)
        for name, (recent, settled) in shares.items():
            slot.cells[name] = (recent, slot.cells.get(name, (b"", None))[1] if settled is None else settled)

    def report_progress(self, keys: PartitionKeys, claim: Claim, complete_ms: int) -> None:
        """``report_progress.lua``."""
        slot = self.slots.get(keys.position, Slot())
        if slot.epoch < claim.epoch or (
            slot.epoch == claim.epoch and (slot.position or -1) < (claim.position or -1)
        ):
            raise PositionMoved(
                f"{keys.position} was at {claim.position} under epoch {claim.epoch}, and is no longer"
            )
        if (slot.epoch, slot.position) == (claim.epoch, claim.position):
            slot.complete_ms = max(slot.complete_ms, complete_ms)


Snapshot = tuple[dict[str, Slot], dict[str, str]]


def packed(change: Change) -> dict[CellKey, Parts]:
    """The shares of a change as they are sent: what happens to them later does not matter any more."""
    return {share.name: share.pack() for share in change.shares}


async def at_once(operation: Callable[[], Answer]) -> Answer:
    """A call that nothing can happen to."""
    return operation()


class FakeTables:
    """``streams.tables.PartitionTables`` on the model; ``call`` is how a request gets there and its answer back."""

    def __init__(self, store: FakeStore, log_identity: str, call: Call[Any] = at_once) -> None:
        self.store = store
        self._log_identity = log_identity
        self._call = call

    async def claim(self, keys: PartitionKeys, *, log_end: int = 0) -> Claim:
        """As ``Tables.claim``."""
        claim: Claim = await self._call(lambda: self.store.claim(keys, self._log_identity, log_end))
        return claim

    async def read_rows(self, keys: PartitionKeys, units: Collection[bytes]) -> dict[bytes, Row]:
        """As ``Tables.read_rows``."""

        def read() -> dict[bytes, Row]:
            rows = self.store.slot(keys).rows
            return {unit: rows[unit] for unit in units if unit in rows}

        rows: dict[bytes, Row] = await self._call(read)
        return rows

    async def read_shares(self, keys: PartitionKeys, cells: Iterable[CellKey]) -> dict[CellKey, Share]:
        """As ``Tables.read_shares``."""
        names = list(cells)

        def read() -> dict[CellKey, Share]:
            stored = self.store.slot(keys).cells
            return {name: unpack_share(*stored[name]) if name in stored else Share() for name in names}

        shares: dict[CellKey, Share] = await self._call(read)
        return shares

    async def apply(self, keys: PartitionKeys, claim: Claim, change: Change) -> None:
        """As ``Tables.apply``."""
        shares = packed(change)
        await self._call(lambda: self.store.apply(keys, claim, change, shares))

    async def report_progress(self, keys: PartitionKeys, claim: Claim, complete_ms: int) -> None:
        """As ``Tables.report_progress``."""
        await self._call(lambda: self.store.report_progress(keys, claim, complete_ms))
