"""Many subscribers come, dawdle, leave and come back while results stream in: all end with the tables, none goes back."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    ORGANIZATIONS,
    SCHOOL,
    SECOND_SCHOOL,
    RedisServer,
    redis_server,
)

from gateway.hub import Hub
from gateway.images import Renderer, View
from gateway.metrics import Metrics
from gateway.permissions import VisibilityClass
from gateway.sse import parse_cursor
from gateway.stream import Stream, StreamLimits
from gateway.tables import Tables, connect
from schemas.assessments import load_registry
from schemas.identifiers import OrganizationId

pytestmark = pytest.mark.anyio

BATCHES = 400
SUBSCRIBERS = 40
Cells = dict[tuple[str, str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@asynccontextmanager
async def running_hub(url: str, metrics: Metrics) -> AsyncIterator[tuple[Hub, Tables]]:
    client = connect(url)
    tables = Tables(client)
    hub = Hub(tables, Renderer(load_registry().at), metrics, tick_seconds=0.005, progress_seconds=0.05)
    following = asyncio.create_task(hub.run())
    try:
        yield hub, tables
    finally:
        following.cancel()
        await asyncio.wait({following})
        await client.aclose()


class Watcher:
    """Takes frames at its word: replaces what a put names, overwrites what a patch brings, compares no versions."""

    def __init__(self, views: list[View]) -> None:
        self.views = views
        self.cells: Cells = {}
        self.last_id: str | None = None
        self.went_back: list[str] = []
        self.repeated = 0

    def take(self, frame: bytes) -> None:
        fields = dict(line.split(": ", 1) for line in frame.decode().splitlines() if line)
        if fields.get("event") not in ("put", "patch"):
            return
        for one in json.loads(fields["data"])["organizations"]:
            named = {(one["id"], cell["test"], cell["grade"]): cell for cell in one["cells"]}
            if fields["event"] == "put":
                for name in [name for name in self.cells if name[0] == one["id"] and name not in named]:
                    del self.cells[name]
            for name, cell in named.items():
                known = self.cells.get(name)
                if known and cell["version"] < known["version"]:
                    self.went_back.append(
                        f"{name}: {known['version']} -> {cell['version']} by {fields['event']}"
                    )
                if known and fields["event"] == "patch" and cell == known:
                    self.repeated += 1
                self.cells[name] = cell
        self.last_id = fields.get("id", self.last_id)


async def watch(
    hub: Hub, watcher: Watcher, metrics: Metrics, chance: random.Random, done: asyncio.Event
) -> None:
    """Read for a while, hang up, come back with the last id; in the end stay until the tables are reached."""
    while True:
        leave_after = chance.randrange(2, 40)
        stream = Stream(hub, watcher.views, parse_cursor(watcher.last_id), 60.0, StreamLimits(), metrics)
        async with aclosing(stream.frames()) as frames:
            async for frame in frames:
                watcher.take(frame)
                await asyncio.sleep(chance.choice((0, 0, 0, 0.001, 0.03)))
                leave_after -= 1
                if leave_after < 0 and not done.is_set():
                    break
        await asyncio.sleep(chance.random() * 0.02)


def produce(worker: FakeWorker, seed: int, enough: Callable[[], bool]) -> None:
    """Results and rescores of two schools in a few cells, over both partitions.

    A slow machine merges many batches into one frame, so it takes more of them until the watchers have come and gone.
    """
    chance = random.Random(seed)
    held: list[tuple[str, str, int, int]] = []
    for number in range(BATCHES * 20):
        if number >= BATCHES:
            if enough():
                return
            time.sleep(0.005)
        school, grade = chance.choice((SCHOOL, SECOND_SCHOOL)), chance.choice(("03", "04", "05"))
        partition, score = chance.randrange(2), chance.randrange(2200, 2600)
        if held and chance.random() < 0.4:
            school, grade, partition, earlier = held.pop(chance.randrange(len(held)))
            worker.apply(
                school, [scored(score, 2)], removed=[scored(earlier, 2)], grade=grade, partition=partition
            )
        else:
            worker.apply(school, [scored(score, 2)], grade=grade, partition=partition)
        held.append((school, grade, partition, score))


def resumed(metrics: Metrics) -> float:
    """How often somebody came back and was sent only what had changed."""
    return sum(
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "scores_sse_resumes_total" and sample.labels.get("result") == "patch"
    )


async def reached(tables: Tables, watchers: list[Watcher], worker: FakeWorker) -> None:
    """Return when every watcher holds exactly what the tables hold."""
    serving = await tables.serving()
    assert serving is not None
    wanted = {}
    for organization in (SCHOOL, SECOND_SCHOOL, DISTRICT):
        for name, merged in (await tables.read_organization(serving, OrganizationId(organization))).items():
            _, test, grade = name.split(":")
            wanted[organization, test, grade] = (
                merged.cell.version,
                merged.cell.with_scores,
                merged.cell.score_sum,
            )

    def differing() -> list[str]:
        found = []
        for number, watcher in enumerate(watchers):
            mine = {view.organization for view in watcher.views}
            for name, (version, with_scores, score_sum) in wanted.items():
                cell = watcher.cells.get(name)
                mean = (2 * score_sum + with_scores) // (2 * with_scores)
                if name[0] in mine and (
                    cell is None
                    or (cell["version"], cell["with_scores"], cell["mean"]) != (version, with_scores, mean)
                ):
                    found.append(f"{number} {name}: {cell and cell['version']} instead of {version}")
        return found

    deadline = asyncio.get_running_loop().time() + 15
    while differing():
        assert asyncio.get_running_loop().time() < deadline, differing()[:5]
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_subscribers_that_come_and_go_end_with_the_tables_and_never_go_back(
    redis: RedisServer, seed: int
) -> None:
    chance = random.Random(seed)
    worker = FakeWorker(redis.url, generation=f"g{seed}")
    worker.list_organizations(ORGANIZATIONS)
    worker.serve()
    metrics, done = Metrics(), asyncio.Event()
    views = [View(OrganizationId(one), VisibilityClass.EXACT) for one in (SCHOOL, SECOND_SCHOOL, DISTRICT)]
    watchers = [Watcher(chance.sample(views, chance.randrange(1, 4))) for _ in range(SUBSCRIBERS)]
    async with running_hub(redis.url, metrics) as (hub, tables):
        tasks = [
            asyncio.create_task(watch(hub, watcher, metrics, random.Random(chance.random()), done))
            for watcher in watchers
        ]
        try:
            await asyncio.to_thread(produce, worker, seed, lambda: resumed(metrics) > SUBSCRIBERS)
            done.set()
            await reached(tables, watchers, worker)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    assert not [step for watcher in watchers for step in watcher.went_back]
    assert resumed(metrics) > SUBSCRIBERS  # they did come back, and were not simply sent everything


async def test_a_herd_shares_one_snapshot_per_organization(redis: RedisServer) -> None:
    worker = FakeWorker(redis.url, generation="g9")
    worker.list_organizations(ORGANIZATIONS)
    worker.apply(SCHOOL, [scored(2450, 3)])
    worker.serve()
    metrics = Metrics()
    views = [View(OrganizationId(one), VisibilityClass.EXACT) for one in (SCHOOL, DISTRICT)]

    async def first_put(hub: Hub) -> bytes:
        async with aclosing(Stream(hub, views, None, 60.0, StreamLimits(), metrics).frames()) as frames:
            async for frame in frames:
                if b"event: put" in frame:
                    return frame
        raise AssertionError("no put")

    async with running_hub(redis.url, metrics) as (hub, _):
        puts = await asyncio.gather(*(first_put(hub) for _ in range(200)))
        assert len(set(puts)) == 1
        [built] = [
            sample.value
            for family in metrics.registry.collect()
            for sample in family.samples
            if sample.name == "scores_sse_snapshot_builds_total"
        ]
        assert built == len(views)
