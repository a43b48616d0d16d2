"""Canaries over HTTP: the public never meets one, no total has one, and only who watches the service sees that there are any."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest
from fake_worker import FakeWorker
from integration.gateway_fixtures import (
    COUNTY,
    ORGANIZATIONS,
    SCHOOL,
    STATE,
    GatewayProcess,
    stream,
    wait_until,
)
from msgspec import to_builtins
from public_stand import ELA, count, public_gateway, publisher, students

from cli.stack.redis_server import EmbeddedRedis
from schemas.access.roles import CANARY_ROLE, MASKED_READER_ROLE, READER_ROLE, RELEASE_ROLE
from schemas.aggregates import CellField
from schemas.canary import CANARY_COUNTY, canary_entries, canary_school, is_canary
from schemas.identifiers import OrganizationId, ancestry, level_of

CANARY = canary_school(1)
CANARYS = ancestry(CANARY)  # its school, district and county
NOWHERE = "19990019999999"  # a school that the directory lacks
REAL = (STATE, *(one["cds"] for one in ORGANIZATIONS))
SCHOOLS = sum(one["kind"] == "school" for one in ORGANIZATIONS)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A school of 50 and a canary's school of 60, larger than anything that would be withheld for being small."""
    folder = tmp_path_factory.mktemp("publisher")
    with EmbeddedRedis() as server:
        worker = FakeWorker(server.url)
        worker.list_organizations([*ORGANIZATIONS, *map(to_builtins, canary_entries(1))])
        worker.apply(SCHOOL, students(30))
        worker.apply(CANARY, students(40))
        worker.serve()
        with publisher(server, folder), public_gateway(server) as running, running.client() as client:
            wait_until(lambda: count(client, STATE) == 30, what="the publisher has read every school")
            worker.apply(CANARY, students(20, 2500))
            worker.apply(SCHOOL, students(20, 2500))
            wait_until(lambda: count(client, STATE) == 50, what="the publisher has followed both changes")
            # Nor would one show that somebody had published.
            for organization in CANARYS:
                worker.publish(organization, CellField(ELA), None)
            yield running


def client_of(gateway: GatewayProcess, role: str, organization: str) -> httpx.Client:
    """Somebody with one role at one organization."""
    token = gateway.token(organization, role=role)
    return gateway.client(Authorization=f"Bearer {token}")


def refusal(answer: httpx.Response) -> tuple[int, bytes]:
    return answer.status_code, answer.content


def with_scores(client: httpx.Client, organization: str) -> int:
    """How many students an organization's cell counts."""
    answer = client.get(f"/v1/aggregates/{organization}")
    assert answer.status_code == 200, answer.text
    answer.raise_for_status()
    [one] = answer.json()["organizations"]
    [cell] = one["cells"]
    return int(cell["with_scores"])


def listed(client: httpx.Client, path: str) -> list[str]:
    """The organizations that a list has, by code."""
    answer = client.get(path)
    answer.raise_for_status()
    return [one["id"] for one in answer.json()["organizations"]]


def test_canarys_own_results_are_there_for_the_canary(gateway: GatewayProcess) -> None:
    """Else the other tests would find nothing because there is nothing."""
    with client_of(gateway, CANARY_ROLE, CANARY_COUNTY) as client:
        assert [with_scores(client, one) for one in CANARYS] == [60, 60, 60]


@pytest.mark.parametrize("organization", CANARYS)
@pytest.mark.parametrize(
    "path",
    ["/public/v1/aggregates/{}", "/public/v1/aggregates/{}?format=csv", "/public/v1/organizations?under={}"],
)
def test_public_view_answers_for_a_canarys_organization_as_for_one_that_is_not(
    gateway: GatewayProcess, path: str, organization: str
) -> None:
    with gateway.client() as client:
        answer = client.get(path.format(organization))
        assert answer.status_code == 404
        assert refusal(answer) == refusal(client.get(path.format(NOWHERE)))


def test_public_directory_and_research_file_have_every_school_but_the_canarys(
    gateway: GatewayProcess,
) -> None:
    with gateway.client() as client:
        directory = listed(client, "/public/v1/organizations")
        file = client.get("/public/v1/research-file", params={"year": 2026, "test": "ELA-SUM"})
    assert SCHOOL in directory
    assert not [one for one in directory if is_canary(one)]
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(file.raise_for_status().text)))
    assert {row["County Code"] for row in rows} == {STATE[:2], COUNTY[:2]}
    assert {row["Total Students Tested with Scores"] for row in rows} == {"50"}


def test_totals_of_the_state_and_its_counties_are_of_real_results_only(gateway: GatewayProcess) -> None:
    with gateway.client(STATE) as viewer, gateway.client() as public:
        for organization in (STATE, COUNTY, SCHOOL):
            assert with_scores(viewer, organization) == count(public, organization) == 50


@pytest.mark.parametrize(
    ("role", "organization", "real", "canaries"),
    [
        (READER_ROLE, STATE, REAL, ()),
        (MASKED_READER_ROLE, STATE, REAL, ()),
        (RELEASE_ROLE, STATE, (), CANARYS),
        (RELEASE_ROLE, COUNTY, (), ()),
        (CANARY_ROLE, CANARY_COUNTY, (), CANARYS),
    ],
)
def test_canaries_are_listed_for_operators_of_the_state_and_for_the_canary_itself(
    gateway: GatewayProcess, role: str, organization: str, real: Sequence[str], canaries: Sequence[str]
) -> None:
    with client_of(gateway, role, organization) as client:
        assert listed(client, "/v1/organizations") == sorted([*real, *canaries])
        assert listed(client, f"/v1/organizations?under={CANARY_COUNTY}") == sorted(canaries)


@pytest.mark.parametrize("role", [READER_ROLE, MASKED_READER_ROLE, RELEASE_ROLE])
@pytest.mark.parametrize("organization", CANARYS)
def test_grant_for_the_state_opens_a_canarys_figures_no_more_than_those_of_no_school(
    gateway: GatewayProcess, role: str, organization: OrganizationId
) -> None:
    with client_of(gateway, role, STATE) as client:
        figures = client.get(f"/v1/aggregates/{organization}")
        watched = client.get(
            "/v1/stream", params={"topic": [f"school/{SCHOOL}", f"{level_of(organization)}/{organization}"]}
        )
        assert figures.status_code == watched.status_code == 403
        assert refusal(figures) == refusal(client.get(f"/v1/aggregates/{NOWHERE}"))
        assert refusal(watched) == refusal(client.get("/v1/stream", params={"topic": f"school/{NOWHERE}"}))


def test_all_schools_of_the_state_on_a_stream_are_without_the_canarys(gateway: GatewayProcess) -> None:
    with gateway.client(STATE) as client, stream(client, f"state/{STATE}/schools") as reader:
        assert reader.until("subscribed").data["organizations"] == SCHOOLS
        shown = {one["id"] for one in reader.until("put").data["organizations"]}
    assert SCHOOL in shown
    assert not [one for one in shown if is_canary(one)]
