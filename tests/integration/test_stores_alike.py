"""One suite for the model of the store and for the real scripts, so that the model, and all it proves, cannot drift.

The embedded server is Valkey; the system's is whatever Redis this machine has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any

import pytest
import redis.asyncio
from simulation.backends import Backend, FakeBackend, RedisBackend, address_of

from schemas.aggregates import CellField, contribution, levels_code
from schemas.errors import AppliedAlready, Fenced, LogReplaced, PositionMoved
from schemas.identifiers import STATE, OrganizationId, PartitionId
from schemas.keys import Generation, PartitionKeys
from schemas.shares import Share
from streams.engine import CellKey
from streams.tables import Change, Claim, PartitionTables

pytestmark = pytest.mark.anyio

KEYS = PartitionKeys(Generation("g1"), PartitionId(3))
OTHER_KEYS = PartitionKeys(Generation("g1"), PartitionId(4))
UNIT = bytes.fromhex("00ff" * 6) + b"unit"
OTHER_UNIT = bytes.fromhex("0100" * 6) + b"unit"
CELL: CellKey = (STATE, CellField("2026:ELA-SUM:03"))
OTHER_CELL: CellKey = (OrganizationId("61700016000001"), CellField("2026:ELA-SUM:03"))


@pytest.fixture(scope="module", params=["fake", "embedded", "system"])
def address(request: pytest.FixtureRequest) -> Iterator[str | None]:
    with address_of(request.param) as found:
        yield found


@pytest.fixture
async def backend(address: str | None) -> AsyncIterator[Backend]:
    if address is None:
        yield FakeBackend()
        return
    async with redis.asyncio.Redis.from_url(address) as client:
        await client.flushall()
        yield RedisBackend(client)


def share(*scores: int, version: int = 1, name: CellKey = CELL) -> Share:
    made = Share()
    made.name, made.version = name, version
    for score in scores:
        made.apply(contribution(score, levels_code([2])))
    return made


def change(to: int, *shares: Share, complete_ms: int = 0, **rows: bytes) -> Change:
    units = {"unit": UNIT, "other": OTHER_UNIT}
    return Change(to, complete_ms, {units[name]: row for name, row in rows.items()}, list(shares))


async def contents(tables: PartitionTables, keys: PartitionKeys = KEYS) -> Any:
    rows = await tables.read_rows(keys, [UNIT, OTHER_UNIT])
    shares = await tables.read_shares(keys, [CELL, OTHER_CELL])
    return rows, {name: (found.version, sorted(found.totals().scores())) for name, found in shares.items()}


EMPTY: Any = ({}, {CELL: (0, []), OTHER_CELL: (0, [])})


async def test_what_a_batch_wrote_is_read_back(backend: Backend) -> None:
    tables = backend.tables()
    claim = await tables.claim(KEYS)
    assert claim.position is None and await contents(tables) == EMPTY
    batch = change(5, share(2431), share(2431, 2500, name=OTHER_CELL), unit=b"row", other=b"second row")
    await tables.apply(KEYS, claim, batch)
    assert await contents(tables) == (
        {UNIT: b"row", OTHER_UNIT: b"second row"},
        {CELL: (1, [(2431, 1)]), OTHER_CELL: (1, [(2431, 1), (2500, 1)])},
    )
    await tables.apply(KEYS, Claim(claim.epoch, 5), change(7, share(2500, version=2), unit=b"newer row"))
    rows, shares = await contents(tables)
    assert rows == {UNIT: b"newer row", OTHER_UNIT: b"second row"}
    assert shares[CELL] == (2, [(2500, 1)]) and shares[OTHER_CELL][0] == 1
    assert (await tables.claim(KEYS)).position == 7


async def test_partitions_share_nothing(backend: Backend) -> None:
    tables = backend.tables()
    await tables.apply(KEYS, await tables.claim(KEYS), change(5, share(2431), unit=b"row"))
    assert (await tables.claim(OTHER_KEYS)).position is None
    assert await contents(tables, OTHER_KEYS) == EMPTY


async def test_share_that_changes_after_it_was_written_is_not_written_again(backend: Backend) -> None:
    tables = backend.tables()
    kept = share(2431)
    await tables.apply(KEYS, await tables.claim(KEYS), change(5, kept))
    kept.apply(contribution(2500, levels_code([3])))
    assert (await contents(tables))[1][CELL] == (1, [(2431, 1)])
    read = (await tables.read_shares(KEYS, [CELL]))[CELL]
    read.apply(contribution(2500, levels_code([3])))
    assert (await contents(tables))[1][CELL] == (1, [(2431, 1)])


async def test_worker_that_lost_its_partition_writes_nothing(backend: Backend) -> None:
    zombie, owner = backend.tables(), backend.tables()
    old = await zombie.claim(KEYS)
    await owner.claim(KEYS)
    with pytest.raises(Fenced):
        await zombie.apply(KEYS, old, change(5, share(2431), unit=b"row"))
    assert await contents(owner) == EMPTY
    assert (await owner.claim(KEYS)).position is None


@pytest.mark.parametrize("position", [4, 6, None])
async def test_batch_from_another_position_writes_nothing(backend: Backend, position: int | None) -> None:
    tables = backend.tables()
    claim = await tables.claim(KEYS)
    await tables.apply(KEYS, claim, change(5, share(2431), unit=b"row"))
    before = await contents(tables)
    with pytest.raises(PositionMoved) as moved:
        await tables.apply(KEYS, Claim(claim.epoch, position), change(9, share(2500), other=b"row"))
    assert not isinstance(moved.value, AppliedAlready)
    assert await contents(tables) == before


async def test_batch_whose_answer_got_lost_is_applied_once_and_says_so(backend: Backend) -> None:
    tables = backend.tables()
    claim = await tables.claim(KEYS)
    await tables.apply(KEYS, claim, change(5, share(2431), unit=b"row"))
    before = await contents(tables)
    with pytest.raises(AppliedAlready):
        await tables.apply(KEYS, claim, change(5, share(2431), unit=b"row"))
    assert await contents(tables) == before


async def test_epochs_grow_also_when_the_store_has_forgotten_the_last_ones(backend: Backend) -> None:
    tables = backend.tables()
    first = await tables.claim(KEYS)
    snapshot = await backend.snapshot()
    lost = [await tables.claim(KEYS), await tables.claim(KEYS)]
    assert first.epoch < lost[0].epoch < lost[1].epoch
    await backend.restore(snapshot)
    after = await tables.claim(KEYS)
    assert after.epoch > lost[1].epoch, "a worker from before the loss would pass for the one after it"
    with pytest.raises(Fenced):
        await tables.apply(KEYS, lost[1], change(5, share(2431)))
    await backend.wipe()
    assert (await tables.claim(KEYS)).epoch > after.epoch


async def test_rolled_back_tables_forget_rows_shares_and_position_together(backend: Backend) -> None:
    tables = backend.tables()
    claim = await tables.claim(KEYS)
    await tables.apply(KEYS, claim, change(5, share(2431), unit=b"row"))
    snapshot, before = await backend.snapshot(), await contents(tables)
    await tables.apply(KEYS, Claim(claim.epoch, 5), change(9, share(2500, version=2), unit=b"newer row"))
    await backend.restore(snapshot)
    assert await contents(tables) == before
    with pytest.raises(PositionMoved):
        await tables.apply(KEYS, Claim(claim.epoch, 9), change(11, share(2501, version=3)))
    assert (await tables.claim(KEYS)).position == 5


async def test_tables_of_another_log_are_refused_and_left_alone(backend: Backend) -> None:
    tables = backend.tables()
    claim = await tables.claim(KEYS)
    with pytest.raises(LogReplaced):
        await backend.tables("cluster/another-topic").claim(KEYS)
    await tables.apply(KEYS, claim, change(5))


async def test_completeness_moves_forward_only_and_for_its_owner_only(backend: Backend) -> None:
    zombie, owner = backend.tables(), backend.tables()
    old, claim = await zombie.claim(KEYS), await owner.claim(KEYS)
    await owner.report_progress(KEYS, claim, 2_000)
    await owner.report_progress(KEYS, claim, 1_000)
    await zombie.report_progress(KEYS, old, 3_000)  # no fault of anybody's, and without effect
    assert await backend.complete_ms(KEYS) == 2_000
    await owner.apply(KEYS, claim, change(5, complete_ms=1_500))
    assert await backend.complete_ms(KEYS) == 2_000
    await owner.report_progress(KEYS, claim, 4_000)  # a batch of its own went through meanwhile
    assert await backend.complete_ms(KEYS) == 2_000
    await owner.apply(KEYS, Claim(claim.epoch, 5), change(6, complete_ms=5_000))
    assert await backend.complete_ms(KEYS) == 5_000


async def test_owner_of_tables_that_were_rolled_back_or_lost_hears_of_it_while_nothing_arrives(
    backend: Backend,
) -> None:
    tables = backend.tables()
    claim = await tables.claim(KEYS)
    await tables.apply(KEYS, claim, change(5))
    snapshot = await backend.snapshot()
    await tables.apply(KEYS, Claim(claim.epoch, 5), change(9))
    await backend.restore(snapshot)
    with pytest.raises(PositionMoved):
        await tables.report_progress(KEYS, Claim(claim.epoch, 9), 2_000)
    assert await backend.complete_ms(KEYS) == 0
    await backend.wipe()
    with pytest.raises(PositionMoved):
        await tables.report_progress(KEYS, Claim(claim.epoch, 5), 2_000)
    assert await backend.complete_ms(KEYS) == 0


@pytest.mark.parametrize("seed", range(3))
async def test_any_sequence_of_calls_has_the_same_outcomes_as_on_the_model(
    backend: Backend, seed: int
) -> None:
    assert await outcomes(backend, Random(seed)) == await outcomes(FakeBackend(), Random(seed))


async def outcomes(backend: Backend, rng: Random, calls: int = 150) -> list[Any]:
    """What some workers meet who claim, write, report and read at random, rightly and wrongly."""
    workers = [backend.tables() for _ in range(3)]
    claims = [await worker.claim(KEYS) for worker in workers]
    epochs = [claim.epoch for claim in claims]  # which differ between the stores; their order does not
    snapshot = await backend.snapshot()
    met: list[Any] = []
    for number in range(calls):
        at = rng.randrange(3)
        worker, claim = workers[at], claims[at]
        what = rng.choices(
            ("apply", "claim", "report", "read", "wrong", "snapshot", "restore"), (9, 3, 3, 3, 1, 1, 1)
        )[0]
        try:
            if what == "claim":
                claims[at] = await worker.claim(KEYS, log_end=number)
                met.append(claims[at].position)
                epochs.append(claims[at].epoch)
            elif what == "apply":
                written = change(
                    (claim.position or 0) + rng.randint(1, 3), share(2_400 + number), unit=b"%d" % number
                )
                await worker.apply(KEYS, claim, written)
                claims[at] = Claim(claim.epoch, written.next_position)
                met.append("applied")
            elif what == "wrong":
                await worker.apply(KEYS, Claim(claim.epoch, rng.randrange(20)), change(number, share(1)))
                met.append("applied")
            elif what == "report":
                await worker.report_progress(KEYS, claim, rng.randrange(1_000))
                met.append(await backend.complete_ms(KEYS))
            elif what == "read":
                met.append(await contents(worker))
            elif what == "snapshot":
                snapshot = await backend.snapshot()
            else:
                await backend.restore(snapshot)
        except (Fenced, PositionMoved) as refused:
            met.append(type(refused).__name__)
    assert epochs == sorted(set(epochs))
    return met
