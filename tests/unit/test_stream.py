"""One stream over a hub with tables in memory: what it is sent, in which order, when it waits and when it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_tables import (
    DISTRICT,
    ELA,
    EMPTY_DISTRICT,
    MATH,
    NEW_SCHOOL,
    SCHOOL,
    SECOND_SCHOOL,
    FakeLine,
    principal,
    school,
    settled,
    until,
    world,
)

from gateway import following, sse
from gateway.audience import SLOTS
from gateway.stream import StreamLimits, farewell
from gateway.subscriptions import DEFAULT_LIMITS, Subscription, SubscriptionRequest
from schemas.access.permissions import Forbidden
from schemas.keys import Generation

pytestmark = pytest.mark.anyio

TOPIC = f"school/{SCHOOL}"
SECOND_TOPIC = f"school/{SECOND_SCHOOL}"
SUBTREE = f"district/{DISTRICT}/schools"


def asked(*topics: str, **narrowed: tuple[str, ...]) -> Subscription:
    return SubscriptionRequest(topics, **narrowed).subscription(DEFAULT_LIMITS)


def kinds(line: FakeLine) -> list[str]:
    return [kind for kind, _, _ in line.events()]


async def test_a_stream_opens_at_once_says_what_it_is_about_and_then_sends_everything() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        _, line = here.stream(TOPIC, tests=("ELA-SUM",))
        assert len(line.writes) == 1  # before anything was read
        assert line.writes[0].startswith(b": ok\nretry: ")
        [(_, said, event_id)] = line.events("subscribed")
        assert (said["stream"], said["topics"], said["tests"]) == ("node.stream", [TOPIC], ["ELA-SUM"])
        assert said["organizations"] == 1 and "dropped" not in said and event_id is None
        await until(lambda: line.events("progress"))
        assert kinds(line) == ["subscribed", "put", "progress"]
        assert line.told() == [("put", SCHOOL, "ELA-SUM", 1)]


async def test_whoever_comes_later_is_served_from_memory_with_the_first_write() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        _, first = here.stream(TOPIC)
        await until(lambda: first.events("put"))
        for _ in range(200):
            _, line = here.stream(TOPIC)
            assert line.told() == [("put", SCHOOL, "ELA-SUM", 1)]
            assert line.writes[1] is first.writes[1]  # not only equal: the very same bytes
        assert here.tables.reads == [SCHOOL]


async def test_a_herd_that_comes_before_the_first_read_waits_for_that_one_read() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        lines = [here.stream(TOPIC, SUBTREE)[1] for _ in range(300)]
        await until(lambda: all(line.events("progress") for line in lines))
        assert sorted(here.tables.reads) == [SCHOOL, SECOND_SCHOOL]


async def test_a_change_that_a_tick_brings_while_everything_is_read_is_not_lost() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        here.tables.whole_reads_go_on.clear()
        _, line = here.stream(TOPIC)
        await until(lambda: here.tables.reads)  # it will return version 1
        here.tables.apply(SCHOOL)
        here.tables.apply(SCHOOL, MATH)
        await settled()
        here.tables.whole_reads_go_on.set()
        await until(lambda: any(test == "MATH-SUM" for _, _, test, _ in line.told()))
        assert line.told()[0] == ("put", SCHOOL, "ELA-SUM", 2)  # what the tick brought, not what was read


async def test_a_tick_that_read_before_the_put_and_delivers_after_it_does_not_go_back() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        _, first = here.stream(TOPIC)
        await until(lambda: first.events("put"))
        here.tables.ticks_go_on.clear()
        here.tables.apply(SECOND_SCHOOL)
        here.tables.apply(SCHOOL)  # read by the tick as version 2
        _, second = here.stream(SECOND_TOPIC)
        await until(lambda: second.events("put"))
        here.tables.cells[SCHOOL][ELA] = here.tables.cells[SCHOOL][ELA]._replace(changed_ms=0)
        here.tables.apply(SCHOOL)
        here.tables.ticks_go_on.set()
        await until(lambda: (("patch", SCHOOL, "ELA-SUM", 3)) in first.told())
        versions = [version for _, _, _, version in first.told()]
        assert versions == sorted(versions)
        assert [told for told in second.told() if told[0] == "put"] == [("put", SECOND_SCHOOL, "ELA-SUM", 1)]


async def test_changes_of_one_tick_and_the_progress_that_is_due_are_one_write() -> None:
    async with world() as here:
        _, line = here.stream(TOPIC, SECOND_TOPIC)
        await until(lambda: line.events("progress"))
        here.tables.incomplete = True
        here.tables.wake()
        await until(lambda: line.events("progress")[-1][1].get("stale"))
        written = len(line.writes)
        here.tables.ticks_go_on.clear()
        here.tables.apply(SCHOOL)
        here.tables.apply(SECOND_SCHOOL)
        await settled()
        here.tables.incomplete = False
        here.tables.apply(SCHOOL, MATH)
        await settled()
        here.tables.ticks_go_on.set()
        await until(lambda: "stale" not in line.events("progress")[-1][1])
        await settled()
        last = line.writes[-1]
        assert b"event: patch" in last and b"event: progress" in last
        assert all(write.count(b"event: patch") <= 1 for write in line.writes[written:])
        assert sum(write.count(b"event: progress") for write in line.writes[written:]) == 1


async def test_where_much_happens_progress_comes_with_the_changes_and_needs_no_writes_of_its_own() -> None:
    async with world(progress_seconds=2) as here:
        _, line = here.stream(TOPIC)
        await until(lambda: line.events("progress"))
        for changes in range(1, 9):
            await here.turn(0.5)
            here.tables.apply(SCHOOL)
            await until(lambda: len(line.events("patch")) == changes)  # noqa: B023
            for _ in range(SLOTS):
                here.hub._audience.remind()
            await settled()
        written = line.writes[2:]
        assert len(written) == 8 + 1 and all(b"event: patch" in write for write in written[1:])
        assert sum(b"event: progress" in write for write in written[1:]) == 4
        await here.turn(1)
        for _ in range(SLOTS):
            here.hub._audience.remind()
        await until(lambda: line.writes[-1].startswith(b"event: progress"))


async def test_a_client_that_does_not_read_gets_the_latest_of_each_cell_once_it_does() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        _, line = here.stream(TOPIC)
        await until(lambda: line.events("progress"))
        line.full = True
        for changes in range(1, 6):
            here.tables.apply(SCHOOL)
            await until(lambda: here.counted("scores_sse_cells_total") == changes)  # noqa: B023
        here.tables.apply(SCHOOL, MATH)
        await until(lambda: here.counted("scores_sse_cells_total") == 6)
        assert line.told()[1:] == [("patch", SCHOOL, "ELA-SUM", 2)]  # what filled it
        line.drain()
        assert line.told()[2:] == [("patch", SCHOOL, "ELA-SUM", 6), ("patch", SCHOOL, "MATH-SUM", 1)]
        assert here.counted("scores_sse_merged_total") == 4
        here.tables.apply(SCHOOL)
        await until(lambda: line.told()[-1][3] == 7)


async def test_a_client_that_reads_nothing_for_ten_seconds_is_dropped_and_counted() -> None:
    async with world() as here:
        stream, line = here.stream(TOPIC)
        await until(lambda: line.events("progress"))
        line.full = True
        here.tables.apply(SCHOOL)
        await until(lambda: line.events("patch"))
        await here.turn(9.5)
        assert not line.was_reset
        await here.turn(1)
        assert line.was_reset and not line.events("bye")
        assert stream.reason is sse.CloseReason.SLOW_READER
        assert here.counted("scores_sse_closes_total", reason="slow_reader") == 1
        assert here.counted("scores_sse_connections") == 0
        assert here.left == [stream]


async def test_a_client_that_reads_slowly_but_reads_stays() -> None:
    async with world() as here:
        _, line = here.stream(TOPIC)
        await until(lambda: line.events("progress"))
        for _ in range(5):
            line.full = True
            here.tables.apply(SCHOOL)
            await settled()
            await here.turn(8)
            line.drain()
        assert not line.was_reset


async def test_silence_is_broken_after_fifteen_seconds() -> None:
    async with world() as here:
        _, line = here.stream(TOPIC)
        await until(lambda: line.events("progress"))
        await here.turn(14)
        assert sse.HEARTBEAT not in line.writes
        await here.turn(1.5)
        assert line.writes[-1] == sse.HEARTBEAT
        await here.turn(15.5)
        assert line.writes.count(sse.HEARTBEAT) == 2


async def test_a_stream_ends_at_its_age_and_the_connection_with_it_even_if_nobody_reads_the_end() -> None:
    async with world() as here:
        stream, line = here.stream(TOPIC)
        await until(lambda: line.events("progress"))
        await here.turn(479)
        assert not line.ended
        await here.turn(242)
        [(_, said, _)] = line.events("bye")
        assert (said["reason"], said["reconnect"]) == ("max_age", True)
        assert line.ended and not line.was_reset and not here.left
        await here.turn(10.5)
        assert line.was_reset and here.left == [stream]
        assert here.counted("scores_sse_closes_total", reason="max_age") == 1


async def test_ages_differ_so_that_nobody_comes_back_with_the_herd() -> None:
    async with world() as here:
        lines = [here.stream(TOPIC)[1] for _ in range(50)]
        await here.turn(600)
        assert 5 < sum(line.ended for line in lines) < 45


async def test_a_stream_is_challenged_a_minute_before_its_token_expires_and_then_ends() -> None:
    async with world() as here:
        _, line = here.stream(TOPIC, who=principal(seconds=200))
        await here.turn(138)
        assert not line.events("challenge")
        await here.turn(3)
        [(_, said, event_id)] = line.events("challenge")
        assert said["renew"] == "/v1/streams/node.stream/renew" and event_id is None
        assert said["expires"] == line.events("subscribed")[0][1]["expires"]
        await here.turn(58)
        assert not line.ended
        await here.turn(2)
        [(_, said, _)] = line.events("bye")
        assert (said["reason"], said["reconnect"]) == ("token_expired", False)


async def test_a_renewed_stream_goes_on_and_says_until_when() -> None:
    async with world() as here:
        stream, line = here.stream(TOPIC, who=principal(seconds=100))
        await until(lambda: line.events("progress"))
        await here.turn(45)
        assert len(line.events("challenge")) == 1
        stream.renew(principal(seconds=3_600))
        first, second = line.events("subscribed")
        assert second[1]["expires"] > first[1]["expires"] and "dropped" not in second[1]
        await here.turn(200)
        assert not line.ended
        assert len(line.events("put")) == 1  # nothing is sent again
        assert here.counted("scores_sse_renewals_total") == 1


async def test_a_token_that_lives_shorter_than_the_warning_does_not_make_renewing_a_loop() -> None:
    async with world() as here:
        stream, line = here.stream(TOPIC, who=principal(seconds=30))
        assert len(line.events("challenge")) == 1  # at once
        stream.renew(principal(seconds=30))
        assert len(line.events("challenge")) == 1
        await here.turn(16)
        assert len(line.events("challenge")) == 2


async def test_a_token_that_does_not_open_everything_renews_nothing() -> None:
    async with world() as here:
        stream, line = here.stream(TOPIC, SECOND_TOPIC, who=principal(seconds=100))
        with pytest.raises(Forbidden):
            stream.renew(principal(SCHOOL))
        await here.turn(101)
        assert line.events("bye")[0][1]["reason"] == "token_expired"


async def test_a_changed_subscription_drops_what_is_gone_and_puts_only_what_is_new() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        here.tables.apply(SECOND_SCHOOL)
        here.tables.apply(DISTRICT)
        stream, line = here.stream(TOPIC, SECOND_TOPIC)
        await until(lambda: line.events("progress"))
        sent = len(line.events())
        stream.change(asked(SECOND_TOPIC, f"district/{DISTRICT}"))
        await until(lambda: len(line.events("progress")) == 2)
        (_, said, _), (_, put, event_id), _ = line.events()[sent:]
        assert (said["dropped"], said["organizations"]) == ([SCHOOL], 2)
        assert [one["id"] for one in put["organizations"]] == [DISTRICT]
        assert event_id is not None and len(event_id.split(".")) == 3
        here.tables.apply(SCHOOL)
        here.tables.apply(SECOND_SCHOOL)
        await until(lambda: line.events("patch"))
        await settled()
        assert [told for told in line.told() if told[0] == "patch"] == [
            ("patch", SECOND_SCHOOL, "ELA-SUM", 2)
        ]
        assert here.counted("scores_sse_subscription_changes_total") == 1


async def test_another_filter_brings_everything_anew_and_drops_nothing() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        here.tables.apply(SCHOOL, MATH)
        stream, line = here.stream(TOPIC)
        await until(lambda: line.events("progress"))
        stream.change(asked(TOPIC, tests=("MATH-SUM",)))
        assert "dropped" not in line.events("subscribed")[-1][1]
        assert line.told()[2:] == [("put", SCHOOL, "MATH-SUM", 1)]
        here.tables.apply(SCHOOL)
        here.tables.apply(SCHOOL, MATH)
        await until(lambda: line.events("patch"))
        assert line.told()[3:] == [("patch", SCHOOL, "MATH-SUM", 2)]


async def test_what_may_not_be_watched_changes_nothing() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        stream, line = here.stream(TOPIC, who=principal(SCHOOL))
        await until(lambda: line.events("progress"))
        with pytest.raises(Forbidden):
            stream.change(asked(SECOND_TOPIC))
        here.tables.apply(SCHOOL)
        await until(lambda: line.events("patch"))
        assert len(line.events("subscribed")) == 1


async def test_a_school_that_joins_the_directory_joins_the_streams_of_its_district(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "_WATCH_SECONDS", 0)
    async with world() as here:
        here.tables.apply(NEW_SCHOOL)
        _, line = here.stream(SUBTREE)
        await until(lambda: line.events("progress"))
        here.tables.entries[NEW_SCHOOL] = school(NEW_SCHOOL, "Elder Elementary")
        here.tables.directory_version += 1
        await until(lambda: len(line.events("put")) == 2)
        assert [said["organizations"] for _, said, _ in line.events("subscribed")] == [2, 3]
        assert [one["name"] for one in line.events("put")[-1][1]["organizations"]] == ["Elder Elementary"]
        here.tables.apply(NEW_SCHOOL)
        await until(lambda: line.told()[-1] == ("patch", NEW_SCHOOL, "ELA-SUM", 2))


async def test_a_directory_that_redis_lost_is_remembered_until_it_is_there_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A 403 in between would end a browser's EventSource for good."""
    monkeypatch.setattr(following, "_WATCH_SECONDS", 0)
    async with world() as here:
        here.tables.directory_version = 9
        await until(lambda: (known := here.hub.organizations) and known.version == 9)
        entries, here.tables.entries = here.tables.entries, {}
        here.tables.directory_version = 1
        await settled()
        assert here.hub.organizations is not None and SCHOOL in here.hub.organizations
        here.tables.entries = {**entries, NEW_SCHOOL: school(NEW_SCHOOL, "Elder Elementary")}
        here.tables.directory_version = 2
        await until(lambda: (known := here.hub.organizations) and NEW_SCHOOL in known)


