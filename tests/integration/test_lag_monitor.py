"""Monitors with a real Redis: one works, its judgement and history can be read, and it outlives Redis."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client import CollectorRegistry
from redis import Redis
from stack import SECRET, broker, measured, positions, process_environment, running_worker, wait_for

from cli.lag.judgement import current_judgement
from cli.simulator.options import SeasonOptions
from cli.simulator.production import run_season
from cli.stack.child import Child
from cli.stack.ports import free_port
from cli.stack.redis_server import EmbeddedRedis
from consumers.lag.keeping import Keeping
from consumers.lag.metrics import MonitorMetrics
from consumers.lag.monitor import Monitor
from consumers.lag.samples import GroupSample, PartitionSample, Snapshot
from consumers.lag.verdicts import Rules
from consumers.webhooks.connection import connect
from schemas.errors import DependencyUnavailable
from schemas.operations import (
    HISTORY,
    HISTORY_FIELD,
    HISTORY_SECONDS,
    MONITOR_LEASE,
    PARTS,
    STATE,
    PartReport,
    Sample,
    Verdict,
    decode_judgement,
    decode_sample,
    encode_operations,
)
from schemas.topics import EXAM_RESULTS

LEASE_SECONDS: Final = 3.0  # a busy machine may stand still for a while, and the lease has to be held
EVERY_SECONDS: Final = 0.05


class ReadToTheEnd:
    """Sources of one reader that has read all."""

    def __init__(self) -> None:
        self.closed = False

    async def sample(self) -> Snapshot:
        one = PartitionSample(partition=0, position=5, end=5, lag_records=0, lag_seconds=0.0)
        group = GroupSample(group="streams", topic="exam-results.v1", partitions=(one,))
        return Snapshot(at_ms=time.time_ns() // 1_000_000, groups=(group,), rejected=0, events=5)

    async def close(self) -> None:
        self.closed = True


class RunningMonitor:
    """One monitor of a test, sampling twenty times a second."""

    def __init__(self, url: str, holder: str) -> None:
        self.registry = CollectorRegistry()
        self.metrics = MonitorMetrics(self.registry)
        self.samplers: list[ReadToTheEnd] = []
        self.redis = connect(url)
        self.monitor = Monitor(
            self.redis,
            self._open,
            Rules(),
            self.metrics,
            holder=holder,
            every_seconds=EVERY_SECONDS,
            lease_seconds=LEASE_SECONDS,
        )

    def _open(self) -> ReadToTheEnd:
        self.samplers.append(ReadToTheEnd())
        return self.samplers[-1]

    @property
    def samples_taken(self) -> float:
        return self._metric("scores_monitor_samples_total", outcome="ok")

    @property
    def active(self) -> float:
        return self._metric("scores_monitor_active")

    def _metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    @property
    def judges(self) -> bool:
        return self.metrics.judged.judgement is not None

    def part(self, name: str) -> Verdict | None:
        """What it says of a part now."""
        judgement = self.metrics.judged.judgement
        return next((one.verdict for one in judgement.parts if one.name == name), None) if judgement else None


@asynccontextmanager
async def monitoring(url: str, holder: str) -> AsyncIterator[RunningMonitor]:
    one = RunningMonitor(url, holder)
    task = asyncio.create_task(one.monitor.run())
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.wait({task})
        await one.redis.aclose()


async def until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another server
            await asyncio.sleep(0.01)
    assert condition(), what


@pytest.mark.anyio
async def test_one_monitor_works_and_the_other_takes_over_at_once_when_it_stops(
    server: EmbeddedRedis, store: Redis
) -> None:
    first = RunningMonitor(server.url, "first")
    working = asyncio.create_task(first.monitor.run())
    await until(lambda: first.judges, "it works alone")
    async with monitoring(server.url, "second") as second:
        samples = 1.3 * LEASE_SECONDS / EVERY_SECONDS
        await until(lambda: first.samples_taken > samples, "it has worked for longer than its lease")
        assert second.samplers == []
        working.cancel()
        await asyncio.wait({working})
        await first.redis.aclose()
        assert first.samplers[0].closed
        await until(lambda: second.judges, "the other one works")
    assert store.get(MONITOR_LEASE) is None  # it gave up what it had, so that another one may begin at once


@pytest.mark.anyio
async def test_monitor_that_was_killed_is_replaced_when_its_lease_has_ended(
    server: EmbeddedRedis, store: Redis
) -> None:
    killed = connect(server.url)
    assert await Keeping(killed, "killed", 0.3).hold()
    await killed.aclose()
    async with monitoring(server.url, "next") as next_one:
        await until(lambda: next_one.judges, "the lease has ended")


@pytest.mark.anyio
async def test_monitor_whose_lease_another_one_has_stands_by(server: EmbeddedRedis, store: Redis) -> None:
    async with monitoring(server.url, "first") as first:
        await until(lambda: first.judges, "it works")
        store.set(MONITOR_LEASE, "somebody else", px=60_000)
        await until(lambda: not first.judges, "it has noticed")
        assert first.samplers[0].closed
        assert first.active == 0


@pytest.mark.anyio
async def test_judgement_and_history_are_in_redis_and_parts_tell_of_themselves(
    server: EmbeddedRedis, store: Redis
) -> None:
    now_ms = time.time_ns() // 1_000_000
    canary = PartReport(name="canary", verdict=Verdict.OK, figures={"total": 0.2}, at_ms=now_ms)
    gone = PartReport(name="gateways", verdict=Verdict.OK, at_ms=now_ms - 700_000)
    fields: Any = {"canary": encode_operations(canary), "gateways:old:8080": encode_operations(gone)}
    store.hset(PARTS, mapping=fields)
    async with monitoring(server.url, "only") as only:
        await until(lambda: store.exists(HISTORY) and store.hlen(PARTS) == 1, "it has written")
        await until(lambda: only.part("canary"), "the canary is judged")
    state: Any = store.get(STATE)
    judgement = decode_judgement(state)
    assert (judgement.monitor, judgement.worst) == (
        "only",
        Verdict.INCOMPLETE,
    )  # no clock of records was seen
    assert [(group.group, group.verdict) for group in judgement.groups] == [("streams", Verdict.OK)]
    assert {part.name for part in judgement.parts} >= {"redis", "kafka", "canary", "rejections", "endpoints"}
    entries: Any = store.xrange(HISTORY)
    sample = decode_sample(entries[0][1][HISTORY_FIELD])
    assert (sample.figures["lag/streams"], sample.figures["canary/total"]) == (0.0, 0.2)
    assert len(entries) == 1  # one in ten seconds, however often it judges


@pytest.mark.anyio
async def test_history_reaches_back_six_hours_and_no_further(server: EmbeddedRedis, store: Redis) -> None:
    now_ms = time.time_ns() // 1_000_000
    store.xadd(HISTORY, {HISTORY_FIELD: b"old"}, id=f"{now_ms - HISTORY_SECONDS * 1000 - 1000}-0")
    store.xadd(HISTORY, {HISTORY_FIELD: b"young"}, id=f"{now_ms - HISTORY_SECONDS * 1000 + 60_000}-0")
    redis = connect(server.url)
    await Keeping(redis, "only", 5).append(Sample(now_ms, {"events": 3.0}))
    await redis.aclose()
    entries: Any = store.xrange(HISTORY)
    assert entries[0][1][HISTORY_FIELD] == b"young"
    assert len(entries) == 2


@pytest.mark.anyio
async def test_monitor_goes_on_while_redis_is_away_and_says_so(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        async with monitoring(server.url, "only") as only:
            await until(lambda: only.part("redis") is Verdict.OK, "all is well")
            os.kill(server.pid, signal.SIGKILL)
            await until(lambda: only.part("redis") is Verdict.STOP, "it says that Redis is away")
            assert only.active == 1


def test_commands_say_soon_that_redis_accepts_and_is_silent(server: EmbeddedRedis) -> None:
    server.signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(DependencyUnavailable, match="does not answer"):
            current_judgement("127.0.0.1:9", server.url, say=print)
    finally:
        server.signal(signal.SIGCONT)
    assert (
        time.monotonic() - began < 25
    )  # a command that reads tables may wait for half a minute, for each answer


def lag(kafka: str, redis_url: str, folder: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """What ``scores lag --json`` answers."""
    command = [sys.executable, "-m", "cli", "lag", "--kafka", kafka, "--redis", redis_url, "--json", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_scores_lag_tells_of_the_readers_with_a_monitor_and_without_one(tmp_path: Path) -> None:
    with (
        broker("embedded", 2, tmp_path) as kafka,
        EmbeddedRedis() as server,
        running_worker(kafka, server.url, tmp_path),
    ):
        run_season(
            kafka=kafka,
            redis_url=server.url,
            secret=SECRET.encode(),
            options=SeasonOptions(schools=2, results=60, seed=7),
            rate=0,
            stop=threading.Event(),
        )
        with Redis.from_url(server.url) as redis:
            wait_for(lambda: sum(positions(redis, 2).values()) > 60, "the worker has read the results", 60)
        status, told, said = lag(kafka, server.url, tmp_path, "--group", "streams")
        assert "Nobody monitors" in said
        assert (status, told["monitor"], told["groups"][0]["verdict"]) == (0, "nobody", "ok"), told
        metrics_port = free_port()
        monitor = Child(
            "lag",
            [sys.executable, "-m", "cli", "lag", "run"],
            cwd=tmp_path,
            log=tmp_path / "lag.log",
            env=process_environment(
                kafka, server.url, SCORES_LAG_EVERY_SECONDS="1", SCORES_LAG_METRICS_PORT=str(metrics_port)
            ),
        )
        try:
            labels = {"group": "streams", "topic": EXAM_RESULTS, "verdict": "ok"}
            wait_for(
                lambda: measured(metrics_port, "scores_consumer_state", **labels) == 1,
                "it has judged the streams",
                60,
            )
            status, told, said = lag(kafka, server.url, tmp_path, "--group", "streams")
            assert (status, said) == (0, ""), told
            assert told["monitor"] != "nobody"
            status, _, said = lag(kafka, server.url, tmp_path, "--group", "nightly")
            assert status == 2
            assert "no reader is called nightly; there are: relay, streams" in said
            monitor.stop(10.0)
            assert monitor.exit_status == 0
        finally:
            monitor.stop(0.0)
