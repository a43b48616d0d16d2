"""Publisher, gateway and Redis together: what the public sees, and through which accidents it sees nothing else."""

from __future__ import annotations

import csv
import io
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_worker import FakeWorker
from integration.gateway_fixtures import (
    COUNTY,
    DISTRICT,
    ORGANIZATIONS,
    OTHER_DISTRICT,
    OTHER_SCHOOL,
    SCHOOL,
    SECOND_SCHOOL,
    STATE,
    GatewayProcess,
    gateway_process,
    stream,
    wait_until,
)
from public_stand import ELA, count, public_gateway, published, publisher, students
from stack import measured

from cli.stack.ports import free_port
from cli.stack.redis_server import EmbeddedRedis
from schemas.access.roles import MASKED_READER_ROLE
from schemas.identifiers import OrganizationId
from schemas.keys import PUBLISHED_POSITION
from schemas.releases import ReleaseKey, ReleaseState, Report

THIRD_SCHOOL = "19990010000103"
UNRELEASED = {"SCORES_UNLISTED_RELEASE_STATE": "loading"}
FAILING = Path(__file__).parents[1] / "failing_publisher.py"


@pytest.fixture
def worker(server: EmbeddedRedis) -> FakeWorker:
    """Schools of 60, 40 and 4 in one district, one of 30 in another."""
    made = FakeWorker(server.url)
    third = {"cds": THIRD_SCHOOL, "name": "Ginkgo Elementary", "kind": "school"}
    made.list_organizations([*ORGANIZATIONS, third])
    for school, number in ((SCHOOL, 60), (SECOND_SCHOOL, 40), (THIRD_SCHOOL, 4), (OTHER_SCHOOL, 30)):
        made.apply(school, students(number))
    made.serve()
    return made


def masked_viewer(gateway: GatewayProcess, organization: str) -> dict[str, str]:
    """The headers of somebody who may see aggregates, and no individual results."""
    return {"Authorization": f"Bearer {gateway.token(organization, role=MASKED_READER_ROLE)}"}


def release(worker: FakeWorker, district: str, state: ReleaseState) -> None:
    worker.release(ReleaseKey(2026, OrganizationId(district), "ELA", Report.AGGREGATE), state)


def test_public_sees_large_schools_and_not_small_ones_without_a_token(
    server: EmbeddedRedis, worker: FakeWorker, tmp_path: Path
) -> None:
    with publisher(server, tmp_path), public_gateway(server) as gateway, gateway.client() as client:
        wait_until(lambda: count(client, STATE) == 134)
        assert [count(client, one) for one in (SCHOOL, SECOND_SCHOOL, THIRD_SCHOOL)] == [60, "*", "*"]
        assert [count(client, one) for one in (DISTRICT, OTHER_DISTRICT, COUNTY)] == [104, 30, 134]
        small = published(client, THIRD_SCHOOL)[ELA]
        assert small["suppressed"] is True
        told = (small[name] for name in ("results", "with_scores", "under_appeal", "mean", "standard_error"))
        assert set(told) == {None}
        assert small["levels"] == small["claims"] == []
        large = published(client, SCHOOL)[ELA]
        assert large["mean"] == 2430  # 2400 to 2459: 2429.5
        assert (large["results"], large["standard_error"], large["median"]) == (60, None, None)


def test_public_view_is_what_a_masked_viewer_sees(
    server: EmbeddedRedis, worker: FakeWorker, tmp_path: Path
) -> None:
    with publisher(server, tmp_path), public_gateway(server) as gateway, gateway.client() as client:
        wait_until(lambda: count(client, STATE) == 134)
        viewer = masked_viewer(gateway, COUNTY)
        for organization in (SCHOOL, SECOND_SCHOOL, DISTRICT, COUNTY):
            public = client.get(f"/public/v1/aggregates/{organization}").json()["organizations"]
            masked = client.get(f"/v1/aggregates/{organization}", headers=viewer).json()["organizations"]
            assert public == masked


