"""A canary on real processes: each stage is measured, a stage that stands still is named, and nothing real changes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from redis import Redis
from stack import broker, live_cells, process_environment, running_stack_processes, stack_token, store

from cli.canary.running import run
from cli.stack.child import Child
from cli.stack.ports import free_port
from consumers.lag.canary.metrics import CanaryMetrics
from consumers.lag.canary.settings import Settings
from schemas.access.permissions import Grant
from schemas.access.roles import CANARY_ROLE, READER_ROLE, RELEASE_ROLE
from schemas.canary import CANARY_COUNTY, canary_school, is_canary
from schemas.identifiers import STATE, ancestry
from schemas.operations import PARTS, Verdict, decode_part

pytestmark = pytest.mark.anyio

PARTITIONS = 4
CHAIN = ("import", "streams", "push", "total")
WEBHOOK_KEY = "a key of the tests that is of no value, and long enough"
WEBHOOKS = {"SCORES_WEBHOOK_KEY": WEBHOOK_KEY, "SCORES_WEBHOOK_ALLOW_PRIVATE": "yes"}


async def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Return when the condition holds."""
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@asynccontextmanager
async def canary_running(settings: Settings, registry: CollectorRegistry) -> AsyncIterator[None]:
    task = asyncio.create_task(run(settings, CanaryMetrics(registry)))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@contextmanager
def running(kafka: str, redis_url: str, folder: Path, *command: str) -> Iterator[None]:
    """One more process of the service, killed in the end."""
    child = Child(
        command[0],
        [sys.executable, "-m", "cli", *command],
        cwd=folder,
        log=folder / f"{command[0]}-{len(list(folder.glob('*.log')))}.log",
        env=process_environment(kafka, redis_url),
    )
    try:
        yield
    finally:
        child.stop(0.0)


def settings_for(kafka: str, redis_url: str, gateway: str, folder: Path) -> Settings:
    token = folder / "canary-token"
    token.write_text(stack_token(folder, Grant(CANARY_ROLE, CANARY_COUNTY)))
    return Settings.from_env(
        {
            "SCORES_KAFKA": kafka,
            "SCORES_REDIS_URL": redis_url,
            "SCORES_CANARY_GATEWAY": gateway,
            "SCORES_CANARY_TOKEN_FILE": str(token),
            "SCORES_CANARY_EVERY_SECONDS": "1",
            "SCORES_CANARY_LOST_SECONDS": "10",
        }
    )


async def test_canary_measures_every_stage_and_touches_nothing_real(tmp_path: Path) -> None:
    registry = CollectorRegistry()

    def value(name: str, **labels: str) -> float:
        return registry.get_sample_value(name, labels) or 0.0

    with (
        broker("embedded", PARTITIONS, tmp_path) as kafka,
        store("embedded") as redis,
        running_stack_processes(kafka, redis.url, tmp_path) as gateway,
        Redis.from_url(redis.url) as plain,
    ):
        settings = settings_for(kafka, redis.url, gateway, tmp_path)
        began = time.monotonic()
        async with canary_running(settings, registry):
            await until(
                lambda: value("scores_canary_latency_seconds_count", stage="total") >= 3,
                "three canaries arrive",
            )
            await until(lambda: _verdict(plain) is Verdict.OK, "one of two arrives in time")
            assert _told(plain).keys() >= {*CHAIN, "lost"}
        elapsed = time.monotonic() - began
        assert not plain.hexists(PARTS, "canary"), "it stopped in an orderly way"
        for stage in CHAIN:
            assert value("scores_canary_latency_seconds_count", stage=stage) >= 3
            assert value("scores_canary_latency_seconds_sum", stage=stage) <= elapsed, (
                "they follow each other"
            )
        cells = {name.cds for name in live_cells(redis.url)}
        assert cells == set(ancestry(canary_school(1)))
        assert not any(name == STATE or not is_canary(name) for name in cells)
        _assert_hidden_from(gateway, stack_token(tmp_path, Grant(READER_ROLE, STATE)))
        _assert_listed_for(gateway, stack_token(tmp_path, Grant(RELEASE_ROLE, STATE)))

        # A gateway that nobody reaches: canaries are lost at the import, and it says so.
        lost = CollectorRegistry()
        async with canary_running(replace(settings, gateway_url="http://127.0.0.1:9"), lost):
            await until(
                lambda: (lost.get_sample_value("scores_canary_lost_total", {"stage": "import"}) or 0) >= 2,
                "two are lost",
            )
            await until(lambda: _verdict(plain) is Verdict.STOP, "it raises the alarm")


