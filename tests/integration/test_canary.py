"""A canary on a real worker and gateway: each stage is measured, a stage that stands still is named, and nothing real changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from redis import Redis
from stack import broker, live_cells, running_stack_processes, stack_token, store

from consumers.lag.canary.canary import Canary
from consumers.lag.canary.metrics import CanaryMetrics
from consumers.lag.canary.settings import Settings
from consumers.webhooks.connection import connect
from schemas.access.permissions import Grant
from schemas.access.roles import CANARY_ROLE, READER_ROLE, RELEASE_ROLE
from schemas.assessments import load_registry
from schemas.canary import CANARY_COUNTY, canary_school, is_canary
from schemas.identifiers import STATE, ancestry
from schemas.operations import PARTS, Verdict, decode_part

pytestmark = pytest.mark.anyio

PARTITIONS = 4
CHAIN = ("import", "streams", "push", "total")


async def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Return when the condition holds."""
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@asynccontextmanager
async def canary_running(settings: Settings, registry: CollectorRegistry) -> AsyncIterator[None]:
    redis = connect(settings.redis_url)
    canary = Canary(settings, redis, load_registry(), CanaryMetrics(registry))
    task = asyncio.create_task(canary.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await redis.aclose()


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
        async with canary_running(settings, registry):
            await until(
                lambda: value("scores_canary_latency_seconds_count", stage="total") >= 3,
                "three canaries arrive",
            )
            stored = plain.hget(PARTS, "canary")
            assert isinstance(stored, bytes)
            report = decode_part(stored)
            assert report.verdict is Verdict.OK
            assert report.figures.keys() >= {*CHAIN, "lost"}
        assert not plain.hexists(PARTS, "canary"), "it stopped in an orderly way"
        for stage in CHAIN:
            assert value("scores_canary_latency_seconds_count", stage=stage) >= 3
            assert value("scores_canary_latency_seconds_sum", stage=stage) < 10
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
