"""The Python client on a real gateway: it follows, resumes, changes and renews, and ends with what the tables have."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    ORGANIZATIONS,
    OTHER_DISTRICT,
    SCHOOL,
    SECOND_SCHOOL,
    GatewayProcess,
    RedisServer,
    gateway_process,
)

from consumers.live import CellChanged, LiveResults, OrganizationLeft, StreamRefused
from schemas.figures import Figures

pytestmark = pytest.mark.anyio

SCHOOLS = f"district/{DISTRICT}/schools"


@pytest.fixture(scope="module")
def worker(redis: RedisServer) -> FakeWorker:
    made = FakeWorker(redis.url)
    made.list_organizations(ORGANIZATIONS)
    made.apply(SCHOOL, [scored(2450, 3), scored(2400, 2)])
    made.apply(SCHOOL, [scored(2390, 2)], grade="04", test="MATH-SUM", partition=1)
    made.apply(SECOND_SCHOOL, [scored(2300, 1)], partition=1)
    made.serve()
    return made


@pytest.fixture(scope="module")
def gateway(redis: RedisServer, worker: FakeWorker) -> Iterator[GatewayProcess]:
    with gateway_process(redis.url) as running:
        yield running


@asynccontextmanager
async def following(
    gateway: GatewayProcess, *topics: str, organization: str = DISTRICT, **more: Any
) -> AsyncIterator[LiveResults]:
    """Results that come back soon after a stream has ended."""

    async def short_sleep(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.1))

    options = {"token": lambda: gateway.token(organization), "sleep": short_sleep} | more
    async with LiveResults(gateway.url, topics=topics or [SCHOOLS], **options) as results:
        async with asyncio.timeout(60):
            await results.whole()
        yield results


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (any condition; nothing tells when it comes about)
            await asyncio.sleep(0.01)


def results_of(results: LiveResults, school: str = SCHOOL) -> int:
    figures = results.cell(school, 2026, "ELA-SUM", "03")
    return figures.results if figures else 0


async def next_change_of_a_known_cell(results: LiveResults) -> tuple[Figures, Figures]:
    async with asyncio.timeout(60):
        async for change in results:
            if isinstance(change, CellChanged) and change.before and change.after:
                return change.before, change.after
    raise AssertionError("the results ended")


async def next_that_left(results: LiveResults) -> str:
    async with asyncio.timeout(60):
        async for change in results:
            if isinstance(change, OrganizationLeft):
                return change.organization
    raise AssertionError("the results ended")


def in_tables(gateway: GatewayProcess, school: str) -> list[Figures]:
    """The school's cells by another way than a stream."""
    with gateway.client(DISTRICT) as client:
        answer = client.get(f"/v1/aggregates/{school}").json()
    return msgspec.convert(answer["organizations"][0]["cells"], list[Figures])


def believed(results: LiveResults, school: str) -> list[Figures]:
    held = results.organization(school)
    assert held is not None
    return sorted(held.cells.values(), key=lambda cell: (-cell.school_year, cell.test, cell.grade))


