"""What the import service keeps in Redis. Students appear only as pseudonyms.

    scores:imports:<id>              string  one import record (JSON); expires
    scores:imports:digest:<sha256>   string  id of the accepted import of these bytes; expires
    scores:imports:parked:<sha256>   string  id of the parked import of these bytes; expires
    scores:imports:batch:<hash>      hash    what a creator's batch came to, counted; expires
    scores:imports:sequence          string  the last sequence number given out
    scores:imports:exams:<bucket>    hash    exam -> its holders and newest version (histories.py); never expires

Each command touches one key, so that standalone Redis and Redis Cluster serve alike.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from importlib.resources import files
from typing import Any, Final, Protocol

from redis.exceptions import NoScriptError, RedisError

from gateway.imports.histories import ExamClaim, History
from gateway.imports.records import ImportRecord, Outcome, Submission, decode_record, encode_record
from gateway.imports.settings import ImportSettings
from gateway.redis_connection import RedisClient
from schemas.errors import DependencyUnavailable
from schemas.identifiers import OrganizationId, OrganizationLevel, level_of
from schemas.keys import ORGANIZATIONS, ORGANIZATIONS_VERSION

_PREFIX: Final = "scores:imports:"
_SEQUENCE: Final = f"{_PREFIX}sequence"
_ID: Final = re.compile(r"[0-9a-f]{32}")
_DAY_SECONDS: Final = 86_400
# Commands sent before their answers are read. Packing them holds up the event loop; so many take a few milliseconds.
_PIPELINE: Final = 250


_Argument = str | bytes | int
_Command = tuple[_Argument, ...]
_Call = tuple[_Argument, ...]


class ImportStore(Protocol):
    """What the import service needs to remember. Every call may raise DependencyUnavailable."""

    async def earlier(self, digests: Sequence[str]) -> list[ImportRecord | None]:
        """The accepted import of each digest, else the parked one, else None."""

    async def schools(self) -> frozenset[str]:
        """CDS codes of all schools in the directory, as of now."""

    async def take_sequences(self, number: int) -> int:
        """The first of so many sequence numbers, all above every number taken before."""

    async def claim(self, claims: Sequence[ExamClaim]) -> list[History]:
        """Note who is about to be produced; the histories include it."""

    async def confirm(self, claims: Sequence[ExamClaim]) -> list[History]:
        """Note versions that Kafka acknowledged."""

    async def keep(self, submissions: Sequence[Submission]) -> list[Submission]:
        """Keep what was made new, and answer with what is true now.

        An import of bytes that another import took in the meantime comes back as its duplicate.
        """

    async def count(self, creator: str, batch: str, counts: Counter[str]) -> None:
        """Add to what a creator's batch came to."""

    async def find(self, import_id: str) -> ImportRecord | None:
        """One import by its id."""

    async def batch_counts(self, creator: str, batch: str) -> Counter[str]:
        """What a creator's batch came to so far; empty when there is none."""


