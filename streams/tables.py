"""The tables of one partition in Redis: claim, read, apply. All writes pass one script, under epoch and position.

Guarantee: a batch's exam rows, cells, change notice and position are written together or not at all; a worker whose
epoch is not the latest, or whose batch does not start at the stored position, writes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from redis.commands.core import AsyncScript

from schemas.aggregates import CellField
from schemas.changes import RESULT_ENTRIES_KEPT, ResultNote, encode_changes, encode_notes, notices_kept
from schemas.errors import AppliedAlready, BatchTooLarge, Fenced, LogReplaced, PositionMoved, ScoreStreamError
from schemas.identifiers import OrganizationId
from schemas.keys import PartitionKeys
from schemas.shares import Share, settled_field, stored_fields, stored_share
from streams.connection import RedisClient
from streams.engine import CellKey
from streams.rows import Row

# A script of so many arguments takes some 20 ms, and everybody waits for it. (Servers before 7.0 take a million at most.)
LARGEST_ARGUMENTS: Final = 50_000

F = TypeVar("F", bytes, str)


class Claim(NamedTuple):
    """Ownership of a partition: its epoch, and the offset to read from (None: nothing was ever applied).

    What lies before ``catch_up`` is read again, or for the first time, from an old log: it is no news.
    """

    epoch: int
    position: int | None
    catch_up: int = 0


class Change(NamedTuple):
    """What one batch writes: all of it, or nothing."""

    next_position: int
    complete_ms: int  # everything produced before this time is applied
    rows: Mapping[bytes, Row]  # by unit
    shares: Sequence[Share]  # each by its name, a ``CellKey``
    notes: Sequence[ResultNote] = ()


class PartitionTables(Protocol):
    """The tables as the worker uses them; ``Tables`` keeps them in Redis, the tests' fake in memory."""

    async def claim(self, keys: PartitionKeys, *, log_end: int = 0) -> Claim: ...
    async def read_rows(self, keys: PartitionKeys, units: Collection[bytes]) -> dict[bytes, Row]: ...
    async def read_shares(self, keys: PartitionKeys, cells: Iterable[CellKey]) -> dict[CellKey, Share]: ...
    async def apply(self, keys: PartitionKeys, claim: Claim, change: Change) -> None: ...
    async def report_progress(self, keys: PartitionKeys, claim: Claim, complete_ms: int) -> None: ...


