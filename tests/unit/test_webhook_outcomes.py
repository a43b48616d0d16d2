"""What follows from an answer, as a truth table."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from consumers.webhooks.delivery_settings import DeliverySettings
from consumers.webhooks.outcomes import Consequence, Heard, Purpose, Rules, consequence, half_open
from schemas.environment import Environment
from schemas.errors import InvalidInput
from schemas.webhooks.endpoints import DisabledReason, EndpointState
from schemas.webhooks.messages import MessageState
from schemas.webhooks.retrying import Verdict

_NOW = 1_777_896_000_000
_DAY = 86_400_000
_URL = "https://sis.example/hook"
_RULES = Rules()
_WELL = EndpointState(confirmed_ms=1, confirmed_url=_URL, delivered=7)
_FOURTH = replace(_WELL, failures=3, failing_since_ms=_NOW - 60_000)
_FIFTH = replace(_WELL, failures=4, failing_since_ms=_NOW - 60_000)
_FIVE_DAYS = replace(_WELL, failures=40, failing_since_ms=_NOW - 5 * _DAY)

NEWS, QUESTION, TEST = Purpose.NEWS, Purpose.QUESTION, Purpose.TEST
WAITING, DELIVERED, DEAD = MessageState.WAITING, MessageState.DELIVERED, MessageState.DEAD


class Row(NamedTuple):
    case: str
    purpose: Purpose
    heard: Heard
    before: EndpointState
    tried: int
    outcome: MessageState
    next_s: float | None  # from now
    pause_s: float  # of the endpoint, from now
    failures: int
    disabled: DisabledReason | None = None


_TABLE = [
    Row("200", NEWS, Heard(200), _WELL, 0, DELIVERED, None, 0, 0),
    Row("204 after failures", NEWS, Heard(204), _FIFTH, 3, DELIVERED, None, 0, 0),
    Row("299", NEWS, Heard(299), _WELL, 0, DELIVERED, None, 0, 0),
    Row("redirect", NEWS, Heard(301), _WELL, 0, WAITING, 5, 0, 1),
    Row("refusal", NEWS, Heard(400), _WELL, 0, WAITING, 5, 0, 1),
    Row("fault", NEWS, Heard(500), _WELL, 1, WAITING, 300, 0, 1),
    Row("no answer", NEWS, Heard(None, "no answer in time"), _WELL, 2, WAITING, 1_800, 0, 1),
    Row("too many", NEWS, Heard(429), _WELL, 0, WAITING, 5, 5, 1),
    Row("gateway fails", NEWS, Heard(502), _WELL, 0, WAITING, 5, 5, 1),
    Row("gateway waits in vain", NEWS, Heard(504), _WELL, 1, WAITING, 300, 5, 1),
    Row("too many, and says until when", NEWS, Heard(429, "", 90.0), _WELL, 0, WAITING, 90, 90, 1),
    Row("fault, and says until when", NEWS, Heard(503, "", 90.0), _WELL, 1, WAITING, 300, 90, 1),
    Row("asks for no time at all", NEWS, Heard(429, "", 0.0), _WELL, 0, WAITING, 5, 0, 1),
    Row("fourth failure", NEWS, Heard(500), _FOURTH, 0, WAITING, 5, 0, 4),
    Row("fifth failure", NEWS, Heard(500), _FIFTH, 0, WAITING, 5, 30, 5),
    Row("seventh failure", NEWS, Heard(500), replace(_FIFTH, failures=6), 0, WAITING, 5, 120, 7),
    Row("hundredth failure", NEWS, Heard(500), replace(_FIFTH, failures=99), 0, WAITING, 5, 900, 100),
    Row("fifth, and asks for more", NEWS, Heard(503, "", 600.0), _FIFTH, 0, WAITING, 600, 600, 5),
    Row("last attempt", NEWS, Heard(500), _WELL, 9, DEAD, None, 0, 1),
    Row("five days", NEWS, Heard(500), _FIVE_DAYS, 0, DEAD, None, 0, 41, DisabledReason.FAILING),
    Row("five days, then success", NEWS, Heard(200), _FIVE_DAYS, 0, DELIVERED, None, 0, 0),
    Row("gone", NEWS, Heard(410), _WELL, 0, DEAD, None, 0, 0, DisabledReason.GONE),
    Row("bad address", NEWS, Heard(None, "private", None, True), _WELL, 0, WAITING, 5, 0, 1),
    Row(
        "bad address again",
        NEWS,
        Heard(None, "private", None, True),
        _FIFTH,
        0,
        DEAD,
        None,
        0,
        5,
        DisabledReason.ADDRESS,
    ),
    Row("yes to the question", QUESTION, Heard(200, confirmed=True), _WELL, 0, DELIVERED, None, 0, 0),
    Row("no token", QUESTION, Heard(200), _WELL, 0, WAITING, 5, 0, 1),
    Row("token of a fault", QUESTION, Heard(500, confirmed=True), _WELL, 0, WAITING, 5, 0, 1),
    Row("never a token", QUESTION, Heard(200), _WELL, 9, DEAD, None, 0, 1, DisabledReason.REFUSED),
    Row("question gone", QUESTION, Heard(410), _WELL, 0, DEAD, None, 0, 0, DisabledReason.GONE),
    Row("test arrives", TEST, Heard(200), _FIFTH, 0, DELIVERED, None, 0, 0),
    Row("test fails", TEST, Heard(500), _FOURTH, 0, DEAD, None, 0, 3),
    Row("test fails for five days", TEST, Heard(500), _FIVE_DAYS, 0, DEAD, None, 900, 40),
    Row("test gone", TEST, Heard(410), _WELL, 0, DEAD, None, 0, 0, DisabledReason.GONE),
]


def _follows(
    heard: Heard,
    before: EndpointState = _WELL,
    purpose: Purpose = NEWS,
    tried: int = 0,
    *,
    jitter: float = 0.0,
    rules: Rules = _RULES,
) -> Consequence:
    return consequence(purpose, heard, before, tried=tried, url=_URL, now_ms=_NOW, jitter=jitter, rules=rules)


@pytest.mark.parametrize("row", _TABLE, ids=lambda row: row.case)
def test_what_follows_from_an_answer(row: Row) -> None:
    follows = _follows(row.heard, row.before, row.purpose, row.tried)
    next_s = None if follows.next_ms is None else (follows.next_ms - _NOW) / 1000
    pause_s = max(0, follows.state.not_before_ms - _NOW) / 1000
    assert (follows.outcome, next_s, pause_s) == (row.outcome, row.next_s, row.pause_s)
    assert (follows.state.failures, follows.disabled) == (row.failures, row.disabled)
    assert follows.state.disabled == row.disabled
    assert bool(follows.detail) == (row.outcome is DEAD)


def test_success_forgets_failures_and_revives_only_what_had_an_open_circuit() -> None:
    open_circuit = replace(_FIFTH, failures=5, not_before_ms=_NOW - 1, detail="answered 500")
    follows = _follows(Heard(200), open_circuit)
    assert follows.revived
    assert follows.state == replace(_WELL, delivered=8, last_delivered_ms=_NOW)
    assert not _follows(Heard(200), _FIFTH).revived


def test_confirmed_address_is_the_one_that_was_asked() -> None:
    follows = _follows(Heard(200, confirmed=True), EndpointState(), QUESTION)
    assert (follows.state.confirmed_ms, follows.state.confirmed_url) == (_NOW, _URL)
    assert _follows(Heard(200), EndpointState()).state.confirmed_ms is None


def test_failing_begins_with_the_first_failure_since_a_success() -> None:
    state = _WELL
    for _ in range(3):
        state = _follows(Heard(500), state).state
    assert state.failing_since_ms == _NOW
    assert _follows(Heard(500), _FIFTH).state.failing_since_ms == _FIFTH.failing_since_ms


def test_second_bad_news_of_a_disabled_endpoint_is_no_news() -> None:
    disabled = _follows(Heard(410)).state
    again = _follows(Heard(410), disabled)
    assert (again.disabled, again.outcome, again.state) == (None, DEAD, disabled)


def test_late_success_does_not_enable_a_disabled_endpoint() -> None:
    disabled = _follows(Heard(410)).state
    assert _follows(Heard(200), disabled).state.disabled is DisabledReason.GONE


def test_longer_pause_of_another_attempt_is_kept() -> None:
    asked = _follows(Heard(429, "", 3_600.0)).state
    assert _follows(Heard(500), asked).state.not_before_ms == _NOW + 3_600_000


def test_jitter_puts_an_attempt_off_and_never_forward() -> None:
    times = [_follows(Heard(500), jitter=jitter / 10).next_ms or 0 for jitter in range(10)]
    assert times[0] == _NOW + 5_000
    assert all(earlier < later for earlier, later in itertools.pairwise(times))
    assert times[-1] <= _NOW + 6_000


def test_circuit_is_half_open_from_the_fifth_failure_on() -> None:
    assert [half_open(replace(_WELL, failures=failures), _RULES) for failures in (0, 4, 5, 6)] == [
        False,
        False,
        True,
        True,
    ]


def test_only_2xx_is_success_and_only_what_waits_has_a_next_attempt() -> None:
    for status in (None, *range(100, 600)):
        follows = _follows(Heard(status, "" if status else "no answer"))
        assert (follows.verdict is Verdict.DELIVERED) == (status is not None and 200 <= status < 300)
        assert (follows.next_ms is not None) == (follows.outcome is WAITING)


def test_settings_have_the_specification_as_default() -> None:
    env = Environment({})
    settings = DeliverySettings.read(env)
    env.check()
    assert settings == DeliverySettings()


def test_settings_of_a_quick_test_are_read() -> None:
    env = Environment(
        {
            "SCORES_WEBHOOK_SCHEDULE": "0, 0.5, 1,2",
            "SCORES_WEBHOOK_BREAKER_SECONDS": "0.5",
            "SCORES_WEBHOOK_DISABLE_SECONDS": "20",
        }
    )
    rules = DeliverySettings.read(env).rules
    env.check()
    assert rules == Rules(schedule=(0, 0.5, 1, 2), breaker_seconds=0.5, disable_seconds=20)


@pytest.mark.parametrize("schedule", ["5", "1,2", "0,x", "0;5", "0,-1", "0," + "1," * 40 + "1"])
def test_schedule_that_is_none_is_refused_by_name_and_value(schedule: str) -> None:
    env = Environment({"SCORES_WEBHOOK_SCHEDULE": schedule})
    DeliverySettings.read(env)
    with pytest.raises(InvalidInput, match=f"SCORES_WEBHOOK_SCHEDULE is '{schedule[:10]}"):
        env.check()
