"""What is pending for an endpoint, and which messages come due."""

from __future__ import annotations

from consumers.webhooks.due import DueBook, Standing
from consumers.webhooks.pending import PendingBook, PendingKey
from consumers.webhooks.pending_names import cells_since, since_of
from schemas.identifiers import OrganizationId
from schemas.webhooks.endpoints import EventType

SCHOOL = OrganizationId("19990010000101")
OTHER = OrganizationId("19990010000102")
KEY = PendingKey(SCHOOL, EventType.AGGREGATE_UPDATED)
OTHER_KEY = PendingKey(OTHER, EventType.AGGREGATE_UPDATED)
THIRD, FOURTH = "2026:ELA-SUM:03", "2026:ELA-SUM:04"


def book(interval_ms: int = 60_000) -> PendingBook:
    return PendingBook(lambda endpoint: interval_ms)


def test_changes_of_a_school_ripen_together_an_interval_after_the_first() -> None:
    pending = book()
    pending.add("ep", KEY, [THIRD], 1_000)
    pending.add("ep", KEY, [FOURTH], 50_000)
    assert pending.ripe(60_999, 10) == []
    assert pending.ripe(61_000, 10) == [("ep", KEY)]
    assert pending.take("ep", KEY) == {THIRD, FOURTH}


def test_a_cell_that_changes_again_is_pending_once() -> None:
    pending = book()
    assert pending.add("ep", KEY, [THIRD], 1_000)
    assert not pending.add("ep", KEY, [THIRD], 2_000)


def test_what_changes_while_a_message_is_made_waits_for_its_own_interval() -> None:
    pending = book()
    pending.add("ep", KEY, [THIRD], 0)
    assert pending.ripe(60_000, 10) == [("ep", KEY)]
    taken = pending.take("ep", KEY)
    pending.add("ep", KEY, [THIRD], 60_001)
    pending.settle("ep", KEY, taken)
    assert pending.ripe(120_000, 10) == []
    assert pending.ripe(120_001, 10) == [("ep", KEY)]


def test_redis_has_what_is_being_told_until_the_message_is_written() -> None:
    pending = book()
    pending.add("ep", KEY, [THIRD], 0)
    taken = pending.take("ep", KEY)
    stored = pending.stored("ep", KEY)
    assert stored is not None
    after_a_crash = book()
    after_a_crash.restore("ep", KEY.field, stored)
    assert after_a_crash.ripe(60_000, 10) == [("ep", KEY)]
    assert after_a_crash.take("ep", KEY) == taken
    pending.settle("ep", KEY, taken)
    assert pending.stored("ep", KEY) is None


def test_what_could_not_be_told_is_pending_as_before() -> None:
    pending = book(0)
    pending.add("ep", KEY, [THIRD], 0)
    [(endpoint, key)] = pending.ripe(0, 10)
    pending.give_back(endpoint, key, pending.take(endpoint, key))
    assert pending.ripe(0, 10) == [("ep", KEY)]


def test_an_entry_that_was_passed_over_ripens_again_when_it_is_woken() -> None:
    pending = book(0)
    pending.add("ep", KEY, [THIRD], 0)
    assert pending.ripe(0, 10) == [("ep", KEY)]
    assert pending.ripe(1, 10) == []
    pending.wake("ep")
    assert pending.ripe(1, 10) == [("ep", KEY)]


def test_a_shorter_interval_counts_from_when_the_endpoint_is_woken() -> None:
    intervals = {"ep": 60_000}
    pending = PendingBook(lambda endpoint: intervals[endpoint])
    pending.add("ep", KEY, [THIRD], 0)
    intervals["ep"] = 10
    pending.wake("ep")
    assert pending.ripe(10, 10) == [("ep", KEY)]


def test_everything_since_a_time_has_a_name_of_its_own() -> None:
    assert since_of(cells_since(1_700)) == 1_700
    assert since_of(THIRD) is None


class _Endpoints:
    def __init__(self) -> None:
        self.standing = Standing(anything=True, pings=True)
        self.asked = 0

    def of(self, endpoint: str) -> Standing:
        self.asked += 1
        return self.standing


def put(
    book: DueBook, message: str, next_ms: int, key: PendingKey | None = KEY, endpoint: str = "ep"
) -> None:
    kind = EventType.ENDPOINT_PING if key is None else key.type
    book.put(message, endpoint, kind, key, next_ms)


def test_messages_come_due_in_the_order_of_their_times() -> None:
    due = DueBook(_Endpoints().of)
    put(due, "later", 20)
    put(due, "sooner", 10, OTHER_KEY)
    assert due.take(9, 10, lambda _: 10) == []
    assert due.take(20, 10, lambda _: 10) == ["sooner", "later"]
    assert due.take(20, 10, lambda _: 10) == []


def test_an_endpoint_without_room_waits_until_it_is_ready() -> None:
    due = DueBook(_Endpoints().of)
    put(due, "first", 0)
    assert due.take(5, 10, lambda _: 0) == []
    assert due.take(6, 10, lambda _: 1) == []
    due.look("ep")
    assert due.take(6, 10, lambda _: 1) == ["first"]


def test_a_thousand_messages_of_a_dead_endpoint_cost_nothing() -> None:
    endpoints = _Endpoints()
    due = DueBook(endpoints.of)
    for number in range(1_000):
        put(due, f"m{number}", 0, PendingKey(OrganizationId(f"1999001{number:07}"), KEY.type))
    endpoints.standing = Standing(anything=True, pings=True, not_before_ms=1_000_000)
    due.look("ep")
    endpoints.asked = 0
    for moment in range(100):
        assert due.take(moment, 10, lambda _: 10) == []
    assert endpoints.asked < 5
    assert due.next_due_ms() == 1_000_000


def test_pings_pass_where_nothing_else_may() -> None:
    endpoints = _Endpoints()
    endpoints.standing = Standing(anything=False, pings=True)
    due = DueBook(endpoints.of)
    put(due, "news", 0)
    put(due, "ping", 5, None)
    assert due.take(5, 10, lambda _: 10) == ["ping"]
    assert due.remove("ping") is None
    endpoints.standing = Standing(anything=True, pings=True)
    due.look("ep")
    assert due.take(5, 10, lambda _: 10) == ["news"]


def test_a_school_is_free_to_be_told_of_when_its_last_message_has_ended() -> None:
    due = DueBook(_Endpoints().of)
    put(due, "one", 0)
    put(due, "other half", 0)
    assert due.undelivered("ep", KEY)
    assert due.remove("one") is None
    assert due.remove("other half") == KEY
    assert not due.undelivered("ep", KEY)


def test_a_message_that_waits_again_comes_due_at_its_new_time_only() -> None:
    due = DueBook(_Endpoints().of)
    put(due, "one", 0)
    assert due.take(0, 10, lambda _: 10) == ["one"]
    put(due, "one", 50)
    assert due.take(49, 10, lambda _: 10) == []
    assert due.take(50, 10, lambda _: 10) == ["one"]