def test_public_figures_stand_still_until_eleven_students_are_new(
    server: EmbeddedRedis, worker: FakeWorker, tmp_path: Path
) -> None:
    port = free_port()
    settings = {"SCORES_PUBLISHER_METRICS_PORT": str(port)}
    with (
        publisher(server, tmp_path, settings=settings),
        public_gateway(server) as gateway,
        gateway.client() as client,
    ):
        wait_until(lambda: count(client, OTHER_SCHOOL) == 30)
        before = client.get(f"/public/v1/aggregates/{OTHER_SCHOOL}")
        worker.apply(OTHER_SCHOOL, students(10, 2500))
        rounds = measured(port, "scores_publisher_rounds_total")
        wait_until(lambda: measured(port, "scores_publisher_rounds_total") >= rounds + 2)
        after = client.get(
            f"/public/v1/aggregates/{OTHER_SCHOOL}", headers={"If-None-Match": before.headers["etag"]}
        )
        assert after.status_code == 304
        worker.apply(OTHER_SCHOOL, students(1, 2600))
        wait_until(lambda: count(client, OTHER_SCHOOL) == 41)


def test_results_that_are_taken_back_disappear_from_the_public_and_from_a_masked_stream(
    server: EmbeddedRedis, worker: FakeWorker, tmp_path: Path
) -> None:
    for district in (DISTRICT, OTHER_DISTRICT):
        release(worker, district, ReleaseState.RELEASED)
    with (
        publisher(server, tmp_path, settings=UNRELEASED),
        public_gateway(server, **UNRELEASED) as gateway,
        gateway.client() as client,
    ):
        wait_until(lambda: count(client, STATE) == 134)
        viewer = masked_viewer(gateway, STATE)
        with stream(client, f"school/{OTHER_SCHOOL}", Authorization=viewer["Authorization"]) as reader:
            reader.until("put", lambda event: ELA in event.cells(OTHER_SCHOOL))
            release(worker, OTHER_DISTRICT, ReleaseState.REVIEWING)
            reader.until("put", lambda event: event.cells(OTHER_SCHOOL) == {})
        assert count(client, OTHER_SCHOOL) is None
        assert OTHER_SCHOOL[7:] not in client.get("/public/v1/research-file?year=2026&test=1").text
        wait_until(lambda: count(client, STATE) == 104)
        assert not server_has(server, "{published}:cells:" + OTHER_SCHOOL)


def server_has(server: EmbeddedRedis, key: str) -> bool:
    worker = FakeWorker(server.url)
    return bool(worker.redis.exists(key))


def published_state(worker: FakeWorker) -> dict[bytes, Any]:
    """All that Redis has of what was published, but for when the publisher was heard of last."""
    position = PUBLISHED_POSITION.encode()
    keys: Any = worker.redis.keys("{published}:*")
    state: dict[bytes, Any] = {key: worker.redis.dump(key) for key in keys if key != position}
    fields: Any = worker.redis.hgetall(PUBLISHED_POSITION)
    state[position] = {name: value for name, value in fields.items() if name != b"heard_ms"}
    return state


def test_publisher_that_is_killed_before_it_writes_leaves_nothing_half_done(
    server: EmbeddedRedis, worker: FakeWorker, tmp_path: Path
) -> None:
    armed = tmp_path / "die"
    with (
        publisher(server, tmp_path, str(FAILING), settings={"PUBLISHER_DIES": str(armed)}) as dying,
        public_gateway(server) as gateway,
        gateway.client() as client,
    ):
        wait_until(lambda: count(client, STATE) == 134)
        armed.touch()
        before = published_state(worker)
        worker.apply(OTHER_SCHOOL, students(15, 2500))
        wait_until(lambda: dying.exit_status is not None)
        assert dying.exit_status == -signal.SIGKILL
        assert published_state(worker) == before
        worker.apply(OTHER_SCHOOL, [], removed=students(8, 2500))
        port = free_port()
        with publisher(server, tmp_path, settings={"SCORES_PUBLISHER_METRICS_PORT": str(port)}):
            wait_until(lambda: measured(port, "scores_publisher_rounds_total") >= 2)
            assert count(client, OTHER_SCHOOL) == 30, "seven more than the public saw"
            worker.apply(OTHER_SCHOOL, students(8, 2600))
            wait_until(lambda: count(client, OTHER_SCHOOL) == 45)


