"""When a webhook is tried again, what an answer means, and how an address says that it wants webhooks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.environment import Secret
from schemas.webhooks.ids import confirmation_token, confirms, endpoint_id, message_id
from schemas.webhooks.retrying import (
    ATTEMPTS,
    DISABLE_AFTER_SECONDS,
    SCHEDULE_SECONDS,
    Verdict,
    delay_after,
    next_attempt_ms,
    retry_after_seconds,
    verdict,
)

KEY = Secret(b"0123456789abcdef0123456789abcdef")
NOW = 1_777_896_000.0  # Mon, 04 May 2026 12:00:00 GMT
DAY = 86_400.0


def test_the_schedule_is_the_specifications() -> None:
    seconds = [0, 5, 5 * 60, 30 * 60, *(hours * 3_600 for hours in (2, 5, 10, 14, 20, 24))]
    assert list(SCHEDULE_SECONDS) == seconds
    assert (
        sum(SCHEDULE_SECONDS) == (75 * 60 + 35) * 60 + 5
    )  # the five seconds are left out of the rounded total


def test_there_are_ten_attempts_and_no_eleventh() -> None:
    assert [delay_after(attempted, 0.0) is not None for attempted in range(12)] == [True] * 10 + [False] * 2
    assert ATTEMPTS == 10


@given(attempted=st.integers(0, 9), jitter=st.floats(0, 1, exclude_max=True))
def test_jitter_puts_off_and_never_brings_forward(attempted: int, jitter: float) -> None:
    delay = delay_after(attempted, jitter)
    assert delay is not None
    assert SCHEDULE_SECONDS[attempted] <= delay <= 1.2 * SCHEDULE_SECONDS[attempted]


def test_receivers_that_failed_together_do_not_come_back_together() -> None:
    assert len({delay_after(1, tenth / 10) for tenth in range(10)}) == 10


def test_a_message_is_given_up_before_its_endpoint_is_disabled_for_it() -> None:
    assert sum(1.2 * seconds for seconds in SCHEDULE_SECONDS) < DISABLE_AFTER_SECONDS


def test_what_the_receiver_asks_for_counts_when_it_is_later() -> None:
    assert next_attempt_ms(1, 1_000, 0.0) == 6_000
    assert next_attempt_ms(1, 1_000, 0.0, 3.0) == 6_000
    assert next_attempt_ms(1, 1_000, 0.0, 60.0) == 61_000
    assert next_attempt_ms(10, 1_000, 0.0, 60.0) is None
    assert next_attempt_ms(1, 0, 0.5, None, (0.0, 0.2)) == 220


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("999999999", DAY),
        ("Mon, 04 May 2026 12:02:00 GMT", 120.0),
        ("Monday, 04-May-26 12:02:00 GMT", 120.0),
        ("Mon May  4 12:02:00 2026", 120.0),
        ("Mon, 04 May 2026 11:00:00 GMT", 0.0),
        ("Wed, 04 May 2033 12:00:00 GMT", DAY),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_a_day(header: str, seconds: float) -> None:
    assert retry_after_seconds(header, now=NOW) == seconds


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "soon",
        "-5",
        "1.5",
        "１２",
        "9" * 5_000,
        "Mon, 99 May 2026 12:00:00 GMT",
        "Mon, 04 May 99999 12:00:00 GMT",
        "Mon, 04 May 2026 12:00:00 +9999999999",
        "\x00",
    ],
    ids=lambda header: repr(header)[:24],
)
def test_retry_after_that_is_neither_is_not_there(header: str | None) -> None:
    assert retry_after_seconds(header, now=NOW) is None


@given(st.text(max_size=120))
def test_no_retry_after_is_a_fault_of_ours(header: str) -> None:
    seconds = retry_after_seconds(header, now=NOW)
    assert seconds is None or 0 <= seconds <= DAY


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((200, 201, 202, 204, 299), Verdict.DELIVERED),
        ((429, 502, 504), Verdict.THROTTLED),
        ((410,), Verdict.GONE),
        ((None, 100, 199, 301, 302, 307, 308, 400, 401, 404, 409, 500, 503, 599, 999), Verdict.FAILED),
    ],
    ids=["delivered", "throttled", "gone", "failed"],
)
def test_only_2xx_is_success_and_a_redirect_is_none(
    statuses: tuple[int | None, ...], expected: Verdict
) -> None:
    assert {verdict(status) for status in statuses} == {expected}


def test_the_same_content_has_the_same_id_and_other_content_another() -> None:
    first = message_id("ep_1", b"body")
    assert first == message_id("ep_1", b"body")
    assert (
        len({first, message_id("ep_2", b"body"), message_id("ep_1", b"other"), message_id("ep_1b", b"ody")})
        == 4
    )


@given(st.text(max_size=10), st.binary(max_size=50))
def test_an_id_has_no_full_stop_and_no_blank(endpoint: str, body: bytes) -> None:
    assert re.fullmatch(r"msg_[a-z2-7]{27}", message_id(endpoint, body))


def test_an_endpoints_id_holds_all_of_its_randomness() -> None:
    assert re.fullmatch(r"ep_[a-z2-7]{26}", endpoint_id(bytes(16)))
    assert endpoint_id(bytes(15) + b"\x01") != endpoint_id(bytes(16))


def test_an_address_confirms_by_header_or_by_body() -> None:
    token = confirmation_token(KEY, "ep_1", "https://sis.district.test/hooks")
    assert confirms(token, token, "")
    assert confirms(token, None, f"{token}\n")


@pytest.mark.parametrize("answer", ["", "ok", "cfm_", "confirmed: {token}", "{token}{token}", "\udcff"])
def test_whatever_else_an_address_answers_confirms_nothing(answer: str) -> None:
    token = confirmation_token(KEY, "ep_1", "https://sis.district.test/hooks")
    told = answer.format(token=token)
    assert not confirms(token, told, told)
    assert not confirms(token, None, told)


def test_a_confirmation_is_for_one_endpoint_and_one_address() -> None:
    asked = [("ep_1", "https://a.test/"), ("ep_2", "https://a.test/"), ("ep_1", "https://b.test/")]
    tokens = {confirmation_token(KEY, endpoint, url) for endpoint, url in asked}
    tokens.add(confirmation_token(Secret(b"another key of the deployment"), *asked[0]))
    assert len(tokens) == 4