class RedisImportStore:
    """The store on Redis. The client must not decode responses: some of them are bytes."""

    def __init__(self, redis: RedisClient, settings: ImportSettings) -> None:
        self._redis = redis
        self._keep_seconds = settings.keep_days * _DAY_SECONDS
        self._redis_seconds = settings.redis_seconds
        self._scripts = {name: _script(name) for name in ("take_sequences", "claim_exam", "confirm_exam")}
        self._hashes: dict[str, str] = {}
        self._schools: tuple[bytes | None, frozenset[str]] = (None, frozenset())

    async def earlier(self, digests: Sequence[str]) -> list[ImportRecord | None]:
        async with self._budget():
            keys = [f"{_PREFIX}{kind}:{digest}" for digest in digests for kind in ("digest", "parked")]
            ids = await self._pipelined([("GET", key) for key in keys])
            # The accepted import outranks the parked one. An id whose record is gone is no import.
            chosen = [ids[at] or ids[at + 1] for at in range(0, len(ids), 2)]
            found = iter(await self._pipelined([("GET", _PREFIX + i.decode()) for i in chosen if i]))
            stored = [next(found) if i else None for i in chosen]
            return [decode_record(record) if record else None for record in stored]

    async def schools(self) -> frozenset[str]:
        async with self._budget():
            version = await self._command("GET", ORGANIZATIONS_VERSION)
            if version is None or version != self._schools[0]:
                codes = [code.decode() for code in await self._command("HKEYS", ORGANIZATIONS)]
                school = OrganizationLevel.SCHOOL
                self._schools = (
                    version,
                    frozenset(code for code in codes if level_of(OrganizationId(code)) is school),
                )
            return self._schools[1]

    async def take_sequences(self, number: int) -> int:
        async with self._budget():
            [first] = await self._run("take_sequences", [(_SEQUENCE, number)])
            return int(first)

    async def claim(self, claims: Sequence[ExamClaim]) -> list[History]:
        async with self._budget():
            calls = [(claim.key, claim.exam, claim.holder.packed()) for claim in claims]
            return [History.unpack(packed) for packed in await self._run("claim_exam", calls)]

    async def confirm(self, claims: Sequence[ExamClaim]) -> list[History]:
        async with self._budget():
            calls = [(c.key, c.exam, c.holder.packed(), c.version.packed()) for c in claims]
            return [History.unpack(packed) for packed in await self._run("confirm_exam", calls)]

    async def keep(self, submissions: Sequence[Submission]) -> list[Submission]:
        async with self._budget():
            # Records first: an index entry without its record would hide these bytes from every resend.
            await self._pipelined(
                [
                    ("SET", _PREFIX + s.record.id, encode_record(s.record), "EX", self._keep_seconds)
                    for s in submissions
                    if s.new
                ]
            )
            return await self._index(submissions)

    async def count(self, creator: str, batch: str, counts: Counter[str]) -> None:
        async with self._budget():
            key = _batch_key(creator, batch)
            commands: list[_Command] = [("HINCRBY", key, name, number) for name, number in counts.items()]
            await self._pipelined([*commands, ("EXPIRE", key, self._keep_seconds)])

    async def find(self, import_id: str) -> ImportRecord | None:
        if not _ID.fullmatch(import_id):  # no id of ours, and perhaps the name of another key
            return None
        async with self._budget():
            stored = await self._command("GET", _PREFIX + import_id)
            return decode_record(stored) if stored else None

    async def batch_counts(self, creator: str, batch: str) -> Counter[str]:
        async with self._budget():
            pairs = await self._command("HGETALL", _batch_key(creator, batch))
            return Counter({name.decode(): int(number) for name, number in pairs.items()})

    async def _index(self, submissions: Sequence[Submission]) -> list[Submission]:
        kept = list(submissions)
        indexed = [(at, key) for at, s in enumerate(kept) if (key := _index_key(s)) is not None]
        commands: list[_Command] = []
        for at, key in indexed:
            # Not SET with NX and GET together: Redis has that from 7.0 on only.
            commands.append(("SET", key, kept[at].record.id, "NX", "EX", self._keep_seconds))
            commands.append(("GET", key))
        answers = await self._pipelined(commands)
        for (at, key), holder in zip(indexed, answers[1::2], strict=True):
            if holder is not None and holder.decode() != kept[at].record.id:
                kept[at] = await self._overtaken(kept[at], key, _PREFIX + holder.decode())
        return kept

    async def _overtaken(self, submission: Submission, index_key: str, winner_key: str) -> Submission:
        stored = await self._command("GET", winner_key)
        if stored is None:  # the index outlived its record
            await self._redis.set(index_key, submission.record.id, ex=self._keep_seconds)
            return submission
        winner = decode_record(stored)
        if winner.creator != submission.record.creator:
            return Submission(submission.record, Outcome.DUPLICATE)
        await self._redis.delete(_PREFIX + submission.record.id)
        return Submission(winner, Outcome.DUPLICATE, new=False)

    async def _command(self, *command: _Argument) -> Any:
        [answer] = await self._pipelined([command])
        return answer

    async def _pipelined(self, commands: Sequence[_Command]) -> list[Any]:
        answers: list[Any] = []
        for start in range(0, len(commands), _PIPELINE):
            pipe = self._redis.pipeline(transaction=False)
            for command in commands[start : start + _PIPELINE]:
                pipe.execute_command(*command)
            answers += await pipe.execute()
        return answers

    async def _run(self, script: str, calls: Sequence[_Call]) -> list[Any]:
        """Call a script once for each (key, arguments...), in order."""
        if script not in self._hashes:
            self._hashes[script] = await self._redis.script_load(self._scripts[script])
        commands = [("EVALSHA", self._hashes[script], 1, *call) for call in calls]
        try:
            return await self._pipelined(commands)
        except NoScriptError:
            # Redis was restarted. Calls that had run before it are run again; that changes nothing.
            await self._redis.script_load(self._scripts[script])
            return await self._pipelined(commands)

    @asynccontextmanager
    async def _budget(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._redis_seconds):
                yield
        except (RedisError, OSError, TimeoutError) as error:
            raise DependencyUnavailable(
                f"Redis did not do its part of an import within {self._redis_seconds:g} s: "
                f"{error or type(error).__name__}"
            ) from error


def _index_key(submission: Submission) -> str | None:
    if submission.outcome is Outcome.ACCEPTED:
        return f"{_PREFIX}digest:{submission.record.digest}"
    if submission.outcome is Outcome.PARKED:
        return f"{_PREFIX}parked:{submission.record.digest}"
    return None


def _batch_key(creator: str, batch: str) -> str:
    # Hashed: the names come from outside, and one creator's batch is nobody else's.
    name = f"{creator}\0{batch}".encode()
    return f"{_PREFIX}batch:{blake2b(name, digest_size=16).hexdigest()}"


def _script(name: str) -> str:
    return files("gateway").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
