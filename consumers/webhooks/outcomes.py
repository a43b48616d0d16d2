"""What follows from an answer: for the message, for its endpoint, and when to try again. Pure: time and jitter come as arguments.

| answer                     | message                      | endpoint                                               |
|----------------------------|------------------------------|--------------------------------------------------------|
| 2xx                        | delivered                    | all failures forgotten, circuit closed                 |
| 2xx to the question whether it wants webhooks, without the token | as any failure   | as any failure                     |
| 429, 502, 504, Retry-After | waits                        | nothing before the time it asked for; counts as failure|
| anything else, or nothing  | waits by the schedule        | from the fifth failure in a row on its circuit is open |
| ... after the last attempt | dead                         | the question: disabled, it did not confirm             |
| an address that it may not have, the fifth failure in a row | dead | disabled                                      |
| any failure after five days of nothing else | dead        | disabled                                               |
| 410                        | dead                         | disabled                                               |

A test message that somebody asked for is sent once, and its failure says nothing of the endpoint (but 410 does).
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from msgspec.structs import replace

from schemas.webhooks.endpoints import DisabledReason, EndpointState
from schemas.webhooks.messages import MessageState
from schemas.webhooks.retrying import (
    DISABLE_AFTER_SECONDS,
    SCHEDULE_SECONDS,
    Verdict,
    next_attempt_ms,
    verdict,
)


class Purpose(Enum):
    """Why something is sent."""

    NEWS = "news"  # something changed: the real thing
    QUESTION = "question"  # whether the address wants webhooks
    TEST = "test"  # somebody is looking


class Heard(NamedTuple):
    """An answer, as far as anything follows from it."""

    status: int | None  # None: none came, and ``error`` says why
    error: str = ""
    retry_after_s: float | None = None
    refused_address: bool = False
    confirmed: bool = False  # it had the token of the question


class Rules(NamedTuple):
    """The numbers in it; a test makes them small."""

    schedule: tuple[float, ...] = SCHEDULE_SECONDS
    breaker_failures: int = 5
    breaker_seconds: float = 30.0
    breaker_longest_seconds: float = 900.0
    disable_seconds: float = DISABLE_AFTER_SECONDS


class Consequence(NamedTuple):
    """What to write, in one go.

    Attributes:
        outcome: WAITING with ``next_ms``; DELIVERED; or DEAD, and ``detail`` says why.
        disabled: the endpoint was not disabled before, and is now; its owner gets a notice.
        revived: it answers again after its circuit had been open: what waits for it, or was given up meanwhile, is sent now.
    """

    verdict: Verdict
    outcome: MessageState
    state: EndpointState
    next_ms: int | None = None
    detail: str = ""
    disabled: DisabledReason | None = None
    revived: bool = False


# A receiver that has too much to do and does not say until when gets this long to breathe.
_THROTTLE_SECONDS: Final = 5.0


def half_open(state: EndpointState, rules: Rules) -> bool:
    """Whether one attempt at a time is to show if an endpoint lives again (before ``not_before_ms``: none at all)."""
    return state.failures >= rules.breaker_failures


def consequence(
    purpose: Purpose,
    heard: Heard,
    state: EndpointState,
    *,
    tried: int,
    url: str,
    now_ms: int,
    jitter: float,
    rules: Rules,
) -> Consequence:
    """What follows from one answer.

    Args:
        state: how the endpoint fared so far.
        tried: the message's attempts by the schedule, without this one.
        url: to which it was sent.
        jitter: from 0 up to 1, at random.
    """
    meant = verdict(heard.status)
    if meant is Verdict.DELIVERED and (purpose is not Purpose.QUESTION or heard.confirmed):
        return _delivered(purpose, state, url, now_ms, rules)
    if meant is Verdict.DELIVERED:
        meant = Verdict.FAILED
        why = f"answered {heard.status} without the confirmation"
    else:
        why = heard.error if heard.status is None else f"answered {heard.status}"
    if meant is Verdict.GONE:
        return _disabled(meant, DisabledReason.GONE, f"{why}: wants nothing any more", state, now_ms)
    if purpose is Purpose.TEST:
        # It was let through although the circuit may be open, which it still is.
        tested = replace(state, not_before_ms=_not_before_ms(meant, heard, state, now_ms, rules))
        return Consequence(meant, MessageState.DEAD, tested, detail=f"{why}; a test message is sent once")

    since_ms = now_ms if state.failing_since_ms is None else state.failing_since_ms
    failed = replace(state, failures=state.failures + 1, failing_since_ms=since_ms, detail=why)
    if heard.refused_address and half_open(failed, rules):
        return _disabled(meant, DisabledReason.ADDRESS, why, failed, now_ms)
    if now_ms - since_ms >= 1000 * rules.disable_seconds:
        days = (now_ms - since_ms) / 86_400_000
        return _disabled(meant, DisabledReason.FAILING, f"failing for {days:.1f} days: {why}", failed, now_ms)

    failed = replace(failed, not_before_ms=_not_before_ms(meant, heard, failed, now_ms, rules))
    next_ms = next_attempt_ms(tried + 1, now_ms, jitter, heard.retry_after_s, rules.schedule)
    if next_ms is not None:
        return Consequence(meant, MessageState.WAITING, failed, next_ms=next_ms)
    given_up = f"given up after {tried + 1} attempts: {why}"
    if purpose is Purpose.QUESTION:
        return _disabled(meant, DisabledReason.REFUSED, given_up, failed, now_ms)
    return Consequence(meant, MessageState.DEAD, failed, detail=given_up)


def _delivered(purpose: Purpose, state: EndpointState, url: str, now_ms: int, rules: Rules) -> Consequence:
    well = replace(
        state,
        failures=0,
        failing_since_ms=None,
        not_before_ms=0,
        delivered=state.delivered + 1,
        last_delivered_ms=now_ms,
        detail=state.detail if state.disabled is not None else "",
    )
    if purpose is Purpose.QUESTION:
        well = replace(well, confirmed_ms=now_ms, confirmed_url=url)
    return Consequence(Verdict.DELIVERED, MessageState.DELIVERED, well, revived=half_open(state, rules))


def _disabled(
    meant: Verdict, reason: DisabledReason, detail: str, state: EndpointState, now_ms: int
) -> Consequence:
    # Two attempts may be under way: the second one's bad news is no news.
    if state.disabled is not None:
        return Consequence(meant, MessageState.DEAD, state, detail=detail)
    since_ms = now_ms if state.failing_since_ms is None else state.failing_since_ms
    stopped = replace(state, disabled=reason, disabled_ms=now_ms, failing_since_ms=since_ms, detail=detail)
    return Consequence(meant, MessageState.DEAD, stopped, detail=detail, disabled=reason)


def _not_before_ms(meant: Verdict, heard: Heard, failed: EndpointState, now_ms: int, rules: Rules) -> int:
    """Until when the endpoint is left alone: because it asked for it, or because its circuit is open."""
    pauses = [0.0]
    if heard.retry_after_s is not None:
        pauses.append(heard.retry_after_s)
    elif meant is Verdict.THROTTLED:
        # Never longer than a broken circuit's first pause, of which it would otherwise take its news a share.
        pauses.append(min(_THROTTLE_SECONDS, rules.breaker_seconds))
    if half_open(failed, rules):
        doublings = min(failed.failures - rules.breaker_failures, 30)
        pauses.append(min(rules.breaker_longest_seconds, rules.breaker_seconds * 2**doublings))
    until_ms = now_ms + int(1000 * max(pauses)) if max(pauses) else 0
    return max(until_ms, failed.not_before_ms)
