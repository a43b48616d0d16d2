"""Verdicts on the parts of the service that are no readers of a log. Pure; what is judged here comes with the arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from consumers.lag.samples import Skew, Snapshot
from schemas.operations import PART_FORGOTTEN_SECONDS, PART_TOO_OLD_SECONDS, PartReport, Verdict
from schemas.webhooks.endpoints import EndpointState

SKEW_SECONDS: Final = 2.0  # clocks that differ by more make seconds of lag worthless

# A script of ours may take 20 ms, and a command waits for one or two; ten times that is no longer their doing.
_SLOW_SECONDS: Final = 0.2
_FULL: Final = 0.9  # of its memory; beyond, the next large import may be refused
_FAILING_SECONDS: Final = 600  # an endpoint may be away for a restart; for longer somebody should know
_PILE: Final = 1_000  # messages; so says the alert on a webhook backlog
# A release moves thousands of messages at once, and endpoints that are well have taken them by then.
_PILE_SECONDS: Final = 30
_PILE_GROWTH: Final = 1.1  # in that time; a few more or less come and go while districts are away
_REJECTED_A_MINUTE: Final = 5
_REJECTED_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Facts:
    """What Redis tells beside positions; None where it did not answer.

    Attributes:
        reported: what parts say of themselves, by name or ``name:instance``.
    """

    answer_seconds: float | None = None
    used_bytes: int | None = None
    limit_bytes: int | None = None  # None: it may take what the machine has
    endpoints: Sequence[EndpointState] = ()
    messages_waiting: int = 0
    reported: Mapping[str, PartReport] = field(default_factory=dict)


class Waiting(NamedTuple):
    """How many webhook messages waited at a moment."""

    at_ms: int
    messages: int


def redis_part(snapshot: Snapshot, facts: Facts) -> PartReport:
    """Redis as the monitor sees it."""
    reasons = [trouble.reason for trouble in snapshot.troubles if trouble.source == "redis"]
    figures = {
        name: float(value)
        for name, value in (
            ("used_bytes", facts.used_bytes),
            ("limit_bytes", facts.limit_bytes),
            ("answer_seconds", facts.answer_seconds),
        )
        if value is not None
    }
    if facts.answer_seconds is None:
        return PartReport(
            name="redis", verdict=Verdict.STOP, detail=reasons[0] if reasons else "it does not answer"
        )
    if facts.answer_seconds > _SLOW_SECONDS:
        detail = f"it takes {facts.answer_seconds:.1f} s to answer"
        return PartReport(name="redis", verdict=Verdict.WARN, detail=detail, figures=figures)
    if reasons:
        return PartReport(name="redis", verdict=Verdict.WARN, detail=reasons[0], figures=figures)
    if facts.limit_bytes and (facts.used_bytes or 0) > _FULL * facts.limit_bytes:
        detail = f"it uses {(facts.used_bytes or 0) / facts.limit_bytes:.0%} of the memory that it may"
        return PartReport(name="redis", verdict=Verdict.WARN, detail=detail, figures=figures)
    return PartReport(name="redis", verdict=Verdict.OK, figures=figures)


def kafka_part(snapshot: Snapshot) -> PartReport:
    """Kafka as the monitor sees it."""
    reasons = [trouble.reason for trouble in snapshot.troubles if trouble.source == "kafka"]
    figures = {"events": float(snapshot.events)} if snapshot.events is not None else {}
    verdict = Verdict.OK
    if reasons:
        verdict = Verdict.STOP if snapshot.events is None else Verdict.WARN
    return PartReport(name="kafka", verdict=verdict, detail=reasons[0] if reasons else "", figures=figures)


def clocks_part(skews: Iterable[Skew]) -> PartReport:
    """The clocks of Redis and of those who stamp records, beside the monitor's."""
    furthest: dict[str, Skew] = {}
    for skew in skews:
        name = clock_label(skew)
        if name not in furthest or abs(skew.seconds) > abs(furthest[name].seconds):
            furthest[name] = skew
    wrong = [skew for skew in furthest.values() if is_skewed(skew)]
    detail = "; ".join(
        f"the clock of {skew.clock} is {abs(skew.seconds):.1f} s {'ahead of' if skew.seconds > 0 else 'behind'} the monitor's"
        for skew in wrong
    )
    figures = {f"{name}_seconds": skew.seconds for name, skew in furthest.items()}
    verdict = Verdict.SKEWED if wrong else Verdict.OK if furthest else Verdict.INCOMPLETE
    return PartReport(name="clocks", verdict=verdict, detail=detail, figures=figures)