async def test_only_the_renamed_school_is_sent_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_WATCH_SECONDS", 0)
    async with world() as here:
        _, line = here.stream(TOPIC, SECOND_TOPIC)
        await until(lambda: line.events("progress"))
        here.tables.entries[SCHOOL] = school(SCHOOL, "Hawthorn Elementary")
        here.tables.directory_version += 1
        await until(lambda: len(line.events("put")) == 2)
        assert [one["name"] for one in line.events("put")[-1][1]["organizations"]] == ["Hawthorn Elementary"]
        assert len(line.events("subscribed")) == 1


async def test_coming_back_with_an_id_brings_what_changed_since() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        here.tables.now_ms += 60_000
        held = sse.Cursor(Generation("g1"), here.tables.now_ms)
        here.tables.apply(SCHOOL, MATH)
        _, line = here.stream(TOPIC, SECOND_TOPIC, cursor=held)
        await until(lambda: line.events("progress"))
        assert kinds(line) == ["subscribed", "patch", "progress"]
        assert line.told() == [("patch", SCHOOL, "MATH-SUM", 1)]
        _, line = here.stream(SECOND_TOPIC, cursor=held)
        assert kinds(line) == ["subscribed", "progress"]  # nothing changed there


@pytest.mark.parametrize(
    "held", [sse.Cursor(Generation("g2"), 1), sse.Cursor(Generation("g1"), 9_999_999_999_999)]
)
async def test_an_id_of_elsewhere_or_of_the_future_brings_everything(held: sse.Cursor) -> None:
    async with world() as here:
        _, line = here.stream(TOPIC, cursor=held)
        await until(lambda: line.events("put"))


