"""When the Python client comes back: never at once, never later than half a minute unless it is asked to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from consumers.live.retrying import (
    LONGEST_ASKED_SECONDS,
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    Backoff,
    retry_after_seconds,
)

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize("jitter", [0.0, 0.999])
def test_without_figures_the_pause_doubles_up_to_half_a_minute(jitter: float) -> None:
    backoff = Backoff()
    pauses = [backoff.pause(jitter) for _ in range(2_000)]
    assert pauses[0] >= SHORTEST_SECONDS
    assert pauses == sorted(pauses)
    assert LONGEST_SECONDS / 2 <= pauses[-1] <= LONGEST_SECONDS


def test_two_readers_do_not_come_back_together() -> None:
    first, second = Backoff(), Backoff()
    assert first.pause(0.1) != second.pause(0.9)


def test_figures_make_the_pause_short_again() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.pause(0.5)
    backoff.succeeded()
    assert backoff.pause(0.5) < 1


def test_the_retry_of_a_stream_is_kept() -> None:
    backoff = Backoff()
    backoff.asked(4187)
    assert backoff.pause(0.5) == 4.187


def test_a_bye_goes_before_the_retry_of_the_stream() -> None:
    backoff = Backoff()
    backoff.asked(4187)
    assert backoff.pause(0.5, 21.0) == 21.0
    backoff.succeeded()
    assert backoff.pause(0.5, 2.0) == 2.0


@pytest.mark.parametrize("asked", [0.0, 0.001, -5.0])
def test_no_answer_makes_it_come_back_at_once(asked: float) -> None:
    backoff = Backoff()
    backoff.asked(int(asked))
    assert backoff.pause(0.0, asked) >= SHORTEST_SECONDS


def test_nothing_silences_a_reader_for_a_day() -> None:
    assert Backoff().pause(0.0, 86_400.0) == LONGEST_ASKED_SECONDS


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Mon, 04 May 2026 12:00:20 GMT", 20.0),
        ("Mon, 04 May 2026 11:59:00 -0000", 0.0),
        ("9" * 400, LONGEST_ASKED_SECONDS),
        ("soon", None),
        ("-3", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_forms(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOON) == seconds