def _verdict(plain: Redis) -> Verdict | None:
    stored = plain.hget(PARTS, "canary")
    return decode_part(stored).verdict if isinstance(stored, bytes) else None


def _told(plain: Redis) -> Mapping[str, float]:
    """The figures that the canary tells the monitor."""
    stored = plain.hget(PARTS, "canary")
    return decode_part(stored).figures if isinstance(stored, bytes) else {}


async def test_canary_measures_how_long_its_webhooks_take_and_which_never_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, setting in WEBHOOKS.items():
        monkeypatch.setenv(name, setting)  # gateway and worker of webhooks have one key
    registry = CollectorRegistry()

    def value(name: str, stage: str) -> float:
        return registry.get_sample_value(name, {"stage": stage}) or 0.0

    def arrived(stage: str) -> float:
        return value("scores_canary_latency_seconds_count", stage)

    with (
        broker("embedded", PARTITIONS, tmp_path) as kafka,
        store("embedded") as redis,
        running_stack_processes(kafka, redis.url, tmp_path) as gateway,
        running(kafka, redis.url, tmp_path, "relay"),
        Redis.from_url(redis.url) as plain,
    ):
        settings = replace(
            settings_for(kafka, redis.url, gateway, tmp_path),
            webhook_port=(port := free_port()),
            webhook_url=f"http://127.0.0.1:{port}",
        )
        began = time.monotonic()
        async with canary_running(settings, registry):
            with running(kafka, redis.url, tmp_path, "webhooks", "run"):
                await until(lambda: arrived("webhook") >= 2, "two webhooks tell of canaries")
                await until(lambda: _told(plain).keys() >= {*CHAIN, "webhook", "lost"}, "the monitor is told")
            for stage in (*CHAIN, "webhook"):
                latency = value("scores_canary_latency_seconds_sum", stage)
                assert 0 <= latency <= (time.monotonic() - began) * arrived(stage)
            assert value("scores_canary_latency_seconds_sum", "webhook") > 0

            # Without the worker of webhooks screens go on, and it is the webhooks that are lost.
            shown, lost = arrived("total"), value("scores_canary_lost_total", "webhook")
            await until(lambda: value("scores_canary_lost_total", "webhook") > lost, "a webhook is missed")
            assert arrived("total") > shown
            told = arrived("webhook")
            with running(kafka, redis.url, tmp_path, "webhooks", "run"):
                await until(lambda: arrived("webhook") > told, "the worker is back, and tells of canaries")


def _assert_hidden_from(gateway: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    for path in (f"/v1/aggregates/{canary_school(1)}", f"/v1/aggregates/{CANARY_COUNTY}"):
        assert httpx.get(gateway + path, headers=headers).status_code in (403, 404)
    for query in ("", f"?under={CANARY_COUNTY}"):
        listed = httpx.get(f"{gateway}/v1/organizations{query}", headers=headers).json()["organizations"]
        assert not [one for one in listed if is_canary(one["id"])]


def _assert_listed_for(gateway: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    listed = httpx.get(f"{gateway}/v1/organizations", headers=headers).json()["organizations"]
    assert [one["id"] for one in listed if is_canary(one["id"])] == sorted(ancestry(canary_school(1)))