async def test_an_id_of_a_changed_subscription_resumes_only_what_it_was_about() -> None:
    async with world() as here:
        stream, line = here.stream(TOPIC)
        await until(lambda: line.events("progress"))
        stream.change(asked(SECOND_TOPIC))
        await until(lambda: len(line.events("put")) == 2)
        held = sse.parse_cursor(line.events("put")[-1][2])
        assert held is not None and held.mark
        _, same = here.stream(SECOND_TOPIC, cursor=held)
        _, first_address = here.stream(TOPIC, cursor=held)
        assert kinds(same) == ["subscribed", "progress"]
        assert kinds(first_address) == ["subscribed", "put", "progress"]


async def test_a_subtrees_id_does_not_resume_when_a_school_has_joined_meanwhile() -> None:
    async with world() as here:
        _, line = here.stream(SUBTREE)
        await until(lambda: line.events("progress"))
        held = sse.parse_cursor(line.events("put")[-1][2])
        assert held is not None
        _, same = here.stream(SUBTREE, cursor=held)
        assert not same.events("put")
        _, other = here.stream(SUBTREE, cursor=replace(held, mark="0123456789"))
        assert other.events("put")
        _, unmarked = here.stream(SUBTREE, cursor=replace(held, mark=""))
        assert unmarked.events("put")


