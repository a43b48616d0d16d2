"""Verdicts on readers: a table of what their samples are, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import pytest

from consumers.lag.samples import PartitionSample
from consumers.lag.verdicts import Reading, Rules, judge
from schemas.operations import Verdict

RULES: Final = Rules()
EVERY_MS: Final = 5_000
BEGUN_MS: Final = 1_700_000_000_000


def window(samples: int, **figures: Any) -> list[Reading]:
    """Samples five seconds apart; a figure may be a function of the number of its sample."""
    found = []
    for number in range(samples):
        at_ms = BEGUN_MS + number * EVERY_MS
        values = {"owner": "worker-1", "heard_ms": at_ms, **figures}
        values = {name: value(number) if callable(value) else value for name, value in values.items()}
        found.append((at_ms, PartitionSample(partition=3, **values)))
    return found


def falling(first: int, step: int) -> Callable[[int], int]:
    return lambda number: first - number * step


def rising(first: int, step: int) -> Callable[[int], int]:
    return lambda number: first + number * step


def heard_before(seconds: float, samples: int) -> int:
    """A sign of life so long before the last of some samples."""
    return BEGUN_MS + (samples - 1) * EVERY_MS - int(seconds * 1000)


# What a reader far behind looks like while it works: it reads 100 in five seconds, and 100 come in.
BEHIND: Final[dict[str, Any]] = {
    "position": rising(1_000, 100),
    "start": 0,
    "end": rising(9_000, 100),
    "lag_records": 8_000,
    "lag_seconds": 90.0,
}
STANDING: Final[dict[str, Any]] = {**BEHIND, "position": 1_000, "lag_records": rising(8_000, 100)}

TABLE: Final[dict[str, tuple[list[Reading], Verdict]]] = {
    "nothing_is_known_yet": ([], Verdict.INCOMPLETE),
    "a_source_does_not_answer": (window(12), Verdict.INCOMPLETE),
    "all_is_read": (
        window(12, position=5, end=5, lag_records=0, lag_seconds=0.0),
        Verdict.OK,
    ),
    "all_is_read_in_the_only_sample": (
        window(1, position=5, end=5, lag_records=0, lag_seconds=0.0),
        Verdict.OK,
    ),
    "the_topic_is_idle_and_its_reader_has_gone": (
        window(12, position=5, end=5, lag_records=0, lag_seconds=0.0, owner="", heard_ms=BEGUN_MS - 10**7),
        Verdict.OK,
    ),
    "records_wait_no_longer_than_allowed": (
        window(12, position=5, end=900, lag_records=895, lag_seconds=5.0),
        Verdict.OK,
    ),
    "a_burst_came_just_now": (
        window(12, position=5, end=900, lag_records=895, lag_seconds=5.1)[-2:],
        Verdict.INCOMPLETE,
    ),
    "a_record_waits_after_a_long_pause": (
        # Six seconds ago the first record came after a minute in which the position had no reason to move.
        window(
            12,
            position=5,
            end=lambda number: 6 if number == 11 else 5,
            lag_records=lambda number: int(number == 11),
            lag_seconds=lambda number: 6.0 if number == 11 else 0.0,
        ),
        Verdict.OK,
    ),
    "it_caught_up_within_half_a_window": (
        window(12, **{**BEHIND, "lag_seconds": lambda number: 0.0 if number == 6 else 90.0}),
        Verdict.OK,
    ),
    "it_caught_up_longer_ago_than_that": (
        window(12, **{**BEHIND, "lag_seconds": lambda number: 0.0 if number == 5 else 90.0}),
        Verdict.WARN,
    ),
    "it_has_been_behind_for_less_than_half_a_window_that_we_know_of": (
        window(5, **BEHIND),
        Verdict.INCOMPLETE,
    ),
    "the_backlog_shrinks_in_records": (
        window(12, **{**BEHIND, "lag_records": falling(8_000, 1), "lag_seconds": rising(90, 5)}),
        Verdict.OK,
    ),
    "the_backlog_shrinks_in_seconds": (
        window(12, **{**BEHIND, "lag_records": rising(8_000, 1), "lag_seconds": falling(90, 1)}),
        Verdict.OK,
    ),
    "a_burst_after_a_pause_is_being_read": (
        # Nothing waited in the first five samples, so the later half of the window is worse than the earlier one.
        window(
            12,
            position=lambda number: 1_000 if number < 5 else 1_000 + (number - 5) * 100,
            end=lambda number: 1_000 if number < 5 else 9_000,
            lag_records=lambda number: 0 if number < 5 else 8_000 - (number - 5) * 100,
            lag_seconds=lambda number: 0.0 if number < 5 else 6.0 + (number - 5) * 5,
        ),
        Verdict.OK,
    ),
    "the_backlog_stays": (window(12, **BEHIND), Verdict.WARN),
    "the_backlog_grows": (
        window(12, **{**BEHIND, "lag_records": rising(8_000, 50), "lag_seconds": rising(90, 1)}),
        Verdict.WARN,
    ),
    "the_age_is_not_known_and_records_wait": (
        window(12, **{**BEHIND, "lag_seconds": None}),
        Verdict.WARN,
    ),
    "the_position_does_not_move": (window(12, **STANDING), Verdict.STALL),
    "the_position_does_not_move_in_half_a_window": (window(6, **STANDING), Verdict.STALL),
    "the_position_did_not_move_for_less_than_half_a_window": (
        window(5, **STANDING),
        Verdict.INCOMPLETE,
    ),
    "nothing_was_ever_read": (
        window(12, **{**STANDING, "position": None}),
        Verdict.STALL,
    ),
    "nothing_was_heard_for_twenty_seconds": (
        window(12, **{**STANDING, "heard_ms": heard_before(20, 12)}),
        Verdict.STOP,
    ),
    "nothing_was_heard_for_a_little_less": (
        window(5, **{**STANDING, "heard_ms": heard_before(19.9, 5)}),
        Verdict.INCOMPLETE,
    ),
    "nothing_was_ever_heard": (window(5, **{**STANDING, "heard_ms": None}), Verdict.STOP),
    "nothing_was_ever_heard_and_we_have_just_begun": (
        window(4, **{**STANDING, "heard_ms": None}),
        Verdict.INCOMPLETE,
    ),
    "nobody_owns_it": (window(3, **{**STANDING, "owner": ""}), Verdict.UNASSIGNED),
    "nobody_owned_it_for_a_moment": (
        window(12, **{**BEHIND, "owner": lambda number: "" if number > 9 else "worker-1"}),
        Verdict.WARN,
    ),
    "who_owns_it_cannot_be_told": (
        window(12, **{**STANDING, "owner": "", "owner_known": False}),
        Verdict.STALL,
    ),
    "the_position_went_back": (
        window(12, **{**BEHIND, "position": lambda number: 900 if number > 5 else 1_000}),
        Verdict.REWIND,
    ),
    "the_position_went_back_and_was_read_again": (
        window(
            12,
            position=lambda number: (1_000, 900, 1_001)[min(number, 2)],
            end=1_001,
            lag_records=0,
            lag_seconds=0.0,
        ),
        Verdict.OK,
    ),
    "it_went_back_as_it_was_told_to": (
        window(12, **{**BEHIND, "position": lambda number: 0 if number == 6 else 1_000, "catch_up": 9_000}),
        Verdict.REPLAYING,
    ),
    "it_catches_up": (window(12, **BEHIND, catch_up=9_000), Verdict.REPLAYING),
    "it_catches_up_among_the_latest_records": (
        window(12, **{**BEHIND, "lag_seconds": 2.0}, catch_up=9_000),
        Verdict.REPLAYING,
    ),
    "it_should_catch_up_and_stands_still": (window(12, **STANDING, catch_up=9_000), Verdict.STALL),
    "it_should_catch_up_and_has_gone": (
        window(12, **{**STANDING, "heard_ms": heard_before(30, 12)}, catch_up=9_000),
        Verdict.STOP,
    ),
    "all_is_read_and_it_has_not_caught_up": (
        window(12, position=5, end=5, lag_records=0, lag_seconds=0.0, catch_up=9),
        Verdict.STALE,
    ),
    "the_tables_are_complete_up_to_long_ago": (
        window(
            12,
            position=rising(5, 1),
            end=rising(5, 1),
            lag_records=0,
            lag_seconds=0.0,
            complete_ms=BEGUN_MS - 6_000,
        ),
        Verdict.STALE,  # 55 s after the beginning they are 61 s old
    ),
    "the_tables_are_complete_up_to_a_minute_ago": (
        window(
            12,
            position=rising(5, 1),
            end=rising(5, 1),
            lag_records=0,
            lag_seconds=0.0,
            complete_ms=BEGUN_MS - 5_000,
        ),
        Verdict.OK,
    ),
    "the_tables_are_complete_up_to_when_the_log_ended": (
        window(12, position=5, end=5, lag_records=0, lag_seconds=0.0, complete_ms=BEGUN_MS - 10**7),
        Verdict.OK,
    ),
    "it_was_claimed_twice": (
        window(12, **BEHIND, epoch=lambda number: 7 + min(number, 2)),
        Verdict.WARN,
    ),
    "it_was_claimed_three_times": (
        window(12, **BEHIND, epoch=lambda number: 7 + min(number, 3)),
        Verdict.FENCED,
    ),
    "it_was_claimed_three_times_and_all_is_read": (
        window(
            12, position=5, end=5, lag_records=0, lag_seconds=0.0, epoch=lambda number: 7 + min(number, 3)
        ),
        Verdict.FENCED,
    ),
    "an_epoch_is_missing_in_between": (
        window(12, **BEHIND, epoch=lambda number: None if number % 2 else 7),
        Verdict.WARN,
    ),
    "retention_was_faster": (
        window(1, **{**BEHIND, "start": 2_000}, lost_records=1_000),
        Verdict.LOST,
    ),
    "the_log_is_another_one": (
        window(1, position=5, end=5, log_replaced=True),
        Verdict.LOST,
    ),
}


@pytest.mark.parametrize(("samples", "verdict"), TABLE.values(), ids=TABLE)
def test_verdict_on_a_reader_of_which(samples: list[Reading], verdict: Verdict) -> None:
    assert judge(samples, RULES) == verdict


def test_a_group_without_members_has_stopped_and_is_not_called_unassigned() -> None:
    samples = window(12, **{**STANDING, "owner": "", "heard_ms": heard_before(30, 12)})
    assert judge(samples, RULES) == Verdict.UNASSIGNED
    assert judge(samples, RULES, deserted=True) == Verdict.STOP


def test_every_verdict_on_a_partition_has_a_row() -> None:
    said = {verdict for _, verdict in TABLE.values()}
    about_more_than_a_partition = {Verdict.SKEWED, Verdict.REJECTING}
    assert said | about_more_than_a_partition == set(Verdict)


def test_a_stricter_operator_is_told_sooner() -> None:
    samples: Iterable[Reading] = window(12, position=5, end=900, lag_records=895, lag_seconds=1.0)
    assert judge(list(samples), Rules(allowed_seconds=1.0)) == Verdict.OK
    assert judge(list(samples), Rules(allowed_seconds=0.9)) == Verdict.STALL


def heard_until(sample: int) -> Callable[[int], int]:
    """A sign of life just before each sample up to this one, and none after it."""
    return lambda number: BEGUN_MS + min(number, sample) * EVERY_MS - 300


PUBLISHER_TABLE: Final[dict[str, tuple[list[Reading], Verdict]]] = {
    "nothing_is_known_yet": ([], Verdict.INCOMPLETE),
    "it_says_that_it_is_there_and_publishes_nothing": (window(12, position=40), Verdict.OK),
    "it_says_so_in_the_only_sample": (window(1, position=40), Verdict.OK),
    "it_has_been_silent_for_less_than_it_may": (
        window(12, position=40, heard_ms=heard_before(19.9, 12)),
        Verdict.OK,
    ),
    "it_has_been_silent_for_long_in_one_sample": (
        window(12, position=40, heard_ms=heard_before(20, 12)),
        Verdict.INCOMPLETE,
    ),
    "it_has_been_silent_for_long_in_two_samples": (
        window(12, position=40, heard_ms=heard_before(25, 12)),
        Verdict.INCOMPLETE,
    ),
    "it_has_been_silent_for_long_in_three_samples": (
        window(12, position=40, heard_ms=heard_before(30, 12)),
        Verdict.STOP,
    ),
    "it_was_killed_half_a_minute_ago_and_a_little": (
        window(12, position=40, heard_ms=heard_until(4)),
        Verdict.STOP,
    ),
    "it_was_silent_for_minutes_and_is_back": (
        window(
            12, position=40, heard_ms=lambda number: BEGUN_MS - 10**6 if number < 11 else BEGUN_MS + 55_000
        ),
        Verdict.OK,
    ),
    "it_was_gone_long_before_there_was_a_monitor": (
        window(3, position=40, heard_ms=BEGUN_MS - 10**7),
        Verdict.STOP,
    ),
    "there_are_too_few_samples_to_say_that_it_has_gone": (
        window(2, position=40, heard_ms=BEGUN_MS - 10**7),
        Verdict.INCOMPLETE,
    ),
    "it_has_never_given_a_sign": (window(7, position=40, heard_ms=None), Verdict.STOP),
    "it_has_given_none_since_the_monitor_began_to_listen": (
        window(4, position=40, heard_ms=None),
        Verdict.OK,
    ),
    "two_of_them_fight": (window(12, position=40, epoch=rising(7, 1)), Verdict.FENCED),
}


@pytest.mark.parametrize(("samples", "verdict"), PUBLISHER_TABLE.values(), ids=PUBLISHER_TABLE)
def test_verdict_on_a_publisher_of_which(samples: list[Reading], verdict: Verdict) -> None:
    assert judge(samples, RULES, endless=True) == verdict


def test_publisher_is_not_silent_because_redis_was_away() -> None:
    """The last samples before the outage are a minute old; the first one after it comes before the next sign of life."""
    before = window(11, position=40)
    after_ms = BEGUN_MS + 10 * EVERY_MS + 60_000
    first = (after_ms, PartitionSample(partition=0, position=40, heard_ms=before[-1][0]))
    second = (after_ms + EVERY_MS, PartitionSample(partition=0, position=40, heard_ms=after_ms + EVERY_MS))
    assert judge([*before, first], RULES, endless=True) == Verdict.INCOMPLETE
    assert judge([*before, first, second], RULES, endless=True) == Verdict.OK
