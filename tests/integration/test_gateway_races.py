"""Many subscribers come, dawdle, leave and come back while results stream in: all end with the tables, none goes back."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    ORGANIZATIONS,
    SCHOOL,
    SECOND_SCHOOL,
    RedisServer,
)

from gateway.hub import Hub
from gateway.lines import NO_DESCRIPTOR, Chunk
from gateway.metrics import Metrics
from gateway.redis_connection import connect
from gateway.sse import parse_cursor
from gateway.stream import Stream, StreamLimits
from gateway.subscriptions import DEFAULT_LIMITS, SubscriptionRequest
from gateway.tables import Tables
from gateway.tokens import Principal
from schemas.access.permissions import Grant
from schemas.access.roles import BUILT_IN_ROLES, READER_ROLE
from schemas.assessments import load_registry
from schemas.identifiers import OrganizationId
from schemas.releases import ReleaseState

pytestmark = pytest.mark.anyio

BATCHES = 400
SUBSCRIBERS = 40
Cells = dict[tuple[str, str, str], dict[str, Any]]


@asynccontextmanager
async def running_hub(url: str, metrics: Metrics) -> AsyncIterator[tuple[Hub, Tables]]:
    client = connect(url)
    tables = Tables(client, unlisted=ReleaseState.RELEASED)
    hub = Hub(tables, load_registry().at, metrics, tick_seconds=0.005, progress_seconds=0.05)
    following = asyncio.create_task(hub.run())
    try:
        while hub.cursor is None:
            await asyncio.sleep(0.01)
            assert not following.done()
        yield hub, tables
    finally:
        following.cancel()
        await asyncio.wait({following})
        await client.aclose()


class Watcher:
    """Takes frames at its word: replaces what a put names, overwrites what a patch brings, compares no versions."""

    def __init__(self, topics: list[str]) -> None:
        self.topics = topics
        self.organizations = {topic.split("/")[1] for topic in topics}
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


class DawdlingLine:
    """A line that takes no more every now and then, for a while, and hangs up in the end."""

    def __init__(self, watcher: Watcher, chance: random.Random) -> None:
        self.descriptor = NO_DESCRIPTOR
        self.stream: Stream | None = None
        self.hung_up = asyncio.Event()
        self._watcher = watcher
        self._chance = chance
        self._frames_left = chance.randrange(2, 40)

    def write(self, chunk: Chunk) -> None:
        if self.hung_up.is_set():
            return  # lost, as on any connection that has ended
        for frame in chunk.raw.split(b"\n\n"):
            self._watcher.take(frame)
        self._frames_left -= 1
        if self._frames_left < 0:
            self.hung_up.set()
        elif self._chance.random() < 0.3:
            assert self.stream is not None
            self.stream.paused()
            asyncio.get_running_loop().call_later(
                self._chance.choice((0, 0, 0, 0.001, 0.03)), self.stream.resumed
            )

    def write_on(self, chunk: Chunk, sent: int) -> None:
        raise AssertionError("nothing was sent straight to a socket")

    def unsent(self) -> bool:
        return False

    def end(self) -> None:
        raise AssertionError("the stream ended")

    def reset(self) -> None:
        raise AssertionError("the stream was reset")


def opened(hub: Hub, topics: list[str], metrics: Metrics, last_id: str | None = None) -> Stream:
    district = Grant(READER_ROLE, OrganizationId(DISTRICT))
    return Stream(
        hub=hub,
        subscription=SubscriptionRequest(tuple(topics)).subscription(DEFAULT_LIMITS),
        principal=Principal(
            "somebody",
            (district,),
            datetime.now(UTC) + timedelta(hours=1),
            "token",
            BUILT_IN_ROLES.rights((district,)),
        ),
        limits=StreamLimits(),
        metrics=metrics,
        stream_id="node.stream",
        cursor=parse_cursor(last_id),
    )


async def watch(
    hub: Hub, watcher: Watcher, metrics: Metrics, chance: random.Random, done: asyncio.Event
) -> None:
    """Read for a while, hang up, come back with the last id; in the end stay until the tables are reached."""
    while True:
        line = DawdlingLine(watcher, chance)
        line.stream = opened(hub, watcher.topics, metrics, watcher.last_id)
        if done.is_set():
            line._frames_left = 1_000_000
        line.stream.start(line)
        try:
            await line.hung_up.wait()
        finally:
            line.stream.gone()
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
        [cells] = await tables.read_organizations(serving, [OrganizationId(organization)])
        for name, merged in cells.items():
            _, test, grade = name.split(":")
            wanted[organization, test, grade] = (
                merged.cell.version,
                merged.cell.with_scores,
                merged.cell.score_sum,
            )

    def differing() -> list[str]:
        found = []
        for number, watcher in enumerate(watchers):
            mine = watcher.organizations
            for name, (version, with_scores, score_sum) in wanted.items():
                cell = watcher.cells.get(name)
                mean = (2 * score_sum + with_scores) // (2 * with_scores)
                if name[0] in mine and (
                    cell is None
                    or (cell["version"], cell["with_scores"], cell["mean"]) != (version, with_scores, mean)
                ):
                    found.append(f"{number} {name}: {cell and cell['version']} instead of {version}")
        return found

    deadline = asyncio.get_running_loop().time() + 60
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
    topics = [f"school/{SCHOOL}", f"school/{SECOND_SCHOOL}", f"district/{DISTRICT}"]
    watchers = [Watcher(chance.sample(topics, chance.randrange(1, 4))) for _ in range(SUBSCRIBERS)]
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
