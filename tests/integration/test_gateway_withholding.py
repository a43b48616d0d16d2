"""Release states and published tables, over a real Redis and through a gateway process of its own."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import httpx
import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    COUNTY,
    DISTRICT,
    ORGANIZATIONS,
    OTHER_DISTRICT,
    OTHER_SCHOOL,
    SCHOOL,
    STATE,
    EventReader,
    GatewayProcess,
    gateway_process,
    redis_server,
    stream,
    wait_until,
)
from promptness import assert_within

from gateway.redis_connection import connect
from gateway.tables import Tables
from schemas.access.permissions import Grant, VisibilityClass
from schemas.access.roles import MASKED_READER_ROLE, READER_ROLE
from schemas.aggregates import Cell, cell_field
from schemas.identifiers import OrganizationId
from schemas.keys import RELEASES, RELEASES_CHANGED_MS, RELEASES_VERSION
from schemas.releases import ReleaseKey, ReleaseState, Report

ELA = cell_field(2026, "ELA-SUM", "03")
TOPICS = (f"school/{SCHOOL}", f"district/{DISTRICT}", f"county/{COUNTY}", f"state/{STATE}")
WATCHED = (SCHOOL, DISTRICT, COUNTY, STATE)
LOADING, REVIEWING, RELEASED = ReleaseState
ROLES = {
    VisibilityClass.EXACT_LOADING: (READER_ROLE, "DevOps"),
    VisibilityClass.EXACT_REVIEWING: (READER_ROLE, "EMBARGO_ADMIN"),
    VisibilityClass.EXACT_RELEASED: (READER_ROLE,),
    VisibilityClass.MASKED: (MASKED_READER_ROLE,),
}


@pytest.fixture
def worker() -> Iterator[FakeWorker]:
    """12 results in our district and 30 in the next; nothing is released."""
    with redis_server() as server:
        made = FakeWorker(server.url)
        made.list_organizations(ORGANIZATIONS)
        made.apply(SCHOOL, [scored(2450, 3)] * 7 + [scored(2400, 2)] * 5)
        made.apply(OTHER_SCHOOL, [scored(2500, 4)] * 30, partition=1)
        for organization in WATCHED:
            made.publish(organization, ELA, twelve())
        made.serve()
        yield made


@pytest.fixture
def gateway(worker: FakeWorker) -> Iterator[GatewayProcess]:
    with gateway_process(address(worker), SCORES_UNLISTED_RELEASE_STATE="loading") as running:
        yield running


def address(worker: FakeWorker) -> str:
    server = worker.redis.connection_pool.connection_kwargs
    return f"redis://{server['host']}:{server['port']}/0"


def twelve() -> Cell:
    cell = Cell()
    cell.apply_all([scored(2450, 3)] * 7 + [scored(2400, 2)] * 5)
    return cell


def client_of(gateway: GatewayProcess, one: VisibilityClass) -> httpx.Client:
    grants = [Grant(role, OrganizationId(STATE)) for role in ROLES[one]]
    token = gateway.issuer.issue(f"{one}@example.test", grants, timedelta(minutes=10))
    return gateway.client(Authorization=f"Bearer {token}")


def ela(district: str) -> ReleaseKey:
    return ReleaseKey(2026, OrganizationId(district), "ELA", Report.AGGREGATE)


def seen(reader: EventReader) -> dict[str, int]:
    """What a client has of each organization by now: students with scores."""
    found: dict[str, int] = {}
    for event in reader.seen:
        if event.kind in ("put", "patch"):
            for one in event.data["organizations"]:
                if event.kind == "put":
                    found.pop(one["id"], None)
                for cell in one["cells"]:
                    found[one["id"]] = cell["with_scores"]
    return found


def read_until(reader: EventReader, expected: dict[str, int]) -> None:
    """Read until a client has exactly this, which must be soon."""
    deadline = time.monotonic() + 60
    while seen(reader) != expected:
        assert time.monotonic() < deadline, f"has {seen(reader)}, ought to have {expected}"
        assert reader.next() is not None


def expected_of(one: VisibilityClass, ours: ReleaseState, theirs: ReleaseState) -> dict[str, int]:
    if one is VisibilityClass.MASKED:
        own = dict.fromkeys((SCHOOL, DISTRICT), 12) if ours is RELEASED else {}
        above = dict.fromkeys((COUNTY, STATE), 12) if RELEASED in (ours, theirs) else {}
        return own | above
    counted = (12 if ours >= one.lowest else 0) + (30 if theirs >= one.lowest else 0)
    own = dict.fromkeys((SCHOOL, DISTRICT), 12) if ours >= one.lowest else {}
    return own | (dict.fromkeys((COUNTY, STATE), counted) if counted else {})


def test_7_loading_reviewing_released_while_subscribed_then_back_every_viewer_class_gains_and_loses_exactly_its_rows(
    worker: FakeWorker, gateway: GatewayProcess
) -> None:
    with ExitStack() as stack:
        readers = {
            one: stack.enter_context(stream(stack.enter_context(client_of(gateway, one)), *TOPICS))
            for one in VisibilityClass
        }
        states = {DISTRICT: LOADING, OTHER_DISTRICT: LOADING}
        for one, reader in readers.items():
            reader.until("progress")
            assert seen(reader) == expected_of(one, LOADING, LOADING)
        course = [
            (DISTRICT, REVIEWING),
            (DISTRICT, RELEASED),
            (OTHER_DISTRICT, REVIEWING),
            (OTHER_DISTRICT, RELEASED),
            (DISTRICT, REVIEWING),
            (DISTRICT, LOADING),
            (OTHER_DISTRICT, LOADING),
        ]
        for district, state in course:
            worker.release(ela(district), state)
            states[district] = state
            for one, reader in readers.items():
                read_until(reader, expected_of(one, states[DISTRICT], states[OTHER_DISTRICT]))


def test_a_release_is_on_the_screen_at_once_and_so_is_its_withdrawal(
    worker: FakeWorker, gateway: GatewayProcess
) -> None:
    with client_of(gateway, VisibilityClass.EXACT_RELEASED) as client, stream(client, TOPICS[0]) as reader:
        reader.until("progress")

        def released_and_withdrawn() -> float:
            before = time.monotonic()
            worker.release(ela(DISTRICT), RELEASED)
            read_until(reader, {SCHOOL: 12})
            shown = time.monotonic()
            worker.release(ela(DISTRICT), REVIEWING)
            read_until(reader, {})
            return max(shown - before, time.monotonic() - shown)

        # The states are looked at each second anyway: whoever waits for that waits that long for the second change.
        assert_within(0.7, released_and_withdrawn)


def test_a_county_follows_the_results_of_the_released_district_alone(
    worker: FakeWorker, gateway: GatewayProcess
) -> None:
    worker.release(ela(DISTRICT), RELEASED)
    with client_of(gateway, VisibilityClass.EXACT_RELEASED) as client, stream(client, TOPICS[2]) as reader:
        read_until(reader, {COUNTY: 12})
        worker.apply(OTHER_SCHOOL, [scored(2300, 1)] * 3)
        worker.apply(SCHOOL, [scored(2600, 4)], removed=[scored(2400, 2)] * 2, partition=0)
        event = reader.until("patch")
        cell = event.cells(COUNTY)[ELA]
        # 7 of 2450, 3 of 2400 and one of 2600: 26950 / 11
        assert (cell["with_scores"], cell["mean"]) == (11, 2450)
        assert [level["count"] for level in cell["levels"]] == [0, 3, 7, 1]


def test_a_withdrawn_row_is_not_in_a_plain_answer_either_and_a_suppressed_one_has_no_figures(
    worker: FakeWorker, gateway: GatewayProcess
) -> None:
    worker.publish(SCHOOL, ELA, None)
    worker.release(ela(DISTRICT), RELEASED)

    def answer(one: VisibilityClass) -> tuple[list[dict[str, object]], list[dict[str, str]]]:
        with client_of(gateway, one) as client:
            [organization] = client.get(f"/v1/aggregates/{SCHOOL}").raise_for_status().json()["organizations"]
            rows = csv.DictReader(io.StringIO(client.get(f"/v1/aggregates/{SCHOOL}?format=csv").text))
            return organization["cells"], list(rows)

    def answered() -> bool:
        return bool(answer(VisibilityClass.MASKED)[0])

    wait_until(answered)
    [cell], [row] = answer(VisibilityClass.MASKED)
    assert cell["suppressed"] is True and cell["results"] is None
    assert row["suppressed"] == "true"
    assert {row[name] for name in ("results", "with_scores", "mean", "level_1_count", "median")} == {""}
    [exact], [exact_row] = answer(VisibilityClass.EXACT_RELEASED)
    assert exact["results"] == 12 and exact_row["suppressed"] == "false"
    worker.release(ela(DISTRICT), REVIEWING)
    wait_until(lambda: not answered())
    assert answer(VisibilityClass.EXACT_RELEASED) == ([], [])


def test_an_id_of_before_the_withdrawal_does_not_keep_the_row_on_the_screen(
    worker: FakeWorker, gateway: GatewayProcess
) -> None:
    worker.release(ela(DISTRICT), RELEASED)
    with client_of(gateway, VisibilityClass.EXACT_RELEASED) as client:
        with stream(client, TOPICS[0]) as reader:
            read_until(reader, {SCHOOL: 12})
            reader.until("progress")
            held = [event.id for event in reader.seen if event.id][-1]
        worker.release(ela(DISTRICT), REVIEWING)
        with stream(client, TOPICS[0], query=None, **{"Last-Event-ID": held}) as reader:
            reader.until("progress")
            read_until(reader, {})
            assert [event for event in reader.seen if event.kind == "put"]


@pytest.mark.anyio
async def test_release_states_that_redis_has_lost_are_remembered_until_they_are_there_again(
    worker: FakeWorker,
) -> None:
    client = connect(address(worker))
    tables = Tables(client, unlisted=RELEASED)
    worker.redis.delete(RELEASES_VERSION)
    assert await tables.releases(None) is None, "as long as nothing is known, nothing is known"
    worker.redis.set(RELEASES_VERSION, 7)
    worker.release(ela(DISTRICT), REVIEWING)
    known = await tables.releases(None)
    assert known is not None and known.version == 8 and known.changed_ms > 0
    assert known.state(2026, OrganizationId(DISTRICT), "ELA") is REVIEWING
    assert known.state(2026, OrganizationId(OTHER_DISTRICT), "ELA") is RELEASED
    assert await tables.releases(known) is known
    worker.redis.delete(RELEASES, RELEASES_VERSION, RELEASES_CHANGED_MS)
    assert await tables.releases(known) is known
    worker.redis.set(RELEASES_VERSION, 1)
    assert await tables.releases(known) is known
    worker.redis.set(RELEASES_VERSION, 9)
    again = await tables.releases(known)
    assert again is not None and again.state(2026, OrganizationId(DISTRICT), "ELA") is RELEASED
    await client.aclose()