async def test_since_brings_what_changed_later_than_that_time() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        changed_ms = here.tables.cells[SCHOOL][ELA].changed_ms
        here.tables.apply(SCHOOL, MATH)
        _, line = here.stream(TOPIC, since_ms=changed_ms)
        await until(lambda: line.events("progress"))
        assert kinds(line) == ["subscribed", "patch", "progress"]
        assert line.told() == [("patch", SCHOOL, "MATH-SUM", 1)]


async def test_when_all_was_lost_everybody_gets_what_is_there_now_even_if_it_is_older() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL, version=9)
        _, line = here.stream(TOPIC)
        await until(lambda: line.events("progress"))
        here.tables.ticks_go_on.clear()
        here.tables.apply(SCHOOL, version=10)
        await settled()  # a tick has read version 10, which will never have been
        here.tables.apply(SCHOOL, version=4)
        here.tables.lost = True
        here.tables.wake()
        await until(lambda: len(here.tables.reads) == 2)
        here.tables.ticks_go_on.set()
        await until(lambda: len(line.events("put")) == 2)
        await settled()
        assert line.told()[-1] == ("put", SCHOOL, "ELA-SUM", 4)
        _, newcomer = here.stream(TOPIC)
        assert newcomer.told() == [("put", SCHOOL, "ELA-SUM", 4)]


