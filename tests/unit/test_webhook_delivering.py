"""Deliveries on simulated time: a receiver's hours of trouble pass in milliseconds."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from fake_receivers import Receiver
from webhook_world import OTHER_SCHOOL, SCHOOL, World

from consumers.webhooks.delivery_settings import DeliverySettings
from consumers.webhooks.endpoint_messages import token_of
from consumers.webhooks.outcomes import Rules
from consumers.webhooks.slots import Slots
from schemas.identifiers import OrganizationId
from schemas.webhooks.endpoints import DisabledReason, EventType
from schemas.webhooks.messages import Message, MessageState
from schemas.webhooks.retrying import SCHEDULE_SECONDS

_HOUR = 3_600.0
_DAY = 24 * _HOUR


def _gaps(receiver: Receiver) -> list[float]:
    times = [one.at_ms for one in receiver.news()]
    return [(later - earlier) / 1000 for earlier, later in itertools.pairwise(times)]


def _school(number: int) -> OrganizationId:
    return OrganizationId(f"1999001{number:07d}")


def test_changed_school_arrives_within_a_moment() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        world.change("warehouse")
        world.pass_seconds(0.1)
        assert receiver.accepted() == [(SCHOOL, 1)]
        assert world.state("warehouse").delivered == 1
        assert world.count("scores_webhook_attempts_total", result="delivered") == 1


def test_failed_message_is_tried_again_on_the_schedule_with_the_same_id_and_bytes() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        receiver.status = 500
        world.change("warehouse")
        world.pass_seconds(100 * _HOUR)
        assert len(receiver.news()) == len(SCHEDULE_SECONDS)
        assert len({(one.message, one.body) for one in receiver.news()}) == 1
        for gap, wanted in zip(_gaps(receiver), SCHEDULE_SECONDS[1:], strict=True):
            assert wanted <= gap <= 1.2 * wanted + 1
        (dead,) = world.outbox.of("warehouse", MessageState.DEAD)
        assert dead.detail == "given up after 10 attempts: answered 500"
        assert [one.status for one in dead.attempts] == [500] * 10


def test_school_that_changes_while_a_message_waits_is_told_by_its_latest_version_only() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        receiver.status = 503
        world.change("warehouse")
        world.pass_seconds(1)
        world.change("warehouse")
        world.change("warehouse")
        receiver.status = 200
        world.pass_seconds(60)
        assert receiver.accepted() == [(SCHOOL, 3)]
        assert [one.state for one in world.outbox.of("warehouse")] == [
            MessageState.SUPERSEDED,
            MessageState.DELIVERED,
        ]


def test_successor_goes_on_in_the_schedule_of_what_it_supersedes() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        receiver.status = 500
        for _ in range(200):
            world.change("warehouse")
            world.pass_seconds(300)
        assert len(receiver.news()) <= len(SCHEDULE_SECONDS)


def test_message_is_withheld_once_its_owner_may_not_see_the_school_any_more() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        receiver.status = 503
        world.change("warehouse")
        world.pass_seconds(1)
        world.stored.hidden.add("warehouse")
        world.pass_seconds(_DAY)
        assert len(receiver.news()) == 1
        (message,) = world.outbox.of("warehouse")
        assert message.state is MessageState.WITHHELD


def test_receiver_that_asks_for_time_gets_it_for_all_its_schools() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        receiver.status, receiver.retry_after_s = 429, 600.0
        world.change("warehouse")
        world.pass_seconds(1)
        receiver.status, receiver.retry_after_s = 200, None
        world.change("warehouse", OTHER_SCHOOL)
        world.pass_seconds(590)
        assert len(receiver.news()) == 1
        world.pass_seconds(20)
        assert sorted(receiver.accepted()) == [(SCHOOL, 1), (OTHER_SCHOOL, 1)]


def test_receiver_that_is_gone_is_disabled_and_its_owner_hears_of_it_elsewhere() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        other = world.endpoint("mail")
        strangers = world.endpoint("elsewhere", subject="somebody else")
        receiver.status = 410
        world.change("warehouse")
        world.pass_seconds(1)
        assert world.state("warehouse").disabled is DisabledReason.GONE
        world.change("warehouse", OTHER_SCHOOL)
        world.pass_seconds(_DAY)
        assert len(receiver.news()) == 1
        assert [b'"endpoint.disabled"' in one.body for one in other.arrivals] == [True]
        assert strangers.arrivals == []
        assert world.count("scores_webhook_disabled_total", reason="gone") == 1


def test_endpoint_that_fails_for_five_days_is_disabled_with_a_notice() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        other = world.endpoint("mail")
        receiver.status = None
        for number in range(24):
            world.change("warehouse", _school(number))
            world.pass_seconds(5 * _HOUR)
        assert world.state("warehouse").disabled is None
        world.change("warehouse", _school(24))
        world.pass_seconds(_HOUR)
        assert world.state("warehouse").disabled is DisabledReason.FAILING
        assert len(other.arrivals) == 1


def test_enabled_endpoint_gets_the_latest_of_everything_it_missed() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        receiver.status = 410
        world.change("warehouse")
        world.change("warehouse", OTHER_SCHOOL)
        world.pass_seconds(1)
        world.change("warehouse")
        receiver.status = 200
        world.order("enable", "warehouse")
        world.pass_seconds(2)
        assert dict(receiver.accepted()) == {SCHOOL: 2, OTHER_SCHOOL: 1}


def test_dead_endpoint_costs_one_attempt_in_a_quarter_of_an_hour() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        receiver.status = None
        for number in range(200):
            world.change("warehouse", _school(number))
        world.pass_seconds(10 * _HOUR)
        late = [one for one in receiver.news() if one.at_ms >= world.loop.now_ms() - 5 * _HOUR * 1000]
        assert 15 <= len(late) <= 21


def test_endpoint_that_lives_again_gets_everything_at_once_even_what_was_given_up() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        receiver.status = None
        world.change("warehouse")
        world.pass_seconds(100 * _HOUR)
        assert len(world.outbox.of("warehouse", MessageState.DEAD)) == 1
        receiver.status = 200
        world.change("warehouse", OTHER_SCHOOL)
        world.pass_seconds(10)
        assert dict(receiver.accepted()) == {SCHOOL: 1, OTHER_SCHOOL: 1}
        assert world.state("warehouse").failures == 0


def test_rate_of_an_endpoint_is_kept() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse", rate=10.0)
        for number in range(100):
            world.change("warehouse", _school(number))
        world.pass_seconds(8.9)
        assert 90 <= len(receiver.news()) <= 100
        times = [one.at_ms for one in receiver.news()]
        # The bucket's ten, and ten a second.
        assert all(later - earlier >= 900 for earlier, later in zip(times, times[20:], strict=False))


def test_endpoint_has_two_attempts_under_way_and_a_slow_one_has_one() -> None:
    with World() as world:
        quick, slow = world.endpoint("quick"), world.endpoint("slow")
        slow.seconds = 5.0
        for number in range(50):
            world.change("quick", _school(number))
            world.change("slow", _school(number))
        world.pass_seconds(6)
        slow.most_under_way = 0
        world.pass_seconds(60)
        assert (quick.most_under_way, slow.most_under_way) == (2, 1)


def _healthy_milliseconds(bad: int, status: int | None, seconds: float) -> list[int]:
    """How long messages of healthy endpoints waited, the slowest last, beside so many that take that long."""
    with World(DeliverySettings(slots=20)) as world:
        healthy = [f"healthy{number}" for number in range(20)]
        for endpoint in healthy:
            world.endpoint(endpoint)
        for number in range(bad):
            receiver = world.endpoint(f"bad{number}")
            receiver.status, receiver.seconds = status, seconds
        for number in range(60):
            for endpoint in world.stored.endpoints:
                world.change(endpoint, _school(number))
            world.pass_seconds(1)
        took = [
            (message.attempts[-1].at_ms if message.attempts else world.loop.now_ms()) - message.created_ms
            for endpoint in healthy
            for message in world.outbox.of(endpoint)
        ]
        assert len(took) == 60 * len(healthy)
    return sorted(took)


_HANGING = (30, None, 15.0)
_SLOW = (30, 200, 8.0)


@pytest.mark.parametrize("bad", [_HANGING, _SLOW], ids=["hanging", "slow"])
def test_endpoints_that_take_long_delay_no_healthy_one(bad: tuple[int, int | None, float]) -> None:
    alone, beside = _healthy_milliseconds(0, 200, 0), _healthy_milliseconds(*bad)
    assert alone[-1] <= 50
    # While nobody knows yet that they are slow, they hold the slots for two seconds, twice at most.
    assert beside[int(0.9 * len(beside))] <= 50
    assert beside[-1] <= 4_500


@pytest.mark.parametrize(("guard", "bad"), [("sweep", _HANGING), ("_is_slow", _SLOW)])
def test_endpoints_that_take_long_would_delay_healthy_ones_without_the_slots(
    monkeypatch: pytest.MonkeyPatch, guard: str, bad: tuple[int, int | None, float]
) -> None:
    monkeypatch.setattr(Slots, guard, lambda *_: None)
    beside = _healthy_milliseconds(*bad)
    assert beside[-1] > 4_500 or beside[int(0.9 * len(beside))] > 50


@pytest.mark.parametrize(
    "change", [{"paused": True}, {"url": "https://moved.example"}, {"revoked_ms": 1}], ids=repr
)
def test_message_that_was_handed_out_is_not_sent_when_its_endpoint_has_just_changed(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")

        async def slowly(message: Message, now_ms: int) -> Message:
            await asyncio.sleep(1)
            return message

        monkeypatch.setattr(world.outbox, "rendered_again", slowly)
        world.change("warehouse")
        world.pass_seconds(0.5)
        world.change_endpoint("warehouse", **change)
        world.pass_seconds(1)
        assert receiver.arrivals == []


def test_order_of_one_school_is_kept_even_when_old_messages_are_asked_for_again() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        for _ in range(5):
            world.change("warehouse")
            world.pass_seconds(1)
        told = world.outbox.of("warehouse")
        receiver.arrivals.clear()
        receiver.status = 500
        for message in told:
            world.order("replay", "warehouse", message=message.id)
            world.pass_seconds(0.002)
        world.pass_seconds(2)
        receiver.status = 200
        world.pass_seconds(_HOUR)
        assert [one.message for one in receiver.news() if one.accepted] == [one.id for one in told]


def test_nothing_real_is_sent_before_the_address_has_confirmed() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse", confirmed=False)
        receiver.confirms = False
        world.change("warehouse")
        world.pass_seconds(10)
        assert receiver.news() == []
        assert len(receiver.arrivals) == 2
        receiver.confirms = True
        world.pass_seconds(400)
        assert receiver.accepted() == [(SCHOOL, 1)]
        assert world.state("warehouse").confirmed_url == "https://warehouse.example"


def test_address_that_never_confirms_is_disabled() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse", confirmed=False)
        receiver.confirms = False
        world.pass_seconds(100 * _HOUR)
        assert len(receiver.arrivals) == len(SCHEDULE_SECONDS)
        assert world.state("warehouse").disabled is DisabledReason.REFUSED


def test_address_is_asked_once_and_another_address_anew() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse", confirmed=False)
        world.pass_seconds(1)
        world.change_endpoint("warehouse", description="the new one")
        world.order("confirm", "warehouse")
        world.crash()
        world.pass_seconds(_DAY)
        assert len(receiver.arrivals) == 1
        world.change_endpoint("warehouse", url="https://moved.example")
        world.pass_seconds(1)
        assert len(world.receivers.of["https://moved.example"].arrivals) == 1


def test_question_for_an_address_is_not_put_to_the_next_one() -> None:
    with World() as world:
        world.endpoint("warehouse", confirmed=False).confirms = False
        world.pass_seconds(1)
        world.change_endpoint("warehouse", url="https://moved.example")
        world.pass_seconds(_DAY)
        (asked,) = world.receivers.of["https://moved.example"].arrivals
        assert b"moved.example" in asked.body


def test_test_message_is_sent_once_even_while_the_circuit_is_open() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        receiver.status = 500
        for number in range(10):
            world.change("warehouse", _school(number))
        world.pass_seconds(60 * 20)
        assert world.state("warehouse").not_before_ms > world.loop.now_ms()
        receiver.arrivals.clear()
        world.order("ping", "warehouse")
        world.pass_seconds(1)
        (arrival,) = receiver.arrivals
        assert b'"endpoint.ping"' in arrival.body
        (test,) = (one for one in world.outbox.of("warehouse") if one.type is EventType.ENDPOINT_PING)
        assert (test.state, test.detail) == (
            MessageState.DEAD,
            "answered 500; a test message is sent once",
        )
        assert token_of(test) is None


def test_test_message_of_a_disabled_endpoint_does_not_wait_for_its_enabling() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        receiver.status = 410
        world.change("warehouse")
        world.pass_seconds(1)
        world.order("ping", "warehouse")
        world.pass_seconds(1)
        receiver.status = 200
        world.order("enable", "warehouse")
        world.pass_seconds(1)
        assert [one.body.startswith(b"{") for one in receiver.arrivals] == [False, False]


def test_dead_messages_are_tried_again_when_their_owner_asks() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        receiver.status = 500
        world.change("warehouse")
        world.pass_seconds(100 * _HOUR)
        receiver.status = 200
        world.pass_seconds(10 * _DAY)
        assert receiver.accepted() == []
        world.order("retry_dead", "warehouse")
        world.pass_seconds(1)
        assert receiver.accepted() == [(SCHOOL, 1)]


def test_recovered_endpoint_is_told_every_school_anew() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        world.change("warehouse")
        world.change("warehouse", OTHER_SCHOOL)
        world.pass_seconds(1)
        receiver.arrivals.clear()
        world.order("recover", "warehouse", since_ms=0)
        world.pass_seconds(1)
        assert sorted(receiver.accepted()) == [(SCHOOL, 1), (OTHER_SCHOOL, 1)]


def test_paused_endpoint_gets_the_latest_when_it_is_resumed() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse", paused=True)
        for _ in range(3):
            world.change("warehouse")
            world.pass_seconds(1)
        assert receiver.arrivals == []
        world.change_endpoint("warehouse", paused=False)
        world.pass_seconds(1)
        assert receiver.accepted() == [(SCHOOL, 3)]


def test_revoked_owner_is_sent_nothing_any_more() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        world.change_endpoint("warehouse", revoked_ms=world.loop.now_ms())
        world.change("warehouse")
        world.pass_seconds(1)
        assert receiver.arrivals == []
        assert world.state("warehouse").disabled is DisabledReason.REVOKED


def test_address_that_may_not_be_reached_is_disabled_after_five_refusals() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        receiver.status, receiver.refused_address = None, True
        for number in range(5):
            assert world.state("warehouse").disabled is None
            world.change("warehouse", _school(number))
            world.pass_seconds(1)
        assert world.state("warehouse").disabled is DisabledReason.ADDRESS


def test_attempt_that_a_crash_interrupted_is_made_again_with_the_same_id() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        receiver.seconds = 1.0
        world.change("warehouse")
        world.pass_seconds(0.5)
        world.crash()
        world.pass_seconds(2)
        first, second = receiver.news()
        assert (first.message, first.body) == (second.message, second.body)
        assert len(world.outbox.of("warehouse", MessageState.DELIVERED)) == 1


def test_fault_of_ours_with_one_message_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        world.endpoint("broken")
        del world.receivers.of["https://broken.example"]
        world.change("broken")
        world.pass_seconds(1)
        world.change("warehouse")
        world.pass_seconds(1)
        assert receiver.accepted() == [(SCHOOL, 1)]
        assert world.state("broken").failures == 0
        assert world.count("scores_webhook_attempts_total", result="unsent") == 1
        repaired = world.receivers.of["https://broken.example"] = Receiver()
        world.pass_seconds(60)
        assert repaired.accepted() == [(SCHOOL, 1)]
    assert "webhook not attempted" in caplog.text


def test_message_that_is_kept_no_longer_holds_up_no_other() -> None:
    with World() as world:
        receiver = world.endpoint("warehouse")
        for number in range(3):
            world.change("warehouse", _school(number))
        del world.stored.messages[min(world.outbox.of("warehouse"), key=lambda one: one.id).id]
        world.pass_seconds(1)
        assert len(receiver.accepted()) == 2


def test_throttled_receiver_is_sent_less_often_and_more_again() -> None:
    settings = DeliverySettings(rules=Rules(breaker_failures=100))
    with World(settings) as world:
        receiver = world.endpoint("warehouse", rate=32.0)
        receiver.status, receiver.retry_after_s = 429, 0.0
        for number in range(10):
            world.change("warehouse", _school(number))
        world.pass_seconds(4)
        receiver.arrivals.clear()
        receiver.status, receiver.retry_after_s = 200, None
        for number in range(100, 500):
            world.change("warehouse", _school(number))
        world.pass_seconds(4)
        slowly = len(receiver.news())
        world.pass_seconds(120)
        assert slowly <= 8
        assert len(receiver.news()) == 410
