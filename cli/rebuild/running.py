"""One run of a rebuild: fill, verify, put in place, hand over, remove what was there before.

1. Fill the new tables up to where the serving ones stand, and follow them from there.
2. Compare, partition by partition, at equal positions.
3. Flip the pointer, in one step, if it still names what this was built beside.
4. Claim the old tables, so that no worker writes them any more. The workers notice and claim the new ones.
5. Remove the old tables.

It may end anywhere, by Ctrl-C or kill -9: the new tables know their positions, and the next run goes on there.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from cli.rebuild.cleaning import remove_tables
from cli.rebuild.context import Addresses, Context, Orders, Outcome
from cli.rebuild.planning import Plan, make_plan
from cli.rebuild.progress import Display
from cli.rebuild.replacing import Replacement
from cli.rebuild.tables import partition_keys, read_facts
from cli.stores import opened_store
from schemas.errors import InvalidInput, LogReplaced, ScoreStreamError
from schemas.keys import Generation
from streams.accidents import Accidents
from streams.connection import RedisClient, connect
from streams.fetching import Fetcher
from streams.log import describe_log
from streams.metrics import Metrics
from streams.rebuild_state import Phase, RebuildState
from streams.tables import Tables

_BATCH_RECORDS: Final = 5_000  # as the workers' default: no longer scripts than theirs
_FETCH_WAIT_MS: Final = 50
_BUDGET_SECONDS: Final = 60.0

_LOOK_SECONDS: Final = 0.1
_KEEP_SECONDS: Final = 1.0
_TAKEOVER_SECONDS: Final = 15.0  # workers look every second
_GATEWAYS_SECONDS: Final = 3.0  # gateways look every second, and then read the new tables


async def run_rebuild(addresses: Addresses, orders: Orders, display: Display) -> Outcome:
    """Begin a rebuild or go on with one, up to the end.

    Raises:
        InvalidInput: an option is missing that says what this means.
        RebuildStopped: it ended before the end; it can be resumed.
        LogGap: records that were not read yet are gone.
        DependencyUnavailable: Kafka or Redis does not answer.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # a batch makes tens of thousands of objects that all live as long
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    accidents = Accidents(Metrics().accidents)
    redis = connect(addresses.redis_url, _BUDGET_SECONDS, accidents, cluster=addresses.cluster)
    fetcher = Fetcher(addresses.kafka, batch_records=_BATCH_RECORDS, fetch_wait_ms=_FETCH_WAIT_MS)
    holder = f"{socket.gethostname()}:{os.getpid()}:{time.time_ns():x}"
    state = RebuildState(redis, holder)
    try:
        log = await asyncio.to_thread(describe_log, addresses.kafka, _BUDGET_SECONDS)
        await state.acquire()
        try:
            plan = await _plan(redis, state, fetcher, log, orders)
            outcome = Outcome(plan, log.partitions)
            run = Context(
                addresses, orders, display, holder, redis, state, log, fetcher, accidents, plan, outcome
            )
            await _announce(run)
            await _told(run)
            return outcome
        finally:
            await state.release()
    finally:
        await fetcher.close()
        await redis.aclose()


async def _plan(redis: RedisClient, state: RebuildState, fetcher: Fetcher, log: Any, orders: Orders) -> Plan:
    known = await state.load()
    if known is not None and not known.unfinished and not (orders.resume and known.phase is Phase.SERVING):
        known = None
    if orders.resume and known is None:
        raise InvalidInput("no rebuild is unfinished; begin one with `scores rebuild start`")
    facts = await read_facts(redis, fetcher, log, known)
    return make_plan(facts, orders.wishes, known, now_ms=time.time_ns() // 1_000_000)


async def _announce(run: Context) -> None:
    plan = run.plan
    rebuild = plan.rebuild
    if plan.resumed:
        await run.state.go_on()
    else:
        await run.state.begin(rebuild)
    run.display.say(
        f"{'Going on with' if plan.resumed else 'Filling'} {rebuild.generation}, beside {rebuild.beside}."
    )
    for word in plan.words:
        run.display.say(word, loud=True)
    run.display.say(f"Compared before it serves: {plan.comparison.value}.")


async def _told(run: Context) -> None:
    """Do it, and write down how it ended."""
    try:
        async with _one_error(), asyncio.TaskGroup() as group:
            keeping = group.create_task(_keep_lease(run))
            run.outcome.flipped = run.plan.rebuild.phase is Phase.SERVING
            if not run.outcome.flipped:
                await Replacement(run).make()
            if run.outcome.flipped:
                await _hand_over(run)
            keeping.cancel()
    except (ScoreStreamError, asyncio.CancelledError) as error:
        await run.state.save(word=str(error) or "stopped by hand")
        raise


async def _keep_lease(run: Context) -> None:
    while True:
        await run.state.keep(run.plan.rebuild.generation)
        await asyncio.sleep(_KEEP_SECONDS)


async def _hand_over(run: Context) -> None:
    rebuild, outcome = run.plan.rebuild, run.outcome
    run.display.say(f"{rebuild.generation} serves; waiting for the workers to take it over.")
    flipped = time.monotonic()
    tables = Tables(run.redis, run.holder, run.log.identity)
    for keys in partition_keys(rebuild.beside, run.log.partitions):
        try:
            await tables.claim(keys)
        except LogReplaced:
            break  # no worker could write them
    while True:
        outcome.taken_over = await _taken_over(run, rebuild.generation)
        if outcome.taken_over == outcome.partitions or time.monotonic() - flipped > _TAKEOVER_SECONDS:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    if rebuild.keep_old or run.orders.wishes.keep_old:
        await run.state.save(phase=Phase.DONE, word="it serves; the tables from before are kept")
        return
    await asyncio.sleep(max(0.0, flipped + _GATEWAYS_SECONDS - time.monotonic()))
    outcome.removed_keys = await asyncio.to_thread(_remove, run, rebuild.beside)
    await run.state.save(phase=Phase.DONE, word="it serves; the tables from before are removed")


async def _taken_over(run: Context, generation: Generation) -> int:
    """How many partitions somebody else has claimed since we did."""
    pipe: Any = run.redis.pipeline(transaction=False)
    for keys in partition_keys(generation, run.log.partitions):
        pipe.hget(keys.position, "owner")
    return sum(owner is not None and owner != run.holder.encode() for owner in await pipe.execute())


def _remove(run: Context, generation: Generation) -> int:
    with opened_store(run.addresses.redis_url) as redis:
        return remove_tables(redis, generation, run.display.removing)


@asynccontextmanager
async def _one_error() -> AsyncIterator[None]:
    """The first error of a group stands for all."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