async def test_a_read_that_began_before_all_was_lost_does_not_count() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL, version=9)
        here.tables.whole_reads_go_on.clear()
        _, line = here.stream(TOPIC)
        await until(lambda: here.tables.reads)
        here.tables.apply(SCHOOL, version=4)
        here.tables.lost = True
        here.tables.wake()
        await settled()
        here.tables.whole_reads_go_on.set()
        await until(lambda: line.events("put"))
        assert line.told() == [("put", SCHOOL, "ELA-SUM", 4)]


async def test_while_redis_does_not_answer_a_newcomer_is_held_and_then_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.loading._RETRY_SECONDS", 0)
    async with world() as here:
        here.tables.fault = OSError("away")
        _, line = here.stream(TOPIC)
        await settled()
        assert not line.events("put")
        here.tables.fault = None
        await until(lambda: line.events("put"))


async def test_a_stream_that_cannot_be_served_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as here:
        broken, line = here.stream(TOPIC)
        _, other = here.stream(TOPIC)
        await until(lambda: line.events("progress") and other.events("progress"))
        line.ended = True  # and so it refuses any write
        here.tables.apply(SCHOOL)
        await until(lambda: other.events("patch"))
        assert line.was_reset and broken.reason is sse.CloseReason.FAULT
        assert "could not be served" in caplog.text


async def test_an_organization_that_nobody_watches_any_more_is_let_go_after_a_while() -> None:
    async with world() as here:
        stream, line = here.stream(TOPIC)
        await until(lambda: line.events("progress"))
        stream.gone()
        for _ in range(2):
            here.hub._feeds.sweep()
        _, again = here.stream(TOPIC)  # in time
        assert again.events("put")
        again_stream = next(iter(here.hub._audience))
        again_stream.close(sse.CloseReason.DRAINING)
        for _ in range(4):
            here.hub._feeds.sweep()
        assert not list(here.hub._feeds)
        assert here.tables.reads == [SCHOOL]


async def test_draining_ends_every_stream_within_the_window() -> None:
    async with world() as here:
        lines = [here.stream(TOPIC)[1] for _ in range(120)]
        here.hub.drain(0.05)
        await here.hub.until_empty()
        assert {line.events("bye")[0][1]["reason"] for line in lines} == {"draining"}


async def test_a_district_without_schools_is_an_empty_subtree_and_no_fault() -> None:
    async with world() as here:
        _, line = here.stream(f"district/{EMPTY_DISTRICT}/schools", who=principal(EMPTY_DISTRICT))
        await until(lambda: line.events("progress"))
        assert line.events("subscribed")[0][1]["organizations"] == 0
        assert not line.events("put")


