"""The published tables in Redis: claim, read what was published, publish. All writes pass one script, under epoch and number.

Guarantee: a family's state, its published cells and the change notice are written together or not at all; a publisher that
another one has replaced writes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any, NamedTuple, Protocol

from gateway.publisher.publication import Publication
from gateway.redis_connection import RedisClient
from schemas.aggregates import CellField
from schemas.changes import encode_changes, notices_kept
from schemas.disclosure.held import Held, cell_of
from schemas.disclosure.published import STAMP_BYTES, PublishedCell, pack_published
from schemas.errors import Fenced, ScoreStreamError, TablesLost
from schemas.keys import PUBLISHED_CHANGES, PUBLISHED_FAMILIES, PUBLISHED_POSITION, published_cells


class Claim(NamedTuple):
    """The right to publish: its epoch, and the number of the next write."""

    epoch: int
    number: int


class PublishedStore(Protocol):
    """The published tables as the publisher uses them; ``PublishedTables`` keeps them in Redis, the tests' fake in memory."""

    async def claim(self) -> Claim: ...
    async def check(self, claim: Claim) -> int: ...
    def families(self) -> AsyncIterator[tuple[CellField, bytes]]: ...
    async def publish(self, claim: Claim, publication: Publication) -> Claim: ...


class PublishedTables:
    """Scripts and reads of one publisher."""

    def __init__(self, redis: RedisClient, owner: str) -> None:
        """``owner`` is what another publisher is told that finds itself replaced."""
        self._redis = redis
        self._owner = owner
        self._claim_script = _script("claim_publishing")
        self._check_script = _script("check_publishing")
        self._publish_script = _script("publish_family")

    async def claim(self) -> Claim:
        """Become the one publisher; whoever was it before is fenced."""
        reply: Any = await self._redis.eval(self._claim_script, 1, PUBLISHED_POSITION, self._owner)
        return Claim(int(reply[0]), int(reply[1]))

    async def check(self, claim: Claim) -> int:
        """Raise unless the claim still holds; returns the time that Redis has, in milliseconds since 1970.

        While it holds, this is a sign of life, by which a monitor judges whether the publisher has stopped.

        Raises:
            Fenced: another publisher has taken over.
            TablesLost: Redis is further back than we left it.
        """
        reply: Any = await self._redis.eval(self._check_script, 1, PUBLISHED_POSITION, claim.epoch)
        now_ms, *stored = reply
        _compare(claim, *stored)
        return int(now_ms)

    async def families(self) -> AsyncIterator[tuple[CellField, bytes]]:
        """The state of every family that was ever published, one after the other: a large one has a megabyte."""
        fields: list[Any] = await self._redis.hkeys(PUBLISHED_FAMILIES)
        for field in sorted(fields):
            packed: Any = await self._redis.hget(PUBLISHED_FAMILIES, field)
            if packed is not None:
                yield CellField(field.decode()), packed

    async def publish(self, claim: Claim, publication: Publication) -> Claim:
        """Write what changed, and say under which claim to write next.

        Raises:
            Fenced, TablesLost: as ``check``; nothing was written.
        """
        cells = [*publication.cells, *publication.gone]
        notice = encode_changes({one: [publication.name] for one in cells}) if cells else b""
        keys = [
            PUBLISHED_POSITION,
            PUBLISHED_CHANGES,
            PUBLISHED_FAMILIES,
            *(published_cells(one) for one in cells),
        ]
        arguments: list[Any] = [
            claim.epoch,
            claim.number,
            publication.name,
            publication.family,
            notice,
            notices_kept(len(notice)),
            *(_unstamped(held) for held in publication.cells.values()),
            *(b"" for _ in publication.gone),
        ]
        reply: Any = await self._redis.eval(self._publish_script, len(keys), *keys, *arguments)
        written = Claim(claim.epoch, claim.number + 1)
        match reply[0]:
            case b"published":
                pass
            case b"moved" if int(reply[1]) == written.number:
                pass  # by ourselves: the connection broke before the answer, and it was sent again
            case b"moved":
                _compare(claim, str(claim.epoch).encode(), reply[1], None)
            case b"fenced":
                _compare(claim, reply[1], None, None)
            case other:
                raise ScoreStreamError(f"publish_family answered {other!r}")
        return written


def _compare(claim: Claim, epoch: bytes | None, number: bytes | None, owner: bytes | None) -> None:
    found = int(epoch or 0)
    if found > claim.epoch:
        by = f" ({owner.decode(errors='replace')})" if owner else ""
        raise Fenced(
            f"another publisher{by} has taken over at epoch {found}; ours was {claim.epoch}. Run exactly one of them"
        )
    if found < claim.epoch or int(number or 0) != claim.number:
        raise TablesLost(
            f"the published tables are at epoch {found}, write {int(number or 0)}; we left them at epoch {claim.epoch}, "
            f"write {claim.number}: Redis has lost what was written last"
        )


def _unstamped(held: Held | None) -> bytes:
    cell = None if held is None else cell_of(held, version=0)
    return pack_published(PublishedCell(0, 0, cell))[STAMP_BYTES:]


def _script(name: str) -> str:
    return files("gateway").joinpath("lua", f"{name}.lua").read_text()
