"""The tables of one partition in Redis: claim, read, apply. All writes pass one script, under epoch and position.

Guarantee: a batch's exam rows, cells, change notice and position are written together or not at all; a worker whose
epoch is not the latest, or whose batch does not start at the stored position, writes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple, TypeVar

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from schemas.aggregates import Cell, CellField, stored_cell
from schemas.changes import encode_changes
from schemas.errors import Fenced, LogReplaced, PositionMoved, ScoreStreamError
from schemas.identifiers import OrganizationId, StudentKey
from schemas.keys import PartitionKeys
from streams.engine import CellKey, Decision
from streams.scoring import StoredExam, pack_exams, unpack_exams

# Notices older than a thousand batches help nobody: a reader that far behind reads the cells anew.
CHANGES_KEPT: Final = 1_000

F = TypeVar("F", bytes, CellField)


class Claim(NamedTuple):
    """Ownership of a partition: its epoch, and the offset to read from (None: nothing was ever applied)."""

    epoch: int
    position: int | None


class Tables:
    """Scripts and reads against one Redis; one per worker."""

    def __init__(self, redis: Redis, owner: str, log_identity: str) -> None:
        self._redis = redis
        self._owner = owner
        self._log_identity = log_identity
        self._claim = load_script(redis, "claim_partition")
        self._apply = load_script(redis, "apply_batch")
        self._read = load_script(redis, "read_fields")
        self._progress = load_script(redis, "report_progress")

    async def claim(self, keys: PartitionKeys) -> Claim:
        """Become the one writer of a partition; whoever was it before is fenced.

        Raises:
            LogReplaced: the stored position belongs to another log.
        """
        reply = await self._claim(keys=[keys.position], args=[self._owner, self._log_identity])
        if reply[0] == b"log_replaced":
            raise LogReplaced(
                f"{keys.position} was read from log {reply[1].decode()}, but the topic is now {self._log_identity}: "
                "it was deleted and created again, or this is another cluster. Start with an empty Redis, or restore the topic"
            )
        return Claim(int(reply[1]), int(reply[2]) if reply[2] else None)

    async def read_exams(
        self, keys: PartitionKeys, units: Mapping[bytes, StudentKey]
    ) -> dict[bytes, list[StoredExam]]:
        """The stored exams of those of ``units`` that have any."""
        by_hash: dict[str, list[bytes]] = defaultdict(list)
        for unit, student in units.items():
            by_hash[keys.exams(student)].append(unit)
        found: dict[bytes, list[StoredExam]] = {}
        for unit, value in await self._read_fields(by_hash):
            if value is not None:
                found[unit] = unpack_exams(value)
        return found

    async def read_cells(self, keys: PartitionKeys, cells: Iterable[CellKey]) -> dict[CellKey, Cell]:
        """This partition's share of each of ``cells``; a new, empty one where there is none yet."""
        by_hash: dict[str, list[CellField]] = defaultdict(list)
        hashes: dict[str, OrganizationId] = {}
        for organization, field in cells:
            name = keys.cells(organization)
            hashes[name] = organization
            by_hash[name].append(field)
        names = [(hashes[name], field) for name, fields in by_hash.items() for field in fields]
        values = await self._read_fields(by_hash)
        return {
            name: stored_cell(value)[1] if value is not None else Cell()
            for name, (_, value) in zip(names, values, strict=True)
        }

    async def apply(
        self,
        keys: PartitionKeys,
        claim: Claim,
        *,
        next_position: int,
        complete_ms: int,
        decision: Decision,
        cells: Mapping[CellKey, Cell],
    ) -> None:
        """Write what a batch changed and move the position, in one step.

        Raises:
            Fenced: another worker has claimed the partition since.
            PositionMoved: the partition does not stand where the claim says.
        """
        rows: dict[str, list[bytes]] = defaultdict(list)
        for unit, (student, exams) in decision.units.items():
            rows[keys.exams(StudentKey(student))] += (unit, pack_exams(exams))
        by_organization: dict[OrganizationId, list[str | bytes]] = defaultdict(list)
        notice: dict[str, list[str]] = defaultdict(list)
        for (organization, field), cell in cells.items():
            by_organization[organization] += (field, cell.pack())
            notice[organization].append(field)
        arguments: list[Any] = [
            claim.epoch,
            "" if claim.position is None else claim.position,
            next_position,
            complete_ms,
            encode_changes(notice) if notice else b"",
            CHANGES_KEPT,
            len(rows),
        ]
        for pairs in rows.values():
            arguments.append(len(pairs))
            arguments += pairs
        for cell_pairs in by_organization.values():
            arguments.append(len(cell_pairs))
            arguments += cell_pairs
        names = [keys.position, keys.changes, *rows, *map(keys.cells, by_organization)]
        reply = await self._apply(keys=names, args=arguments)
        if reply[0] == b"fenced":
            raise Fenced(f"{keys.position} is at epoch {reply[1].decode()}; ours was {claim.epoch}")
        if reply[0] == b"moved":
            raise PositionMoved(
                f"{keys.position} is at {reply[1].decode()}; the batch starts at {claim.position}"
            )
        if reply[0] != b"applied":
            raise ScoreStreamError(f"apply_batch answered {reply!r}")

    async def report_progress(self, keys: PartitionKeys, claim: Claim, complete_ms: int) -> None:
        """Say that everything produced before ``complete_ms`` is applied."""
        await self._progress(keys=[keys.position], args=[claim.epoch, complete_ms])

    async def _read_fields(self, by_hash: Mapping[str, Sequence[F]]) -> Collection[tuple[F, bytes | None]]:
        if not by_hash:
            return []
        arguments: list[Any] = []
        fields: list[F] = []
        for some in by_hash.values():
            arguments.append(len(some))
            arguments += some
            fields += some
        values = await self._read(keys=list(by_hash), args=arguments)
        return list(zip(fields, values, strict=True))


def load_script(redis: Redis, name: str) -> AsyncScript:
    """A script of ``streams/lua``, registered with a Redis connection; it loads itself where it is missing."""
    source = files("streams").joinpath("lua", f"{name}.lua").read_text()
    register: Callable[[str], AsyncScript] = redis.register_script
    return register(source)
