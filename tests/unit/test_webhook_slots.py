"""Slots, allowances and lanes of deliveries, and signing with the secrets in force."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from webhook_world import SCHOOL

from consumers.webhooks.allowance import Allowance
from consumers.webhooks.attempt_headers import NothingToSignWith, Signer
from consumers.webhooks.lanes import Lanes
from consumers.webhooks.slots import Slots
from schemas.environment import Secret
from schemas.errors import InvalidInput
from schemas.webhooks.endpoints import Endpoint, EventType, Followed, SealedSecret, SecretKind
from schemas.webhooks.messages import Message
from schemas.webhooks.secrets import SecretBox, new_secret
from schemas.webhooks.signing import verify

_SLOW_MS = 2_000


def _quick(slots: Slots, endpoint: str) -> None:
    slots.end(slots.begin(endpoint, 0), 10)


def _slow(slots: Slots, endpoint: str) -> None:
    slots.end(slots.begin(endpoint, 0), _SLOW_MS)


def test_endpoint_of_which_nothing_is_known_has_one_attempt_and_a_quick_one_two() -> None:
    slots = Slots(40, _SLOW_MS)
    assert slots.room("new") == 1
    _quick(slots, "quick")
    assert slots.room("quick") == 2
    slots.begin("quick", 0)
    assert slots.room("quick") == 1
    slots.begin("quick", 0)
    assert slots.room("quick") == 0


def test_slow_endpoints_have_a_quarter_of_the_slots_together() -> None:
    slots = Slots(40, _SLOW_MS)
    for number in range(15):
        _slow(slots, f"slow{number}")
    slots.begin_round()
    granted = [f"slow{number}" for number in range(15) if slots.room(f"slow{number}")]
    assert len(granted) == 10
    flights = [slots.begin(endpoint, 0) for endpoint in granted]
    assert slots.under_way == (0, 10)
    assert slots.free == 30
    assert slots.woken() == []
    slots.end(flights[0], _SLOW_MS)
    assert slots.woken() == ["slow10"]


def test_attempt_that_turns_out_slow_gives_its_slot_back() -> None:
    slots = Slots(4, _SLOW_MS)
    flights = [slots.begin(f"new{number}", 0) for number in range(3)]
    assert slots.free == 0
    slots.sweep(_SLOW_MS - 1)
    assert slots.free == 0
    slots.sweep(_SLOW_MS)
    assert slots.free == 3
    assert slots.room("new0") == 0
    slots.end(flights[0], 15_000)
    assert slots.under_way == (0, 2)


def test_slow_endpoint_is_believed_to_be_quick_after_three_quick_attempts() -> None:
    slots = Slots(40, _SLOW_MS)
    _slow(slots, "district")
    for _ in range(3):
        assert slots.room("district") == 1
        slots.begin_round()
        _quick(slots, "district")
    assert slots.room("district") == 2


def test_turn_in_which_nothing_was_sent_says_nothing_of_the_endpoint() -> None:
    slots = Slots(40, _SLOW_MS)
    slots.end(slots.begin("new", 0), None)
    assert slots.room("new") == 1
    assert slots.under_way == (0, 0)


@given(st.floats(0.1, 50), st.lists(st.integers(0, 3_000), min_size=1, max_size=60))
def test_never_more_than_a_second_and_the_time_passed_allow(rate: float, gaps: list[int]) -> None:
    allowance = Allowance(rate, 0)
    now_ms = taken = 0
    for gap in gaps:
        now_ms += gap
        for _ in range(allowance.available(rate, now_ms)):
            allowance.take()
            taken += 1
    assert taken <= max(1, rate) + rate * now_ms / 1000 + 1e-3


@given(st.floats(0.1, 1_000), st.integers(0, 10))
@example(rate=999.9999999999999, throttles=0)
def test_allowance_has_one_more_when_it_says_so(rate: float, throttles: int) -> None:
    allowance = Allowance(rate, 0)
    for _ in range(throttles):
        allowance.throttled()
    for _ in range(allowance.available(rate, 0)):
        allowance.take()
    next_ms = allowance.next_ms(rate, 0)
    assert next_ms > 0
    # Rounded up to a millisecond, so none at two before it; and by then, at 1,000 a second, the next but one may have come.
    assert allowance.available(rate, max(0, next_ms - 2)) == 0
    assert 1 <= allowance.available(rate, next_ms) <= 2


def test_rate_that_falls_short_of_a_thousand_by_a_rounding_loses_no_millisecond() -> None:
    allowance = Allowance(999.9999999999999, 0)
    for _ in range(allowance.available(999.9999999999999, 0)):
        allowance.take()
    assert allowance.next_ms(999.9999999999999, 0) == 1
    assert allowance.available(999.9999999999999, 1) == 1


def _message(number: int) -> Message:
    return Message(
        id=f"msg_{number}",
        endpoint="warehouse",
        type=EventType.AGGREGATE_UPDATED,
        created_ms=number,
        body=b"{}",
        organization=SCHOOL,
    )


@pytest.mark.anyio
async def test_messages_behind_a_failed_one_keep_their_order() -> None:
    lanes = Lanes()
    first, second, third = (_message(number) for number in range(3))
    lane = await lanes.enter(first)
    lanes.block(lane, first, 5_000)
    lanes.leave(lane)
    assert lanes.blocked_ms(await lanes.enter(second), second, 100) == 5_001
    lanes.leave(lane)
    assert lanes.blocked_ms(await lanes.enter(third), third, 100) == 5_002
    lanes.leave(lane)
    assert lanes.blocked_ms(await lanes.enter(first), first, 100) is None
    lanes.unblock(lane)
    lanes.leave(lane)
    assert len(lanes) == 0


@pytest.mark.anyio
async def test_lane_of_a_message_that_never_came_back_is_forgotten_in_time() -> None:
    lanes = Lanes()
    lane = await lanes.enter(_message(1))
    lanes.block(lane, _message(1), 5_000)
    lanes.leave(lane)
    lanes.prune(5_000)
    assert len(lanes) == 1
    lanes.prune(5_001)
    assert len(lanes) == 0


def _endpoint(*secrets: SealedSecret) -> Endpoint:
    return Endpoint(
        id="ep_1",
        url="https://sis.example",
        subject="",
        grants=(),
        follows=(Followed(SCHOOL),),
        secrets=secrets,
    )


def test_attempt_is_signed_with_every_secret_in_force() -> None:
    box = SecretBox(Secret(b"k" * 32))
    kinds: tuple[SecretKind, ...] = ("v1", "v1", "v1a")
    old, new, edwards = (new_secret(kind, bytes([number]) * 32) for number, kind in enumerate(kinds))
    sealed = [
        box.seal(one, endpoint="ep_1", nonce=bytes([number]) * 12, created_ms=0)
        for number, one in enumerate((old, new, edwards))
    ]
    replaced = SealedSecret(kind="v1", sealed=sealed[0].sealed, created_ms=0, until_ms=60_000)
    endpoint = _endpoint(replaced, *sealed[1:])
    signer = Signer(box, "1.0")
    for now_ms, valid in ((30_000, (old, new, edwards)), (90_000, (new, edwards))):
        headers = signer.headers(endpoint, _message(1), now_ms)
        assert len(headers["webhook-signature"].split(" ")) == len(valid)
        for secret in valid:
            assert verify([secret.verifying], headers, b"{}", now=now_ms / 1000) == "msg_1"


def test_endpoint_without_a_secret_in_force_is_not_sent_unsigned() -> None:
    box = SecretBox(Secret(b"k" * 32))
    with pytest.raises(NothingToSignWith, match="scores webhooks rotate ep_1"):
        Signer(box, "1.0").headers(_endpoint(), _message(1), 0)


def test_secret_of_another_deployment_does_not_sign() -> None:
    secret = new_secret("v1", b"e" * 32)
    sealed = SecretBox(Secret(b"a" * 32)).seal(secret, endpoint="ep_1", nonce=b"n" * 12, created_ms=0)
    with pytest.raises(InvalidInput):
        Signer(SecretBox(Secret(b"b" * 32)), "1.0").headers(_endpoint(sealed), _message(1), 0)