def test_second_publisher_takes_over_and_the_first_one_says_why_it_stops(
    server: EmbeddedRedis, worker: FakeWorker, tmp_path: Path
) -> None:
    with (
        publisher(server, tmp_path) as first,
        public_gateway(server) as gateway,
        gateway.client() as client,
    ):
        wait_until(lambda: count(client, STATE) == 134)
        with publisher(server, tmp_path):
            wait_until(lambda: first.exit_status is not None)
            assert first.exit_status == 1
            assert "another publisher" in (tmp_path / "publisher-0.log").read_text()
            worker.apply(OTHER_SCHOOL, students(20, 2500))
            wait_until(lambda: count(client, OTHER_SCHOOL) == 50)


def test_answers_may_be_kept_for_no_longer_than_until_the_next_round(
    server: EmbeddedRedis, worker: FakeWorker, tmp_path: Path
) -> None:
    with (
        publisher(server, tmp_path),
        public_gateway(server, SCORES_PUBLISH_SECONDS="7") as gateway,
        gateway.client() as client,
    ):
        wait_until(lambda: count(client, STATE) == 134)
        paths = (
            "/public/v1/organizations",
            f"/public/v1/aggregates/{DISTRICT}",
            "/public/v1/research-file?year=2026&test=ELA-SUM",
        )
        for path in paths:
            answer = client.get(path)
            assert answer.status_code == 200
            assert answer.headers["cache-control"] == "public, max-age=7"
            assert "set-cookie" not in answer.headers
            tag, modified = answer.headers["etag"], answer.headers["last-modified"]
            for condition in ({"If-None-Match": tag}, {"If-Modified-Since": modified}):
                again = client.get(path, headers=condition)
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["etag"] == tag
            assert client.get(path, headers={"If-None-Match": '"another"'}).status_code == 200
            assert client.head(path).headers["etag"] == tag


def test_research_file_has_every_published_organization_and_stars_for_the_small(
    server: EmbeddedRedis, worker: FakeWorker, tmp_path: Path
) -> None:
    with publisher(server, tmp_path), public_gateway(server) as gateway, gateway.client() as client:
        wait_until(lambda: count(client, STATE) == 134)
        answer = client.get("/public/v1/research-file", params={"year": 2026, "test": 1})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(answer.text)))
    found = {
        row["County Code"] + row["District Code"] + row["School Code"]: row[
            "Total Students Tested with Scores"
        ]
        for row in rows
        if row["Grade"] == "03"
    }
    assert found == {
        STATE: "134",
        COUNTY: "134",
        DISTRICT: "104",
        SCHOOL: "60",
        SECOND_SCHOOL: "*",
        THIRD_SCHOOL: "*",
        OTHER_DISTRICT: "30",
        OTHER_SCHOOL: "30",
    }
    assert {row["School Code"] for row in rows if row["Grade"] == "13"} == {
        "0000000",
        SCHOOL[7:],
        OTHER_SCHOOL[7:],
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/public/v1/aggregates/19990019999999", 404),
        ("/public/v1/organizations?under=19990019999999", 404),
        ("/public/v1/aggregates/cedar", 400),
        ("/public/v1/aggregates/19990010000101?format=pdf", 400),
        ("/public/v1/research-file", 400),
        ("/public/v1/research-file?year=2026", 400),
        ("/public/v1/research-file?year=26&test=1", 400),
        ("/public/v1/research-file?year=2026&test=NOT-A-TEST", 400),
        ("/public/v1/nothing", 404),
    ],
)
def test_wrong_question_is_answered_as_problem_json(
    open_gateway: GatewayProcess, path: str, status: int
) -> None:
    answer = httpx.get(open_gateway.url + path, trust_env=False)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"


@pytest.fixture(scope="module")
def open_gateway() -> Iterator[GatewayProcess]:
    with EmbeddedRedis() as server:
        worker = FakeWorker(server.url)
        worker.list_organizations(ORGANIZATIONS)
        worker.serve()
        with public_gateway(server) as gateway:
            yield gateway


def test_without_the_setting_there_is_no_public_view(server: EmbeddedRedis, worker: FakeWorker) -> None:
    with gateway_process(server.url) as gateway, gateway.client() as client:
        answer = client.get(f"/public/v1/aggregates/{SCHOOL}")
        assert answer.status_code == 404
        assert answer.content == client.get("/no/such/address").content