class Tables:
    """Scripts and reads against one Redis; one per worker."""

    def __init__(self, redis: RedisClient, owner: str, log_identity: str) -> None:
        self._redis = redis
        self._owner = owner
        self._log_identity = log_identity
        self._claim = load_script(redis, "claim_partition")
        self._apply = load_script(redis, "apply_batch")
        self._read = load_script(redis, "read_fields")
        self._progress = load_script(redis, "report_progress")

    async def claim(self, keys: PartitionKeys, *, log_end: int = 0) -> Claim:
        """Become the one writer of a partition; whoever was it before is fenced.

        Where nothing was applied yet, ``log_end`` is kept as the position at which the tables will have caught up with
        the log: until then they are not what readers should take for whole.

        Raises:
            LogReplaced: the stored position belongs to another log.
        """
        reply = await self._claim(keys=[keys.position], args=[self._owner, self._log_identity, log_end])
        if reply[0] == b"log_replaced":
            raise LogReplaced(
                f"{keys.position} was read from log {reply[1].decode()}, but the topic is now {self._log_identity}: "
                "it was deleted and created again, or this is another cluster. Restore the topic, or build the tables from the new one "
                "with `scores rebuild --new-log`"
            )
        return Claim(int(reply[1]), int(reply[2]) if reply[2] else None, int(reply[3] or 0))

    async def read_rows(self, keys: PartitionKeys, units: Collection[bytes]) -> dict[bytes, Row]:
        """The stored rows of those of ``units`` that have one."""
        by_hash: dict[str, list[bytes]] = defaultdict(list)
        for unit, name in zip(units, keys.exams_of(units), strict=True):
            by_hash[name].append(unit)
        return {unit: row for unit, row in await self._read_fields(by_hash) if row is not None}

    async def read_shares(self, keys: PartitionKeys, cells: Iterable[CellKey]) -> dict[CellKey, Share]:
        """This partition's share of each of ``cells``; a new, empty one where there is none yet."""
        by_hash: dict[str, list[CellField]] = defaultdict(list)
        hashes: dict[str, OrganizationId] = {}
        for organization, field in cells:
            name = keys.cells(organization)
            hashes[name] = organization
            by_hash[name].append(field)
        read = await self._read_fields({name: stored_fields(some) for name, some in by_hash.items()})
        values = [value for _, value in read]
        found: dict[CellKey, Share] = {}
        at = 0
        for name, some in by_hash.items():
            middle, end = at + len(some), at + 2 * len(some)
            for field, recent, settled in zip(some, values[at:middle], values[middle:end], strict=True):
                found[hashes[name], field] = Share() if recent is None else stored_share(recent, settled)
            at = end
        return found

    async def apply(self, keys: PartitionKeys, claim: Claim, change: Change) -> None:
        """Write what a batch changed and move the position, in one step.

        Raises:
            Fenced: another worker has claimed the partition since.
            PositionMoved: the partition does not stand where the claim says.
            AppliedAlready: it stands where this change leaves it.
            BatchTooLarge: one script cannot take the change.
        """
        changed: dict[OrganizationId, list[Share]] = defaultdict(list)
        for share in change.shares:
            changed[share.name[0]].append(share)
        notice: Any = {
            organization: [share.name[1] for share in some] for organization, some in changed.items()
        }
        changes = encode_changes(notice) if notice else b""
        news = [note for note in change.notes if note.offset >= claim.catch_up]
        arguments: list[Any] = [
            claim.epoch,
            "" if claim.position is None else claim.position,
            change.next_position,
            change.complete_ms,
            changes,
            notices_kept(len(changes)),
            encode_notes(news) if news else b"",
            RESULT_ENTRIES_KEPT,
            len(change.rows),
            *chain.from_iterable(change.rows.items()),
        ]
        for some in changed.values():
            pairs = _fields_and_values(some)
            arguments.append(len(pairs))
            arguments += pairs
        names = [
            keys.position,
            keys.changes,
            keys.results,
            *keys.exams_of(change.rows),
            *map(keys.cells, changed),
        ]
        if len(names) + len(arguments) > LARGEST_ARGUMENTS:
            raise BatchTooLarge(
                f"{len(names) + len(arguments)} arguments; one script takes {LARGEST_ARGUMENTS} at most"
            )
        reply = await self._apply(keys=names, args=arguments)
        if reply[0] == b"fenced":
            raise Fenced(f"{keys.position} is at epoch {reply[1].decode()}; ours was {claim.epoch}")
        if reply[0] == b"moved":
            # Only we can have written under our epoch: the connection broke before the answer, and it was sent again.
            if reply[1] == str(change.next_position).encode():
                raise AppliedAlready(f"{keys.position} is at {change.next_position} already")
            raise PositionMoved(
                f"{keys.position} is at {reply[1].decode()}; the batch starts at {claim.position}"
            )
        if reply[0] != b"applied":
            raise ScoreStreamError(f"apply_batch answered {reply!r}")

    async def report_progress(self, keys: PartitionKeys, claim: Claim, complete_ms: int) -> None:
        """Say that everything produced before ``complete_ms`` is applied.

        Raises:
            PositionMoved: the partition stands before the claim's position, or before the claim was made: Redis has lost
                what we wrote. Further on, it is another's, or a batch of ours is under way; that is no fault.
        """
        known = "" if claim.position is None else claim.position
        outcome, stored = await self._progress(keys=[keys.position], args=[claim.epoch, known, complete_ms])
        back = (outcome == b"fenced" and int(stored or 0) < claim.epoch) or (
            outcome == b"moved" and claim.position is not None and int(stored or -1) < claim.position
        )
        if back:
            raise PositionMoved(
                f"{keys.position} was at {claim.position} under epoch {claim.epoch}, and is no longer"
            )

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


def _fields_and_values(shares: Iterable[Share]) -> list[str | bytes]:
    pairs: list[str | bytes] = []
    for share in shares:
        field = share.name[1]
        recent, settled = share.pack()
        pairs += (field, recent)
        if settled is not None:
            pairs += (settled_field(field), settled)
    return pairs


def load_script(redis: RedisClient, name: str) -> AsyncScript:
    """A script of ``streams/lua``, registered with a Redis connection; it loads itself where it is missing."""
    source = files("streams").joinpath("lua", f"{name}.lua").read_text()
    register: Callable[[str], AsyncScript] = redis.register_script
    return register(source)
