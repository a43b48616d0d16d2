"""The webhook worker between a broker, Redis and a district's system."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.access.permissions import Grant
from schemas.access.roles import MASKED_READER_ROLE
from schemas.aggregate_changes import ResultChange
from schemas.assessments import load_registry
from schemas.identifiers import STATE, Grade, OrganizationId, county_of, district_of
from schemas.keys import published_cells
from schemas.releases import ReleaseKey, ReleaseState, Report
from schemas.webhooks.endpoints import EventType
from schemas.webhooks.messages import MessageState, Order
from tests.fake_worker import scored
from tests.webhook_stand import (
    CELL,
    DISTRICT,
    OTHER_SCHOOL,
    SCHOOL,
    WebhookStand,
    until,
    versions,
    webhook_stand,
)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WebhookStand]:
    with webhook_stand(tmp_path) as stand:
        yield stand


def test_a_district_is_told_of_a_changed_cell_of_its_school(stand: WebhookStand) -> None:
    stand.endpoint("ep_one")
    with stand.worker():
        stand.until_confirmed("ep_one")
        stand.tables.apply(SCHOOL, [scored(2450, 3)])
        stand.tell()
        until(lambda: len(stand.receiver.told("/ep_one")) == 1, "the school's cell is told")
        [told] = stand.receiver.told("/ep_one")
        # Written after the receiver's answer, so not yet when the receiver has it.
        until(
            lambda: (
                [one.state for one in stand.messages("ep_one") if one.organization]
                == [MessageState.DELIVERED]
            ),
            "it counts as delivered",
        )
    assert told.body["type"] == "aggregate.updated"
    assert told.body["preliminary"] is True
    assert told.body["data"]["organization"]["id"] == SCHOOL
    assert told.versions == {(SCHOOL, "03"): 1}


def test_changes_within_an_interval_are_told_once_with_the_latest_version(stand: WebhookStand) -> None:
    stand.endpoint("ep_one", interval_seconds=6)  # longer than a busy machine takes for all of them
    with stand.worker():
        stand.until_confirmed("ep_one")
        for _ in range(5):
            stand.tables.apply(SCHOOL, [scored(2450, 3)])
            stand.tell()
        until(lambda: len(stand.receiver.told("/ep_one")) == 1, "the interval is over")
        [told] = stand.receiver.told("/ep_one")
    assert told.versions == {(SCHOOL, "03"): 5}


def test_what_changes_while_a_system_is_away_takes_the_place_of_what_it_did_not_get(
    stand: WebhookStand,
) -> None:
    stand.endpoint("ep_one", SCHOOL)
    with stand.worker(SCORES_WEBHOOK_SCHEDULE="0," + ",".join(["2"] * 25)):
        stand.until_confirmed("ep_one")
        stand.receiver.status = 500
        stand.tables.apply(SCHOOL, [scored(2450, 3)])
        stand.tell()
        until(
            lambda: any(one.attempted and one.organization for one in stand.messages("ep_one")),
            "an attempt failed",
        )
        stand.tables.apply(SCHOOL, [scored(2550, 4)])
        stand.tell()
        until(
            lambda: any(one.state is MessageState.SUPERSEDED for one in stand.messages("ep_one")),
            "the first message is superseded",
        )
        stand.receiver.status = 204
        until(lambda: versions(stand.receiver.told("/ep_one")) == {(SCHOOL, "03"): 2}, "the latest is told")
        assert len(stand.receiver.told("/ep_one")) == 1


def test_a_killed_worker_loses_nothing_and_the_next_one_goes_on(stand: WebhookStand) -> None:
    stand.endpoint("ep_one", interval_seconds=6)
    with stand.worker() as first:
        stand.until_confirmed("ep_one")
        stand.tables.apply(SCHOOL, [scored(2450, 3)])
        stand.tell()
        until(lambda: int(stand.redis.hlen("{webhooks}:pending:ep_one")) == 1, "the change is pending")
        first.signal(signal.SIGKILL)
        stand.tables.apply(OTHER_SCHOOL, [scored(2450, 3)])
        stand.tell(OTHER_SCHOOL)
    with stand.worker():
        wanted = {(SCHOOL, "03"): 1, (OTHER_SCHOOL, "03"): 1}
        until(lambda: versions(stand.receiver.told("/ep_one")) == wanted, "both changes are told")
    assert len(stand.receiver.told("/ep_one")) == 2


def test_a_worker_that_stands_by_takes_over(stand: WebhookStand) -> None:
    stand.endpoint("ep_one")
    with stand.worker() as first:
        stand.until_confirmed("ep_one")
        with stand.worker():
            first.signal(signal.SIGKILL)
            stand.tables.apply(SCHOOL, [scored(2450, 3)])
            stand.tell()
            until(lambda: len(stand.receiver.told("/ep_one")) == 1, "the other worker tells it")


def test_a_worker_notices_that_redis_lost_the_end_of_what_it_wrote(stand: WebhookStand) -> None:
    stand.endpoint("ep_one")
    with stand.worker():
        stand.until_confirmed("ep_one")
        before = stand.redis.dump("{webhooks}:worker")
        assert isinstance(before, bytes)
        epoch = stand.redis.hget("{webhooks}:worker", "epoch")
        stand.tables.apply(SCHOOL, [scored(2450, 3)])
        stand.tell()
        until(lambda: len(stand.receiver.told("/ep_one")) == 1, "the change is told")
        # As if Redis had come back with what it had a moment ago: told, messages and offsets are those of then.
        with stand.redis.pipeline(transaction=True) as pipe:
            pipe.restore("{webhooks}:worker", 0, before, replace=True)
            for key in ("told:ep_one", "messages", "log:ep_one", "due"):
                pipe.delete(f"{{webhooks}}:{key}")
            pipe.execute()
        until(lambda: stand.redis.hget("{webhooks}:worker", "epoch") != epoch, "a new reign begins")
        until(lambda: len(stand.receiver.told("/ep_one")) == 2, "the change is told again")
        assert len({one.id for one in stand.receiver.told("/ep_one")}) == 1


def test_a_masked_endpoint_hears_nothing_of_exact_cells(stand: WebhookStand) -> None:
    stand.endpoint("ep_masked", grants=(Grant(MASKED_READER_ROLE, STATE),))
    stand.endpoint("ep_exact")
    with stand.worker():
        stand.until_confirmed("ep_masked", "ep_exact")
        stand.tables.apply(SCHOOL, [scored(2450, 3)])
        stand.tell()
        until(lambda: len(stand.receiver.told("/ep_exact")) == 1, "who sees exact figures is told")
        assert stand.redis.hlen("{webhooks}:pending:ep_masked") == 0
        cell = stand.tables.merged(SCHOOL, CELL)
        stand.tables.publish(SCHOOL, CELL, cell)
        stand.tell(published=True)
        until(
            lambda: len(stand.receiver.told("/ep_masked")) == 1, "who sees published figures is told of those"
        )
        assert len(stand.receiver.told("/ep_exact")) == 1


def test_a_release_tells_what_was_withheld_until_then(stand: WebhookStand) -> None:
    aggregate = ReleaseKey(2026, DISTRICT, "ELA", Report.AGGREGATE)
    stand.tables.release(aggregate, ReleaseState.LOADING)
    stand.endpoint(
        "ep_one", SCHOOL, DISTRICT, events=(EventType.AGGREGATE_UPDATED, EventType.RELEASE_CHANGED)
    )
    with stand.worker():
        stand.until_confirmed("ep_one")
        stand.tables.apply(SCHOOL, [scored(2450, 3)])
        stand.tell()
        until(
            lambda: stand.taken_in() == 1 and stand.redis.hlen("{webhooks}:pending:ep_one") == 0,
            "the change was taken in and is not told",
        )
        assert stand.receiver.told("/ep_one") == []
        stand.release(aggregate, ReleaseState.RELEASED)
        until(
            lambda: (
                {one.body["type"] for one in stand.receiver.told("/ep_one")}
                == {"release.changed", "aggregate.updated"}
            ),
            "the release and what it opened are told",
        )


def test_a_county_is_told_as_the_sum_over_the_districts_that_are_released(stand: WebhookStand) -> None:
    county, withheld = county_of(DISTRICT), OrganizationId("19990020000101")
    stand.tables.release(
        ReleaseKey(2026, district_of(withheld), "ELA", Report.AGGREGATE), ReleaseState.LOADING
    )
    stand.tables.apply(SCHOOL, [scored(2450, 3), scored(2460, 3)])
    stand.endpoint("ep_one", county, payload="full")
    with stand.worker():
        stand.until_confirmed("ep_one")
        stand.tables.apply(withheld, [scored(2600, 4)])
        stand.tell(county)
        until(lambda: len(stand.receiver.told("/ep_one")) == 1, "the county is told")
        [told] = stand.receiver.told("/ep_one")
        [cell] = told.body["data"]["cells"]
        assert cell["figures"]["results"] == 2
        # Another result of the district that is withheld changes nothing of what this endpoint may see.
        stand.tables.apply(withheld, [scored(2600, 4)])
        stand.tell(county)
        stand.tables.apply(SCHOOL, [scored(2470, 3)])
        stand.tell()
        until(lambda: len(stand.receiver.told("/ep_one")) >= 2, "the school is told")
        # The county may be told again, but only of what the released district brought.
        counted = {
            one.body["data"]["cells"][0]["figures"]["results"]
            for one in stand.receiver.told("/ep_one")
            if one.body["data"]["organization"]["id"] == county
        }
        assert counted <= {2, 3}


def test_a_rescored_exam_is_told_to_those_who_may_see_individual_results(stand: WebhookStand) -> None:
    change = ResultChange(
        id="0-7",
        kind="rescored",
        organization=SCHOOL,
        assessment_id=load_registry().natural_id("ELA-SUM", Grade("03"), 2026),
        opportunity_id="an opportunity",
        school_year=2026,
        status_date="2026-05-04T12:00:00Z",
        changed_ms=1_777_896_000_000,
    )
    stand.endpoint("ep_one")
    stand.endpoint("ep_masked", grants=(Grant(MASKED_READER_ROLE, STATE),))
    with stand.worker():
        stand.until_confirmed("ep_one", "ep_masked")
        stand.tell_result(change)
        until(lambda: len(stand.receiver.told("/ep_one")) == 1, "the rescore is told")
        until(lambda: stand.redis.hlen("{webhooks}:pending:ep_masked") == 0, "it is judged for the other one")
    [told] = stand.receiver.told("/ep_one")
    assert told.body["type"] == "result.rescored"
    assert told.body["data"]["results"][0]["opportunity_id"] == "an opportunity"
    assert stand.receiver.told("/ep_masked") == []


def test_a_paused_endpoint_is_told_the_latest_when_it_goes_on(stand: WebhookStand) -> None:
    stand.endpoint("ep_one")
    with stand.worker():
        stand.until_confirmed("ep_one")
        stand.change("ep_one", paused=True)
        stand.endpoint("ep_two")
        stand.until_confirmed("ep_two")  # so the pause is known, too
        for _ in range(3):
            stand.tables.apply(SCHOOL, [scored(2450, 3)])
            stand.tell()
        until(
            lambda: versions(stand.receiver.told("/ep_two")) == {(SCHOOL, "03"): 3}, "the other one is told"
        )
        assert stand.receiver.told("/ep_one") == []
        stand.change("ep_one", paused=False)
        until(lambda: len(stand.receiver.told("/ep_one")) == 1, "it is told when it goes on")
        assert versions(stand.receiver.told("/ep_one")) == {(SCHOOL, "03"): 3}


def test_what_an_owner_may_not_see_any_more_is_withheld_at_the_next_attempt(stand: WebhookStand) -> None:
    key = ReleaseKey(2026, DISTRICT, "ELA", Report.AGGREGATE)
    stand.endpoint("ep_one", SCHOOL)
    with stand.worker(SCORES_WEBHOOK_SCHEDULE="0," + ",".join(["2"] * 25)):
        stand.until_confirmed("ep_one")
        stand.receiver.status = 500
        stand.tables.apply(SCHOOL, [scored(2450, 3)])
        stand.tell()
        until(
            lambda: any(one.attempted for one in stand.messages("ep_one") if one.organization),
            "an attempt failed",
        )
        stand.tables.release(key, ReleaseState.LOADING)
        until(
            lambda: (
                [one.state for one in stand.messages("ep_one") if one.organization] == [MessageState.WITHHELD]
            ),
            "the message is withheld",
        )
        stand.receiver.status = 204
    assert stand.receiver.told("/ep_one") == []


def test_everything_since_a_time_is_told_again_to_who_asks_for_it(stand: WebhookStand) -> None:
    stand.endpoint("ep_one")
    with stand.worker():
        stand.until_confirmed("ep_one")
        stand.tables.apply(SCHOOL, [scored(2450, 3)])
        stand.tell()
        until(lambda: len(stand.receiver.told("/ep_one")) == 1, "the change is told")
        stand.order(Order(kind="recover", endpoint="ep_one", since_ms=0))
        # The district's own cell, too, of which no record came.
        wanted = {(SCHOOL, "03"): 1, (DISTRICT, "03"): 1}
        until(lambda: versions(stand.receiver.told("/ep_one")) == wanted, "all of the district is told")
        until(lambda: len(stand.receiver.told("/ep_one")) == 3, "the school's is told again")
        assert len({one.id for one in stand.receiver.told("/ep_one")}) == 2


def test_nothing_is_left_of_an_endpoint_that_was_deleted(stand: WebhookStand) -> None:
    stand.endpoint("ep_one")
    with stand.worker():
        stand.until_confirmed("ep_one")
        stand.tables.apply(SCHOOL, [scored(2450, 3)])
        stand.tell()
        until(lambda: len(stand.receiver.told("/ep_one")) == 1, "the change is told")
        stand.redis.hdel("{webhooks}:endpoints", "ep_one")
        stand.redis.incr("{webhooks}:version")
        until(lambda: stand.redis.hlen("{webhooks}:messages") == 0, "its messages are gone")
        until(lambda: stand.redis.keys("{webhooks}:*ep_one*") == [], "and everything else of it")
        until(lambda: stand.redis.hlen("{webhooks}:states") == 0, "and how it fared")


def test_a_cell_that_is_published_no_more_is_told_to_those_who_were_told_of_it(stand: WebhookStand) -> None:
    masked = (Grant(MASKED_READER_ROLE, STATE),)
    stand.endpoint("ep_one", grants=masked, payload="full")
    with stand.worker():
        stand.until_confirmed("ep_one")
        stand.tables.apply(SCHOOL, [scored(2450, 3)])
        stand.tables.publish(SCHOOL, CELL, stand.tables.merged(SCHOOL, CELL))
        stand.tell(published=True)
        until(lambda: len(stand.receiver.told("/ep_one")) == 1, "the published cell is told")
        stand.redis.delete(published_cells(SCHOOL))
        stand.tell(OTHER_SCHOOL, published=True, version=0)  # nobody was told of this one
        stand.tell(published=True, version=0)
        until(lambda: len(stand.receiver.told("/ep_one")) == 2, "its end is told")
        first, last = stand.receiver.told("/ep_one")
    assert last.versions == {(SCHOOL, "03"): 0}
    [before], [after] = first.body["data"]["cells"], last.body["data"]["cells"]
    assert before["figures"] is not None
    assert after["figures"] is None
    assert after["changed"] > before["changed"]