def is_skewed(skew: Skew) -> bool:
    """Whether two clocks differ by more than asking for the time can explain."""
    return abs(skew.seconds) - skew.uncertain_seconds > SKEW_SECONDS


def clock_label(skew: Skew) -> str:
    """Whose clock: a word of a closed set, for metrics."""
    return "redis" if skew.clock == "redis" else "records"


def rejections_part(past: Sequence[Snapshot]) -> PartReport:
    """Rejections within the last minute, of which there are snapshots, the oldest first."""
    known = [one for one in past if one.rejected is not None and one.events is not None]
    if not known:
        return PartReport(name="rejections", verdict=Verdict.INCOMPLETE)
    # Counted, not extrapolated: one rejected event in the first second is not sixty a minute. Log ends may go back (a topic made anew).
    rejected = max(0, (known[-1].rejected or 0) - (known[0].rejected or 0))
    events = max(0, (known[-1].events or 0) - (known[0].events or 0))
    minutes = max(60.0, (known[-1].at_ms - known[0].at_ms) / 1000) / 60
    many = rejected / minutes > max(_REJECTED_A_MINUTE, _REJECTED_SHARE * events / minutes)
    return PartReport(
        name="rejections",
        verdict=Verdict.REJECTING if many else Verdict.OK,
        detail=f"{rejected:,} of {events:,} events in the last minute" if many else "",
        figures={"per_minute": rejected / minutes, "events_per_minute": events / minutes},
    )


def endpoints_part(facts: Facts, now_ms: int, waited: Sequence[Waiting] = ()) -> PartReport:
    """The receivers of webhooks; ``waited`` is of the last minute, the oldest first."""
    failing = sum(
        one.failing_since_ms is not None and now_ms - one.failing_since_ms > _FAILING_SECONDS * 1000
        for one in facts.endpoints
    )
    disabled = sum(one.disabled is not None for one in facts.endpoints)
    details = []
    if failing or disabled:
        details.append(f"{failing} have been failing for ten minutes, {disabled} are disabled")
    if many := piles_up(waited):
        details.append(f"{facts.messages_waiting:,} messages wait, and they become more")
    return PartReport(
        name="endpoints",
        # One that was disabled has been told to its owner, and stays so until somebody enables it: no alarm for ever.
        verdict=Verdict.WARN if failing or many else Verdict.OK,
        detail="; ".join(details),
        figures={
            "failing": float(failing),
            "disabled": float(disabled),
            "waiting": float(facts.messages_waiting),
        },
    )


def piles_up(waited: Sequence[Waiting]) -> bool:
    """Whether many messages have waited all the time, and become more; a pile that stands still is of endpoints that are away."""
    if not waited:
        return False
    begin = waited[-1].at_ms - _PILE_SECONDS * 1000
    before = sum(one.at_ms <= begin for one in waited)
    if not before:
        return False
    lately = [one.messages for one in waited[before - 1 :]]
    return min(lately) > _PILE and lately[-1] > _PILE_GROWTH * lately[0]


def reported_parts(reported: Mapping[str, PartReport], now_ms: int) -> list[PartReport]:
    """What parts say of themselves; one that has not done so for a minute has stopped."""
    parts = []
    for name, part in sorted(reported.items()):
        age = (now_ms - (part.at_ms or 0)) / 1000
        if age > PART_FORGOTTEN_SECONDS:
            continue
        if age > PART_TOO_OLD_SECONDS:
            part = msgspec.structs.replace(
                part, verdict=Verdict.STOP, detail=f"nothing was heard of it for {age:.0f} s"
            )
        parts.append(msgspec.structs.replace(part, name=name))
    return parts


def forgotten(reported: Mapping[str, PartReport], now_ms: int) -> list[str]:
    """The names of those that have not told of themselves for so long that they are no part any more."""
    return [
        name for name, part in reported.items() if now_ms - (part.at_ms or 0) > PART_FORGOTTEN_SECONDS * 1000
    ]
