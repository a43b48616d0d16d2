"""What an owner asks of the webhook worker, between Redis and a district's system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.webhooks.endpoints import DisabledReason, EventType
from schemas.webhooks.messages import Message, MessageState, Order
from tests.fake_worker import scored
from tests.webhook_stand import SCHOOL, WebhookStand, until, webhook_stand


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[WebhookStand]:
    with webhook_stand(tmp_path) as stand:
        yield stand


def _news(stand: WebhookStand, state: MessageState) -> list[Message]:
    return [one for one in stand.messages("ep_one") if one.organization and one.state is state]


def _change(stand: WebhookStand) -> None:
    stand.tables.apply(SCHOOL, [scored(2450, 3)])
    stand.tell()


def test_a_message_is_sent_once_more_when_its_owner_asks(stand: WebhookStand) -> None:
    stand.endpoint("ep_one")
    with stand.worker():
        stand.until_confirmed("ep_one")
        _change(stand)
        until(lambda: len(_news(stand, MessageState.DELIVERED)) == 1, "the school's cell is told")
        [message] = _news(stand, MessageState.DELIVERED)
        stand.order(Order(kind="replay", endpoint="ep_one", message=message.id))
        until(lambda: len(stand.receiver.told("/ep_one")) == 2, "it is told again")
        first, second = stand.receiver.told("/ep_one")
        until(lambda: _news(stand, MessageState.DELIVERED)[0].attempted == 2, "both attempts are kept")
    assert first == second


def test_dead_messages_are_sent_when_their_owner_asks(stand: WebhookStand) -> None:
    stand.endpoint("ep_one")
    with stand.worker(SCORES_WEBHOOK_SCHEDULE="0,0.1", SCORES_WEBHOOK_BREAKER_FAILURES="50"):
        stand.until_confirmed("ep_one")
        stand.receiver.status = 500
        _change(stand)
        until(lambda: len(_news(stand, MessageState.DEAD)) == 1, "it is given up")
        [dead] = _news(stand, MessageState.DEAD)
        stand.receiver.status = 204
        stand.order(Order(kind="retry_dead", endpoint="ep_one"))
        until(lambda: len(_news(stand, MessageState.DELIVERED)) == 1, "it is delivered")
        assert [one.id for one in stand.receiver.told("/ep_one")] == [dead.id]
        assert _news(stand, MessageState.DEAD) == []
    assert dead.detail == "given up after 2 attempts: answered 500"


def test_an_endpoint_that_said_it_is_gone_gets_what_it_missed_when_it_is_enabled(stand: WebhookStand) -> None:
    stand.endpoint("ep_one")
    with stand.worker():
        stand.until_confirmed("ep_one")
        stand.receiver.status = 410
        _change(stand)
        until(lambda: stand.state("ep_one").disabled is DisabledReason.GONE, "it is disabled")
        _change(stand)
        stand.receiver.status = 204
        assert stand.receiver.told("/ep_one") == []
        stand.order(Order(kind="enable", endpoint="ep_one"))
        until(lambda: stand.receiver.told("/ep_one") != [], "it is told what it missed")
        assert stand.receiver.told("/ep_one")[-1].versions == {(SCHOOL, "03"): 2}
        until(lambda: stand.state("ep_one").disabled is None, "it is enabled")


def test_a_test_message_arrives_and_is_logged(stand: WebhookStand) -> None:
    stand.endpoint("ep_one")
    with stand.worker():
        stand.until_confirmed("ep_one")
        stand.order(Order(kind="ping", endpoint="ep_one"))
        until(lambda: len(stand.receiver.got) == 1, "the test arrives")
        assert stand.receiver.got[0].body["data"] == {"endpoint": "ep_one"}
        until(
            lambda: (
                [one.state for one in stand.messages("ep_one") if one.type is EventType.ENDPOINT_PING]
                == [MessageState.DELIVERED, MessageState.DELIVERED]
            ),
            "question and test are delivered",
        )


def test_everything_is_told_anew_after_a_receiver_lost_its_data(stand: WebhookStand) -> None:
    stand.endpoint("ep_one", SCHOOL)
    with stand.worker():
        stand.until_confirmed("ep_one")
        _change(stand)
        until(lambda: len(_news(stand, MessageState.DELIVERED)) == 1, "the school's cell is told")
        stand.receiver.got.clear()
        stand.order(Order(kind="recover", endpoint="ep_one", since_ms=0))
        until(lambda: stand.receiver.told("/ep_one") != [], "it is told anew")
    assert stand.receiver.told("/ep_one")[0].versions == {(SCHOOL, "03"): 1}
