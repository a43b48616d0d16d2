"""The guards of the apply script, on a real server: all or nothing, one writer, one position."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import redis.asyncio
import stack
from redis import Redis

from cli.stack.redis_server import EmbeddedRedis
from schemas.aggregates import Cell, CellField, contribution, levels_code
from schemas.changes import decode_changes
from schemas.errors import Fenced, LogReplaced, PositionMoved
from schemas.identifiers import STATE, OrganizationId, PartitionId
from schemas.keys import Generation, PartitionKeys
from schemas.shares import Share, stored_cell
from streams.engine import CellKey
from streams.rows import TOMBSTONE, pack_tombstone
from streams.tables import Change, Claim, Tables

KEYS = PartitionKeys(Generation("g1"), PartitionId(3))
UNIT = bytes.fromhex("00ff" * 6) + b"unit"
EXAM = pack_tombstone(TOMBSTONE, b"exam-one", 10, 1)
CELL: CellKey = (STATE, CellField("2026:ELA-SUM:03"))


@pytest.fixture(scope="module", params=["embedded", "system"])
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedRedis]:
    with stack.store(request.param) as running:
        yield running


@pytest.fixture
def store(server: EmbeddedRedis) -> Iterator[Redis]:
    with Redis.from_url(server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def run(server: EmbeddedRedis) -> Callable[[Callable[[Tables], Coroutine[Any, Any, Any]]], Any]:
    """Runs a coroutine function with the tables of a worker."""

    def run(steps: Callable[[Tables], Coroutine[Any, Any, Any]], log: str = "cluster/topic") -> Any:
        async def main() -> Any:
            async with redis.asyncio.Redis.from_url(server.url) as client:
                return await steps(Tables(client, "worker-1", log))

        return asyncio.run(main())

    return run


def one_result(name: CellKey = CELL) -> Share:
    share = Share()
    share.name = name
    share.apply(contribution(2431, levels_code([2])))
    share.version = 1
    return share


async def apply(tables: Tables, claim: Claim, to: int) -> None:
    await tables.apply(KEYS, claim, Change(to, 1_700_000_000_000, {UNIT: EXAM}, [one_result()]))


def test_rows_cells_notice_and_position_are_written_together(run: Any, store: Redis) -> None:
    async def steps(tables: Tables) -> Any:
        claim = await tables.claim(KEYS)
        assert claim.position is None
        await apply(tables, claim, 5)
        rows = await tables.read_rows(KEYS, [UNIT])
        shares = await tables.read_shares(KEYS, [CELL, (OrganizationId("59000000000000"), CELL[1])])
        return rows, shares

    rows, shares = run(steps)
    assert rows == {UNIT: EXAM}
    assert shares[CELL].totals() == one_result().totals() and shares[CELL].version == 1
    assert shares[OrganizationId("59000000000000"), CELL[1]].totals() == Cell()
    position = store.hgetall(KEYS.position)
    assert position[b"next"] == b"5" and position[b"complete_ms"] == b"1700000000000"
    [(entry_id, entry)] = store.xrange(KEYS.changes)
    assert decode_changes(entry[b"cells"]) == {STATE: [CELL[1]]}
    changed_ms, _ = stored_cell(store.hget(KEYS.cells(STATE), CELL[1]))
    assert changed_ms == int(position[b"changed_ms"]) == int(entry_id.split(b"-")[0])


def test_worker_that_lost_its_partition_cannot_write(run: Any, store: Redis) -> None:
    async def steps(tables: Tables) -> None:
        zombie = await tables.claim(KEYS)
        await tables.claim(KEYS)
        await apply(tables, zombie, 5)

    with pytest.raises(Fenced, match=r"is at epoch \d+; ours was \d+"):
        run(steps)
    assert store.hget(KEYS.position, "next") is None
    assert store.keys("*cells*") == store.keys("*exams*") == store.keys("*changes*") == []


def test_batch_that_does_not_start_at_the_position_is_not_written(run: Any, store: Redis) -> None:
    async def steps(tables: Tables) -> None:
        claim = await tables.claim(KEYS)
        await apply(tables, claim, 5)
        await apply(tables, Claim(claim.epoch, 4), 9)

    with pytest.raises(PositionMoved, match="is at 5; the batch starts at 4"):
        run(steps)
    assert store.hget(KEYS.position, "next") == b"5"
    assert store.xlen(KEYS.changes) == 1


def test_claim_hands_out_the_position_and_a_higher_epoch_each_time(run: Any, store: Redis) -> None:
    async def steps(tables: Tables) -> list[Claim]:
        first = await tables.claim(KEYS)
        await apply(tables, first, 5)
        return [first, await tables.claim(KEYS), await tables.claim(KEYS)]

    claims = run(steps)
    assert [claim.position for claim in claims] == [None, 5, 5]
    epochs = [claim.epoch for claim in claims]
    assert epochs == sorted(set(epochs))


def test_epoch_lost_with_the_tail_is_never_handed_out_again(run: Any, store: Redis) -> None:
    """Otherwise the worker that had it would write beside the one that has it now."""

    async def steps(tables: Tables) -> None:
        await tables.claim(KEYS)
        kept = store.hgetall(KEYS.position)
        zombie = await tables.claim(KEYS)
        store.hset(KEYS.position, mapping=kept)  # Redis is back where it was before that claim
        assert (await tables.claim(KEYS)).epoch > zombie.epoch
        await apply(tables, zombie, 5)

    with pytest.raises(Fenced):
        run(steps)


def test_position_of_another_log_is_refused_and_left_alone(run: Any, store: Redis) -> None:
    claim = run(lambda tables: tables.claim(KEYS))
    with pytest.raises(LogReplaced, match="cluster/topic"):
        run(lambda tables: tables.claim(KEYS), "cluster/another-topic")
    assert store.hget(KEYS.position, "epoch") == str(claim.epoch).encode()


def test_tables_that_start_from_nothing_say_where_they_will_have_caught_up(run: Any, store: Redis) -> None:
    async def steps(tables: Tables) -> None:
        claim = await tables.claim(KEYS, log_end=7)
        await apply(tables, claim, 5)
        await tables.claim(KEYS, log_end=9)

    run(steps)
    assert store.hget(KEYS.position, "catch_up") == b"7"


def test_thousands_of_rows_and_cells_pass_one_script(run: Any, store: Redis) -> None:
    """Lua's unpack fails near 8,000 values; one organization can have more."""
    fields = [CellField(f"2026:ELA-IAB-BLOCK{number}:03") for number in range(5_000)]

    async def steps(tables: Tables) -> Any:
        claim = await tables.claim(KEYS)
        everything = [one_result((STATE, field)) for field in fields]
        await tables.apply(KEYS, claim, Change(1, 0, {}, everything))
        return await tables.read_shares(KEYS, [share.name for share in everything])

    assert len(run(steps)) == 5_000
    assert store.hlen(KEYS.cells(STATE)) == 5_000


def test_changed_time_never_goes_back_when_the_server_clock_does(run: Any, store: Redis) -> None:
    async def steps(tables: Tables) -> None:
        claim = await tables.claim(KEYS)
        store.hset(KEYS.position, "changed_ms", "99999999999999")
        await apply(tables, claim, 5)

    run(steps)
    assert stored_cell(store.hget(KEYS.cells(STATE), CELL[1]))[0] == 99999999999999


def test_progress_of_a_partition_only_moves_forward_and_only_for_its_owner(run: Any, store: Redis) -> None:
    async def steps(tables: Tables) -> None:
        zombie = await tables.claim(KEYS)
        claim = await tables.claim(KEYS)
        await tables.report_progress(KEYS, claim, 2_000)
        await tables.report_progress(KEYS, claim, 1_000)
        await tables.report_progress(KEYS, zombie, 3_000)

    run(steps)
    assert store.hget(KEYS.position, "complete_ms") == b"2000"