def test_a_farewell_is_a_whole_stream_that_asks_for_patience() -> None:
    said = farewell(sse.CloseReason.TOO_MANY_STREAMS).decode()
    retry = int(said.splitlines()[1].removeprefix("retry: "))
    assert 15_000 <= retry < 30_000
    assert f'"reason":"too_many_streams","reconnect":true,"retry_ms":{retry}' in said


def test_limits_are_what_the_documentation_says() -> None:
    assert StreamLimits() == StreamLimits(600, 15, 10, 60)


async def test_a_stream_that_is_revoked_before_it_began_shows_nothing() -> None:
    """Between the check of its token and its first byte the audit is written; a revocation may come just then."""
    async with world() as here:
        here.tables.apply(SCHOOL)
        stream = here.new_stream(TOPIC)
        stream.close(sse.CloseReason.REVOKED)
        line = FakeLine(stream)
        stream.start(line)
        assert kinds(line) == ["bye"]
        assert line.events("bye")[0][1]["reason"] == "revoked"
        assert stream.reason is sse.CloseReason.REVOKED and line.ended
        stream.gone()
        assert here.counted("scores_sse_connections") == 0


async def test_a_revoked_reader_is_not_sent_what_it_has_not_read_yet() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        stream, line = here.stream(TOPIC)
        await until(lambda: line.events("progress"))
        line.full = True
        here.tables.apply(SCHOOL)
        await until(lambda: line.events("patch"))
        stream.close(sse.CloseReason.REVOKED)
        assert line.was_reset and not line.events("bye")
        assert stream.reason is sse.CloseReason.REVOKED


async def test_fewer_rights_take_away_at_once_and_more_bring_what_is_new() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        here.tables.apply(SECOND_SCHOOL)
        stream, line = here.stream(TOPIC, SECOND_TOPIC)
        await until(lambda: line.events("progress"))
        stream.reassess(principal(SCHOOL))
        assert line.events("subscribed")[-1][1]["dropped"] == [SECOND_SCHOOL]
        here.tables.apply(SECOND_SCHOOL)
        here.tables.apply(SCHOOL)
        await until(lambda: line.events("patch"))
        assert {organization for kind, organization, _, _ in line.told() if kind == "patch"} == {SCHOOL}
        stream.reassess(principal(DISTRICT))
        await until(lambda: line.told()[-1] == ("put", SECOND_SCHOOL, "ELA-SUM", 2))


async def test_a_stream_whose_rights_open_nothing_of_it_ends_and_its_client_stays_away() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        stream, line = here.stream(TOPIC)
        await until(lambda: line.events("progress"))
        stream.reassess(principal(EMPTY_DISTRICT))
        said = line.events("bye")[0][1]
        assert (said["reason"], said["reconnect"]) == ("forbidden", False)


async def test_rights_that_change_before_a_stream_begins_decide_what_it_begins_with() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        fewer, none = here.new_stream(TOPIC, SECOND_TOPIC), here.new_stream(TOPIC)
        fewer.reassess(principal(SECOND_SCHOOL))
        none.reassess(principal(EMPTY_DISTRICT))
        lines = [FakeLine(stream) for stream in (fewer, none)]
        for stream, line in zip((fewer, none), lines, strict=True):
            stream.start(line)
        await until(lambda: lines[0].events("progress"))
        assert {organization for _, organization, _, _ in lines[0].told()} <= {SECOND_SCHOOL}
        assert kinds(lines[1]) == ["bye"]


async def test_the_same_rights_send_nothing() -> None:
    async with world() as here:
        stream, line = here.stream(TOPIC)
        await until(lambda: line.events("progress"))
        written = len(line.writes)
        stream.reassess(principal())
        assert len(line.writes) == written


async def test_a_slow_reader_that_may_see_less_is_cut_off_from_what_it_has_not_read() -> None:
    async with world() as here:
        here.tables.apply(SCHOOL)
        stream, line = here.stream(TOPIC, SECOND_TOPIC)
        await until(lambda: line.events("progress"))
        line.full = True
        here.tables.apply(SECOND_SCHOOL)
        await until(lambda: line.events("patch"))
        stream.reassess(principal(SCHOOL))
        assert line.was_reset
        assert not any(outlet.streams for feed in here.hub._feeds for outlet in feed.outlets.values())