async def test_the_schools_of_a_district_are_followed_to_the_figures_of_the_tables(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    async with following(gateway) as results:
        assert sorted(results.organizations) == [SCHOOL, SECOND_SCHOOL]
        before = results_of(results)
        await until(lambda: results.live)
        worker.apply(SCHOOL, [scored(2500, 4)])
        known, later = await next_change_of_a_known_cell(results)
        assert later.version > known.version
        assert results_of(results) == before + 1
        assert [believed(results, code) for code in (SCHOOL, SECOND_SCHOOL)] == [
            in_tables(gateway, code) for code in (SCHOOL, SECOND_SCHOOL)
        ]
        assert results.complete is not None
        assert not results.stale


async def test_filters_narrow_what_comes(gateway: GatewayProcess) -> None:
    async with following(gateway, tests=["MATH-SUM"], grades=["4"], years=[2026]) as results:
        assert [cell.test for cell in believed(results, SCHOOL)] == ["MATH-SUM"]
        assert believed(results, SECOND_SCHOOL) == []


async def test_a_gateway_that_is_killed_again_and_again_costs_no_update_and_no_version_goes_back(
    redis: RedisServer, worker: FakeWorker
) -> None:
    with gateway_process(redis.url) as gateway:
        async with following(gateway) as results:
            versions: dict[Any, int] = {}

            async def watch() -> None:
                async for change in results:
                    if isinstance(change, CellChanged) and change.after:
                        key = change.organization, change.name
                        assert change.after.version > versions.get(key, 0)
                        versions[key] = change.after.version

            watching = asyncio.create_task(watch())
            for _ in range(2):
                process = gateway.process
                assert process is not None
                process.kill()
                await asyncio.to_thread(process.communicate)
                await until(lambda: not results.live)
                worker.apply(SCHOOL, [scored(2460, 3)])
                worker.apply(SECOND_SCHOOL, [scored(2310, 1)], partition=1)
                await asyncio.to_thread(gateway.start)
                worker.apply(SCHOOL, [scored(2470, 3)])
                expected = [
                    await asyncio.to_thread(in_tables, gateway, code) for code in (SCHOOL, SECOND_SCHOOL)
                ]
                await until(
                    lambda expected=expected: (  # type: ignore[misc]  # bound here, called at once
                        [believed(results, code) for code in (SCHOOL, SECOND_SCHOOL)] == expected
                    )
                )
                await until(lambda: results.live)
            watching.cancel()
            await asyncio.wait([watching])
            assert watching.cancelled(), "no version went back"
            assert versions


async def test_a_changed_subscription_needs_no_new_stream(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    async with following(gateway, f"school/{SCHOOL}") as results:
        await results.change([f"school/{SECOND_SCHOOL}", f"district/{DISTRICT}"])
        assert results.organization(SCHOOL) is None
        await results.whole()
        assert set(results.organizations) == {SECOND_SCHOOL, DISTRICT}
        assert believed(results, SECOND_SCHOOL) == in_tables(gateway, SECOND_SCHOOL)
        assert await next_that_left(results) == SCHOOL
        worker.apply(SECOND_SCHOOL, [scored(2320, 1)], partition=1)
        await until(lambda: believed(results, SECOND_SCHOOL) == in_tables(gateway, SECOND_SCHOOL))
        await results.change([f"school/{SECOND_SCHOOL}"], tests=["MATH-SUM"])
        await results.whole()
        assert believed(results, SECOND_SCHOOL) == []


async def test_a_change_to_what_the_token_does_not_open_is_refused_and_the_stream_goes_on(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    async with following(gateway, f"school/{SCHOOL}") as results:
        with pytest.raises(StreamRefused, match="403"):
            await results.change([f"district/{OTHER_DISTRICT}"])
        before = results_of(results)
        worker.apply(SCHOOL, [scored(2480, 3)])
        await until(lambda: results_of(results) == before + 1)


async def test_a_stream_outlives_its_token_when_fresh_ones_can_be_had(gateway: GatewayProcess) -> None:
    asked = 0

    def token() -> str:
        nonlocal asked
        asked += 1
        return gateway.token(DISTRICT, seconds=8 if asked == 1 else 600)

    async with following(gateway, token=token) as results:
        await until(lambda: asked == 2)
        begun = results.as_of
        assert begun is not None
        # Beyond the first token's life; the gateway's own clock tells.
        await until(lambda: results.as_of is not None and results.as_of > begun + timedelta(seconds=8))
        assert results.live
        assert asked == 2, "renewed in place: no second connection asked for a token"


async def test_a_token_for_another_district_is_refused_with_the_reason(gateway: GatewayProcess) -> None:
    with pytest.raises(StreamRefused, match="403: There is no such organization"):
        async with following(gateway, organization=OTHER_DISTRICT):
            pass


def scores_watch(gateway: GatewayProcess, tmp_path: Path, *options: str, organization: str = DISTRICT) -> Any:
    token_file = tmp_path / "token.txt"
    token_file.write_text(gateway.token(organization) + "\n")
    command = [sys.executable, "-m", "cli", "watch", gateway.url, "--topic", SCHOOLS]
    return subprocess.run(
        [*command, "--token-file", str(token_file), *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_watch_command_prints_what_there_is_as_json(gateway: GatewayProcess, tmp_path: Path) -> None:
    done = scores_watch(gateway, tmp_path, "--once", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["preliminary"] is True
    assert [one["name"] for one in printed["organizations"]] == ["Cedar Elementary", "Dogwood Elementary"]
    assert msgspec.convert(printed["organizations"][0]["cells"], list[Figures]) == in_tables(gateway, SCHOOL)


def test_the_watch_command_prints_what_there_is_as_a_table(gateway: GatewayProcess, tmp_path: Path) -> None:
    done = scores_watch(gateway, tmp_path, "--once", "--test", "MATH-SUM")
    assert done.returncode == 0, done.stderr
    assert "Cedar Elementary" in done.stdout
    assert "MATH-SUM 2026" in done.stdout
    assert "ELA-SUM" not in done.stdout


def test_the_watch_command_says_why_it_is_refused(gateway: GatewayProcess, tmp_path: Path) -> None:
    done = scores_watch(gateway, tmp_path, organization=OTHER_DISTRICT)
    assert done.returncode == 2
    assert done.stderr.startswith("scores: the gateway answered 403: There is no such organization")


def test_the_watch_command_prints_a_line_for_each_change(
    gateway: GatewayProcess, worker: FakeWorker, tmp_path: Path
) -> None:
    token_file = tmp_path / "token.txt"
    token_file.write_text(gateway.token(DISTRICT))
    command = [sys.executable, "-m", "cli", "watch", gateway.url, "--topic", SCHOOLS, "--json"]
    with subprocess.Popen(
        [*command, "--token-file", str(token_file)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            lines = map(json.loads, process.stdout)
            next(line for line in lines if line["change"] == "progress")
            worker.apply(SCHOOL, [scored(2490, 4)])
            told = next(line for line in lines if line["change"] == "cell")
        finally:
            process.kill()
    assert (told["organization"], told["test"], told["grade"]) == (SCHOOL, "ELA-SUM", "03")
    assert told["after"]["results"] == told["before"]["results"] + 1
